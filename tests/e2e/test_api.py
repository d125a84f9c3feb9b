"""The API of an operator that runs, is stopped and killed: clients find the same objects, in later versions."""

import json
import ssl
import urllib.request
from typing import Any

import pytest
import yaml

from cluster import find_free_port
from waiting import wait_for
from world import World

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs"
PODS = "/api/v1/namespaces/default/pods"


class Client:
    """Asks an operator by the kubeconfig that it keeps."""

    def __init__(self, world: World) -> None:
        self._path = world.jobs / "status" / ".private" / "kubeconfig"

    def get(self, path: str) -> Any:
        """Return what a path shows, or nothing while nobody answers."""
        try:
            kept = yaml.safe_load(self._path.read_text())
            cluster = kept["clusters"][0]["cluster"]
            trusted = yaml.safe_load(f"!!binary {cluster['certificate-authority-data']}").decode()
            header = {"Authorization": f"Bearer {kept['users'][0]['user']['token']}"}
            request = urllib.request.Request(cluster["server"] + path, headers=header)
            with urllib.request.urlopen(
                request, timeout=10, context=ssl.create_default_context(cadata=trusted)
            ) as answer:
                return json.load(answer)
        except OSError:
            return None

    def wait(self, path: str) -> Any:
        """Return what a path shows, as soon as somebody answers."""
        return wait_for(lambda: self.get(path), f"an answer at {path}", 60)


def version(listed: Any) -> int:
    return int(listed["metadata"]["resourceVersion"])


def build_job(name: str, *command: str) -> dict[str, Any]:
    spec = {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": 2, "command": list(command)}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": spec,
    }


def test_objects_and_versions_outlive_the_operator(process_world: World) -> None:
    world, client = process_world, Client(process_world)
    flags = ["--listen", f"127.0.0.1:{find_free_port()}"]
    world.start(*flags)
    world.drop(build_job("quick", "true"))
    world.drop(build_job("long", "sleep", "300"))

    def phases() -> list[str]:
        return sorted(each["status"]["phase"] for each in (client.get(PODS) or {"items": []})["items"])

    wait_for(lambda: phases() == ["Running"] * 2 + ["Succeeded"] * 2, "all pods to be as they should", 60)
    before = client.wait(PODS)
    uids = {each["metadata"]["name"]: each["metadata"]["uid"] for each in before["items"]}
    for end in (world.stop, world.kill):
        end()
        assert client.get(JOBS) is None
        world.start(*flags)
        jobs = client.wait(JOBS)
        assert [each["metadata"]["name"] for each in jobs["items"]] == ["long", "quick"]
        assert version(jobs) > version(before)
        after = client.wait(PODS)
        assert {each["metadata"]["name"]: each["metadata"]["uid"] for each in after["items"]} == uids
        assert client.wait(f"{JOBS}/quick")["status"]["conditions"][-1]["type"] == "Complete"
        before = after
