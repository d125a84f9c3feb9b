"""Asks an engine in use for what its protocol leaves out: for looking around, never for acting on it.

Speaks the part of Docker's API that Podman answers too.
"""

import http.client
import json
from typing import Any

from trainlet.engine.explain import build_unreachable
from trainlet.engine.probe import open_connection


def fetch(runtime: str, url: str, path: str) -> Any:
    """Return the JSON that a GET is answered with, None for anything but 200. Raises EngineUnavailable."""
    connection = open_connection(url)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise build_unreachable(error, runtime, url) from error
    finally:
        connection.close()
