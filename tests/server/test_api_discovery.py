"""What clients ask first: groups and resources in three forms, versions, OpenAPI, health, and what they may do."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from api_desk import JOBS, ApiDesk
from trainlet.kube.meta import JSON
from trainlet.loading import now
from trainlet.server.api.resources import RESOURCES

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
KUBECTL = f"{AGGREGATED.format('v2')},{AGGREGATED.format('v2beta1')},application/json"
TRAINER = "/apis/trainer.kubeflow.org/v1alpha1"


def test_versions_are_those_of_a_cluster(api: ApiDesk) -> None:
    for path in ("/version", "/version/", "/version?timeout=5s"):
        version = api.get(path)
        assert (version["major"], version["minor"], version["gitVersion"]) == ("1", "32", "v1.32.0-trainlet")


@pytest.mark.parametrize("slash", ["", "/"])
def test_plain_discovery_names_every_resource(api: ApiDesk, slash: str) -> None:
    assert api.get(f"/api{slash}")["versions"] == ["v1"]
    groups = api.get(f"/apis{slash}")
    assert groups["kind"] == "APIGroupList"
    found: list[JSON] = [*api.get(f"/api/v1{slash}")["resources"]]
    for group in groups["groups"]:
        assert group["preferredVersion"] in group["versions"]
        assert api.get(f"/apis/{group['name']}{slash}")["kind"] == "APIGroup"
        listed = api.get(f"/apis/{group['preferredVersion']['groupVersion']}{slash}")
        assert (listed["kind"], listed["groupVersion"]) == (
            "APIResourceList",
            group["preferredVersion"]["groupVersion"],
        )
        found += listed["resources"]
    assert {each["name"] for each in found if "/" not in each["name"]} == {each.plural for each in RESOURCES}
    for each in found:
        assert {"name", "singularName", "namespaced", "kind", "verbs"} <= each.keys()
        assert (each["singularName"] == "") == ("/" in each["name"])
    assert "trainjobs/status" in {each["name"] for each in found}


@pytest.mark.parametrize(
    ("accept", "version"), [(KUBECTL, "v2"), (f"{AGGREGATED.format('v2beta1')},application/json", "v2beta1")]
)
@pytest.mark.parametrize("path", ["/api", "/apis"])
def test_aggregated_discovery_says_all_at_once_and_what_it_is(
    api: ApiDesk, path: str, accept: str, version: str
) -> None:
    answer = api.ask(path, accept=accept)
    assert answer.headers["content-type"] == AGGREGATED.format(version), "kubectl finds no resources without"
    assert answer.body["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    found = {
        each["resource"]: each
        for item in answer.body["items"]
        for served in item["versions"]
        for each in served["resources"]
    }
    assert found.keys() == {each.plural for each in RESOURCES if bool(each.group) == (path == "/apis")}
    for each in found.values():
        assert each["scope"] in ("Namespaced", "Cluster")
        assert each["singularResource"]
        assert each["verbs"]
    if path == "/api":
        assert {each["subresource"] for each in found["pods"]["subresources"]} == {"log", "exec", "attach", "status"}


def test_openapi_v2_is_an_empty_document(api: ApiDesk) -> None:
    """Empty is valid protobuf; kubectl cannot apply anything if it is JSON or missing."""
    answer = api.ask("/openapi/v2")
    assert (answer.code, answer.data) == (200, b"")


def test_openapi_v3_is_kept_by_clients_as_long_as_it_is_the_same(api: ApiDesk) -> None:
    index = api.get("/openapi/v3")["paths"]
    assert {"api/v1", "apis/trainer.kubeflow.org/v1alpha1"} <= index.keys()
    url = index["apis/trainer.kubeflow.org/v1alpha1"]["serverRelativeURL"]
    answer = api.ask(url)
    assert answer.headers["cache-control"] == "public, immutable"
    expires = parsedate_to_datetime(answer.headers["expires"])
    assert isinstance(expires, datetime)
    assert expires > now() + timedelta(days=300)
    assert answer.headers["etag"].strip('"') in url
    assert api.ask(url, If_None_Match=answer.headers["etag"]).code == 304
    assert "immutable" not in str(api.ask(url.partition("?")[0]).headers["cache-control"])
    assert api.ask("/openapi/v3/apis/nothing/v1").code == 404


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.plural)
def test_openapi_v3_tells_kubectl_that_fields_are_checked_here(api: ApiDesk, resource: Any) -> None:
    path = f"apis/{resource.api_version}" if resource.group else "api/v1"
    document = api.get(f"/openapi/v3/{path}")
    wanted = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    [schema] = [
        each
        for each in document["components"]["schemas"].values()
        if each.get("x-kubernetes-group-version-kind") == [wanted]
    ]
    assert schema["type"] == "object"
    patches = [
        operation["patch"]
        for operation in document["paths"].values()
        if operation.get("patch", {}).get("x-kubernetes-group-version-kind") == wanted
    ]
    assert bool(patches) == ("patch" in resource.verbs)
    for patch in patches:
        assert "fieldValidation" in {each["name"] for each in patch["parameters"]}


def test_health_is_told(api: ApiDesk) -> None:
    assert [api.ask(path).data for path in ("/healthz", "/livez", "/readyz")] == [b"ok"] * 3
    api.problems.append("the engine is away")
    answer = api.ask("/readyz")
    assert (answer.code, answer.data) == (500, b"the engine is away")
    assert api.ask("/healthz").code == 200


@pytest.mark.parametrize("body", [b"k8s\x00\n\x17protobuf", {"spec": {}}, b""])
def test_whoever_has_the_token_may_do_everything(api: ApiDesk, body: Any) -> None:
    answer = api.ask("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "POST", body)
    assert (answer.code, answer.body["status"]["allowed"]) == (201, True)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api/v2",
        "/apis/nothing",
        "/apis/nothing/v1",
        "/apis/trainer.kubeflow.org/v1",
        f"{TRAINER}/nothing",
        f"{JOBS}/mnist/scale",
        f"{JOBS}/mnist/status/more",
        f"{TRAINER}/namespaces/default/clustertrainingruntimes",
        "/api/v1/nodes/box/proxy",
        "/api/v1/namespaces/default/services",
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/box",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        "/apis/kopf.dev/v1/clusterkopfpeerings",
        "/api/v1/namespaces/default/pods/x/portforward",
        "/metrics",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_what_there_is_not_is_not_found(api: ApiDesk, path: str, method: str) -> None:
    answer = api.ask(path, method)
    assert answer.said == (404, "NotFound", "the server could not find the requested resource")
    assert answer.body["details"] == {}, "kubectl debug crashes without"


@pytest.mark.parametrize("path", ["/version", "/api", "/apis", "/api/v1", "/openapi/v2", "/openapi/v3", "/healthz"])
def test_documents_are_only_read(api: ApiDesk, path: str) -> None:
    assert api.ask(path, "POST", {}).said[:2] == (405, "MethodNotAllowed")
