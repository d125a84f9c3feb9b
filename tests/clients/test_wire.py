"""What kubectl and the Kubeflow SDK send, replayed byte for byte as plain HTTP: it needs neither of them.

The requests are as kubectl 1.32 and the SDK 0.5.0 sent them to a recording server.
"""

import base64
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from cluster import SELECTOR, Cluster, build_job
from waiting import wait_for

pytestmark = pytest.mark.engine

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs"
RUNTIMES = "/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes"
PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"
MERGE = "application/merge-patch+json"
SDK = {"Accept": "application/json", "User-Agent": "OpenAPI-Generator/35.0.0/python"}
SECONDS = 30


@dataclass
class Client:
    """A client that knows only HTTP."""

    port: int
    token: str
    tls: ssl.SSLContext

    @contextmanager
    def open(self, method: str, path: str, body: Any = None, **headers: str) -> Iterator[http.client.HTTPResponse]:
        """Send a request on a connection of its own, and give the answer with its body unread."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=SECONDS)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {self.token}", "User-Agent": "kubectl/v1.32.4 (linux/amd64)", **headers}
        with closing(connection):
            connection.request(method, path, data, {name.replace("_", "-"): value for name, value in given.items()})
            with closing(connection.getresponse()) as response:
                yield response

    def ask(self, method: str, path: str, body: Any = None, code: int = 200, **headers: str) -> Any:
        """Send a request, which must be answered with this code; return the object."""
        with self.open(method, path, body, **headers) as response:
            data = response.read()
            assert response.status == code, data
            return json.loads(data)

    def find_code(self, path: str) -> int:
        """Return how a path is answered."""
        with self.open("GET", path) as response:
            return response.status


@pytest.fixture
def client(processes: Cluster) -> Client:
    found = yaml.safe_load(processes.kubeconfig.read_text())
    server = found["clusters"][0]["cluster"]
    authority = base64.b64decode(server["certificate-authority-data"]).decode()
    port = int(server["server"].rpartition(":")[2])
    return Client(port, found["users"][0]["user"]["token"], ssl.create_default_context(cadata=authority))


@pytest.fixture
def held(processes: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a job that is suspended."""
    name = request.node.name.split("[")[0].replace("test_", "wire-").replace("_", "-")[:40]
    path = processes.drop(build_job(name, "true", suspend=True))
    processes.wait_phase(name, "Suspended")
    yield name
    path.unlink(missing_ok=True)


