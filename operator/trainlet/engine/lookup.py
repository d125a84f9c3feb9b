"""Asks an engine what has a name, ours or not: for looking around, never for acting on it.

Speaks the part of Docker's API that Podman answers too.
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from trainlet.engine.explain import build_unreachable
from trainlet.engine.probe import open_connection
from trainlet.kube.merge import find

#: Where a thing is asked for by its name, and where its labels are in the answer.
_KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "container": ("/containers/{}/json", ("Config", "Labels")),
    "network": ("/networks/{}", ("Labels",)),
}


def find_labels(runtime: str, url: str, kind: str, name: str) -> Mapping[str, str] | None:
    """Return the labels of the `container` or `network` of this name, None if there is none.

    Raises EngineUnavailable.
    """
    path, place = _KINDS[kind]
    connection = open_connection(url)
    try:
        connection.request("GET", path.format(quote(name)))
        response = connection.getresponse()
        body: Any = json.loads(response.read()) if response.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise build_unreachable(error, runtime, url) from error
    finally:
        connection.close()
    return None if body is None else find(body, *place) or {}
