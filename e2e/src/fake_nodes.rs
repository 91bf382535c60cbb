//! Nodes that do not exist.
