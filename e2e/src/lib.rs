//! A real Kubernetes with real engines on one machine.
