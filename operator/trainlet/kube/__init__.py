"""Kubernetes without training and without containers: the words every layer above shares."""
