"""The kubeconfig of one operator, which it keeps beside its keys: where its API is, whom to trust, and the token."""

import base64
from pathlib import Path

from trainlet.documents.write import dump_documents, write_atomic
from trainlet.kube.meta import JSON
from trainlet.server.host_address import LISTEN_ADDRESS

#: What its cluster, its user and its context are called.
NAME = "trainlet"
_EVERY_ADDRESS = {LISTEN_ADDRESS: "127.0.0.1", "::": "::1"}


def get_path(private_path: Path) -> Path:
    """Return where an operator keeps its kubeconfig."""
    return private_path / "kubeconfig"


def build_kubeconfig(address: tuple[str, int], authority: str, token: str, namespace: str) -> JSON:
    """Return a kubeconfig for clients on this machine."""
    host = _EVERY_ADDRESS.get(address[0], address[0])
    server = f"https://{f'[{host}]' if ':' in host else host}:{address[1]}"
    trusted = base64.b64encode(authority.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {"server": server, "certificate-authority-data": trusted}}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": namespace}}],
        "current-context": NAME,
    }


def write_kubeconfig(path: Path, kubeconfig: JSON) -> None:
    """Keep a kubeconfig, for its owner alone."""
    write_atomic(path, dump_documents([kubeconfig]), mode=0o600)
