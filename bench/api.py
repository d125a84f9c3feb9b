"""The operator's API, asked as its own kubeconfig says."""

import http.client
import ssl
import sys
from base64 import b64decode
from pathlib import Path
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from cluster import find_free_port  # noqa: E402
from waiting import wait_for  # noqa: E402
from world import COMMAND, World  # noqa: E402

JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs"


class Api:
    """Starts an operator that serves, and makes requests, each on a connection of its own."""

    def __init__(self, world: World) -> None:
        self.operator = world.start("--listen", f"127.0.0.1:{find_free_port()}", prefix=COMMAND).pid
        config = yaml.safe_load(wait_for(lambda: world.trainlet("kubeconfig").stdout, "the API", 30))
        server = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._address = (server.hostname or "", server.port or 443)
        authority = b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=authority)
        self._headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}

    def open(self, path: str, method: str = "GET") -> http.client.HTTPResponse:
        """Ask for a path."""
        connection = http.client.HTTPSConnection(*self._address, context=self._context)
        connection.request(method, path, headers=self._headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        return response

    def delete(self, job: str) -> None:
        """Delete a job of the default namespace."""
        self.open(f"{JOBS}/{job}", "DELETE").read()