def test_discovery(client: Client) -> None:
    core = client.ask("GET", "/api?timeout=32s", Accept=AGGREGATED)
    groups = client.ask("GET", "/apis?timeout=32s", Accept=AGGREGATED)
    assert (core["kind"], core["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    assert "trainer.kubeflow.org" in [each["metadata"]["name"] for each in groups["items"]]
    assert client.ask("GET", "/api", Accept="application/json")["versions"] == ["v1"]
    plain = client.ask("GET", "/apis/trainer.kubeflow.org/v1alpha1?timeout=32s", Accept="application/json")
    assert "trainjobs" in [each["name"] for each in plain["resources"]]
    assert client.ask("GET", "/version?timeout=32s")["major"] == "1"


def test_openapi(client: Client) -> None:
    paths = client.ask("GET", "/openapi/v3?timeout=32s", Accept="application/json")["paths"]
    url = paths["apis/trainer.kubeflow.org/v1alpha1"]["serverRelativeURL"]
    document = client.ask("GET", f"{url}&timeout=32s", Accept="application/json")
    operations = [each for path in document["paths"].values() for verb, each in path.items() if verb == "patch"]
    assert operations
    assert any(each["name"] == "fieldValidation" for each in operations[0]["parameters"])


def test_get(client: Client, held: str) -> None:
    table = client.ask("GET", f"{JOBS}?limit=500", Accept=TABLE)
    assert table["kind"] == "Table"
    assert held in [row["cells"][0] for row in table["rows"]]
    one = client.ask("GET", f"{JOBS}/{held}", Accept=TABLE)
    assert one["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    missing = client.ask("GET", f"{JOBS}/{held}x", code=404)
    assert (missing["reason"], missing["details"]["kind"]) == ("NotFound", "trainjobs")


def test_apply(client: Client, processes: Cluster) -> None:
    job = build_job("wire-applied", "true", suspend=True)
    note = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(job) + "\n"}
    job["metadata"]["annotations"] = note
    client.ask("GET", f"{JOBS}/wire-applied", code=404)
    query = "fieldManager=kubectl-client-side-apply&fieldValidation=Strict"
    made = client.ask("POST", f"{JOBS}?{query}", job, code=201, Content_Type="application/json")
    assert made["metadata"]["annotations"] == note
    source = processes.report("wire-applied")["source"]["file"]
    with open(source, encoding="utf-8") as file:  # noqa: PTH123
        assert "last-applied" not in file.read()
    body = {"metadata": {"labels": {"team": "blue"}}}
    patched = client.ask("PATCH", f"{JOBS}/wire-applied?{query}", body, Content_Type=MERGE)
    assert patched["metadata"]["labels"] == {"team": "blue"}
    again = client.ask("PATCH", f"{JOBS}/wire-applied?{query}", body, Content_Type=MERGE)
    assert again["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]
    dry = client.ask(
        "PATCH", f"{JOBS}/wire-applied?dryRun=All&{query}", {"metadata": {"labels": {"team": "x"}}}, Content_Type=MERGE
    )
    assert dry["metadata"]["labels"] == {"team": "x"}
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {"team": "y"}}}
    assert client.ask("PATCH", f"{JOBS}/wire-applied", stale, 409, Content_Type=MERGE)["reason"] == "Conflict"
    options = {"propagationPolicy": "Background"}
    client.ask("DELETE", f"{JOBS}/wire-applied", options, Content_Type="application/json")
    wait_for(lambda: client.find_code(f"{JOBS}/wire-applied") == 404, "the end", SECONDS)


def test_server_side_apply(client: Client) -> None:
    job = yaml.safe_dump(build_job("wire-owned", "true", suspend=True)).encode()
    path = f"{JOBS}/wire-owned?fieldManager=kubectl&fieldValidation=Strict&force=false"
    made = client.ask("PATCH", path, job, code=201, Content_Type="application/apply-patch+yaml")
    [owner] = [each for each in made["metadata"]["managedFields"] if each["manager"] == "kubectl"]
    assert owner["operation"] == "Apply"
    other = job.replace(b"suspend: true", b"suspend: false")
    refused = client.ask(
        "PATCH", path.replace("=kubectl", "=other"), other, 409, Content_Type="application/apply-patch+yaml"
    )
    assert refused["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    client.ask("DELETE", f"{JOBS}/wire-owned")


def test_strict_validation(client: Client) -> None:
    job = build_job("wire-strict", "true", unknown=1)
    refused = client.ask("POST", f"{JOBS}?fieldValidation=Strict", job, code=400)
    assert refused["message"].endswith('strict decoding error: unknown field "spec.unknown"')
    with client.open("POST", f"{JOBS}?fieldValidation=Warn&dryRun=All", job) as response:
        assert response.status == 201
        assert response.headers["Warning"] == '299 - "unknown field \\"spec.unknown\\""'
        response.read()
    text = b"k8s\x00 something else"
    client.ask("POST", JOBS, text, 415, Content_Type="application/vnd.kubernetes.protobuf")
    client.ask("PATCH", f"{JOBS}/wire-strict", {}, 404, Content_Type=MERGE)


def test_strategic_merge_is_for_core_kinds(client: Client, held: str) -> None:
    kind = "application/strategic-merge-patch+json"
    refused = client.ask("PATCH", f"{JOBS}/{held}", {}, 415, Content_Type=kind)
    assert refused["reason"] == "UnsupportedMediaType"


def test_wait(client: Client, held: str) -> None:
    """kubectl reads, lists by name, then watches from that version on."""
    listed = client.ask("GET", f"{JOBS}?fieldSelector=metadata.name%3D{held}&limit=500")
    version = listed["metadata"]["resourceVersion"]
    query = f"allowWatchBookmarks=true&fieldSelector=metadata.name%3D{held}&resourceVersion={version}&watch=true"
    with client.open("GET", f"{JOBS}?{query}&timeoutSeconds=60") as response:
        operation = [{"op": "replace", "path": "/spec/suspend", "value": False}]
        client.ask("PATCH", f"{JOBS}/{held}", operation, Content_Type="application/json-patch+json")
        conditions: set[str] = set()
        while "Complete" not in conditions:
            event = json.loads(response.readline())
            assert event["type"] in ("MODIFIED", "BOOKMARK"), event
            found = event["object"].get("status", {}).get("conditions", [])
            conditions |= {each["type"] for each in found if each["status"] == "True"}


def test_logs(client: Client, processes: Cluster) -> None:
    processes.drop(build_job("wire-talks", "echo one; sleep 1; echo two"))
    processes.wait_phase("wire-talks", "Running", "Complete")
    query = f"labelSelector={SELECTOR}%3Dwire-talks&limit=500"
    [pod] = client.ask("GET", f"{PODS}?{query}")["items"]
    path = f"{PODS}/{pod['metadata']['name']}/log?container=node&follow=true"
    with client.open("GET", path) as response:
        assert response.headers["Content-Type"] == "text/plain"
        assert response.read() == b"one\ntwo\n"
    client.ask("POST", f"{PODS}/{pod['metadata']['name']}/exec?command=ls&stdout=true", code=400)


def test_events(client: Client, held: str) -> None:
    uid = client.ask("GET", f"{JOBS}/{held}")["metadata"]["uid"]
    selector = f"involvedObject.name%3D{held}%2CinvolvedObject.namespace%3Ddefault%2CinvolvedObject.uid%3D{uid}"
    found = client.ask("GET", f"{EVENTS}?fieldSelector=involvedObject.kind%3DTrainJob%2C{selector}&limit=500")["items"]
    assert {each["involvedObject"]["name"] for each in found} <= {held}
    for each in client.ask("GET", EVENTS)["items"]:
        assert each["firstTimestamp"]
        assert each["eventTime"] is None or len(each["eventTime"].partition(".")[2]) == 7, each


def test_auth_can_i(client: Client) -> None:
    """From 1.32 on its body is of a kind that is not read."""
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    kind = "application/vnd.kubernetes.protobuf"
    assert client.ask("POST", path, b"k8s\x00\n", 201, Content_Type=kind)["status"]["allowed"] is True


def test_a_page_after_the_other(client: Client) -> None:
    first = client.ask("GET", f"{RUNTIMES}?limit=2")
    assert len(first["items"]) == 2
    second = client.ask("GET", f"{RUNTIMES}?limit=500&continue={first['metadata']['continue']}")
    names = [each["metadata"]["name"] for each in (*first["items"], *second["items"])]
    assert names == sorted(names) == [each["metadata"]["name"] for each in client.ask("GET", RUNTIMES)["items"]]


def test_the_sdk(client: Client) -> None:
    """It lists runtimes in two ways at once, and sends numbers as floats and lists that are empty."""
    found: list[Any] = []
    paths = [RUNTIMES, "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainingruntimes"]
    threads = [
        threading.Thread(target=lambda path=path: found.append(client.ask("GET", path, **SDK))) for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    client.ask("GET", "/api/v1/namespaces/kubeflow-system/configmaps/kubeflow-trainer-public", **SDK)
    job = build_job("wire-sdk", "true")
    del job["metadata"]["namespace"]
    job["spec"]["trainer"] |= {"env": [], "resourcesPerNode": {"limits": {"cpu": 1.0}, "requests": {"cpu": 1.0}}}
    client.ask("POST", JOBS, job, 201, Content_Type="application/json", **SDK)

    def find_status() -> Any:
        status = client.ask("GET", f"{JOBS}/wire-sdk", **SDK).get("status", {})
        return [each["type"] for each in status.get("conditions", []) if each["status"] == "True"]

    wait_for(lambda: "Complete" in find_status(), "the job to complete", SECONDS)
    roles = f"{SELECTOR}%3Dwire-sdk%2Cjobset.sigs.k8s.io%2Freplicatedjob-name+in+%28dataset-initializer%2Cnode%29"
    [pod] = client.ask("GET", f"{PODS}?labelSelector={roles}", **SDK)["items"]
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "0"
    assert pod["status"]["containerStatuses"][0].keys() >= {"name", "image", "imageID", "ready", "restartCount"}
    client.ask("DELETE", f"{JOBS}/wire-sdk", **SDK)
