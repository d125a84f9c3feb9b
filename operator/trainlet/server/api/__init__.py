"""The Kubernetes API over the registry's objects: what kubectl, the Kubeflow SDK and operators speak."""
