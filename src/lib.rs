//! A Kubernetes operator and gateway that runs language models as one portfolio.
