"""What a cluster with Kubeflow Trainer would accept, decided in the API server's order. Pure."""
