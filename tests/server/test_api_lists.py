"""Reads: what is listed, how it is selected, in which form, and page by page from one version."""

import threading
from typing import Any

import pytest
from kubernetes import client

from api_desk import ALL_JOBS, JOBS, ApiDesk
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.server.api import reading
from trainlet.server.api.resources import RESOURCES

PODS, EVENTS = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/events"
LABEL = "jobset.sigs.k8s.io/jobset-name"
TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


def names(listed: JSON) -> list[str]:
    return [each["metadata"]["name"] for each in listed["items"]]


def select(api: ApiDesk, path: str, selector: str, kind: str = "labelSelector") -> list[str]:
    from urllib.parse import quote

    return names(api.get(f"{path}?{kind}={quote(selector)}"))


@pytest.fixture
def jobs(api: ApiDesk) -> ApiDesk:
    for index, team in enumerate(("red", "blue", "red")):
        api.add_job(f"job-{index}", labels={"team": team, "rank": str(index)})
    api.add_job("elsewhere", "team-a")
    return api


def test_every_resource_can_be_listed_everywhere_with_kinds_and_a_real_version(api: ApiDesk) -> None:
    api.add_job()
    api.add_pod()
    api.note()
    for kind in ("JobSet", "Job", "Secret", "PersistentVolumeClaim", "TrainingRuntime"):
        api.put(kind, "some")
    for each in RESOURCES:
        path = f"/apis/{each.api_version}" if each.group else "/api/v1"
        listed = api.get(f"{path}/{each.plural}")
        assert (listed["kind"], listed["apiVersion"]) == (f"{each.kind}List", each.api_version)
        assert int(listed["metadata"]["resourceVersion"]) > 0
        assert listed["items"], each.kind
        for item in listed["items"]:
            assert (item["kind"], item["apiVersion"]) == (each.kind, each.api_version)
            assert {"name", "uid", "resourceVersion", "creationTimestamp"} <= item["metadata"].keys()
            place = f"namespaces/{item['metadata']['namespace']}/" if each.is_namespaced else ""
            assert api.get(f"{path}/{place}{each.plural}/{item['metadata']['name']}") == item


def test_a_namespace_without_objects_is_an_empty_list(api: ApiDesk) -> None:
    listed = api.get(JOBS.replace("default", "nowhere"))
    assert listed["items"] == []
    assert int(listed["metadata"]["resourceVersion"]) > 0


def test_an_absent_name_is_named_in_the_refusal(api: ApiDesk) -> None:
    answer = api.ask(f"{JOBS}/ghost")
    assert answer.said == (404, "NotFound", 'trainjobs.trainer.kubeflow.org "ghost" not found')
    assert answer.body["details"] == {"name": "ghost", "group": "trainer.kubeflow.org", "kind": "trainjobs"}
    assert api.ask(f"{PODS}/ghost").said == (404, "NotFound", 'pods "ghost" not found')


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("team=red", ["job-0", "job-2"]),
        ("team==red", ["job-0", "job-2"]),
        ("team!=red", ["job-1"]),
        ("team in (red, blue)", ["job-0", "job-1", "job-2"]),
        ("team in (red,blue),rank notin (0)", ["job-1", "job-2"]),
        ("team", ["job-0", "job-1", "job-2"]),
        ("!team", []),
        ("team=red,", ["job-0", "job-2"]),
        ("", ["job-0", "job-1", "job-2"]),
    ],
)
def test_labels_select(jobs: ApiDesk, selector: str, found: list[str]) -> None:
    assert select(jobs, JOBS, selector) == found


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("metadata.name=job-1", ["job-1"]),
        ("metadata.name=job-1,metadata.name=job-1", ["job-1"]),
        ("metadata.name=job-1,", ["job-1"]),
        ("metadata.name!=job-1", ["elsewhere", "job-0", "job-2"]),
        ("metadata.namespace=team-a", ["elsewhere"]),
        ("metadata.name=", []),
    ],
)
def test_fields_select(jobs: ApiDesk, selector: str, found: list[str]) -> None:
    assert sorted(select(jobs, ALL_JOBS, selector, "fieldSelector")) == found


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("status.phase=Running", ["mnist-node-0-0-abcde"]),
        ("status.phase!=Running", ["mnist-node-0-1-abcde"]),
        ("spec.nodeName=box", ["mnist-node-0-0-abcde", "mnist-node-0-1-abcde"]),
        ("spec.nodeName=", []),
        ("spec.nodeName=box,status.phase!=Failed,status.phase!=Pending", ["mnist-node-0-0-abcde"]),
    ],
)
def test_fields_select_pods(api: ApiDesk, selector: str, found: list[str]) -> None:
    api.add_pod()
    api.add_pod(index=1, phase="Pending")
    assert select(api, PODS, selector, "fieldSelector") == found


def test_events_are_found_by_what_they_are_about(api: ApiDesk) -> None:
    """kubectl describe asks by uid, and kubectl events by version: neither is stored with an event."""
    uid = api.add_job()["metadata"]["uid"]
    api.note()
    fields = ["kind=TrainJob", "apiVersion=trainer.kubeflow.org/v1alpha1", f"uid={uid}", "name=mnist"]
    selector = ",".join(f"involvedObject.{each}" for each in fields)
    assert len(select(api, EVENTS, selector, "fieldSelector")) == 1
    assert select(api, EVENTS, "involvedObject.uid=another", "fieldSelector") == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("fieldSelector=spec.suspend%3Dtrue", "field label not supported: spec.suspend"),
        ("fieldSelector=nonsense", "invalid field selector: 'nonsense'"),
        ("labelSelector=a%20in%20b", "unable to parse requirement"),
        ("limit=many", "limit: Invalid value: 'many'"),
        ("resourceVersion=x", "resourceVersion: Invalid value: 'x'"),
        ("resourceVersionMatch=Exact", "resourceVersionMatch is Exact"),
        ("resourceVersionMatch=Exact&resourceVersion=0", "resourceVersionMatch is Exact"),
        ("resourceVersionMatch=Newest&resourceVersion=1", "resourceVersionMatch is Exact"),
        ("watch=true&timeoutSeconds=-1", "timeoutSeconds: Invalid value: '-1'"),
    ],
)
def test_what_cannot_be_understood_is_refused(api: ApiDesk, query: str, message: str) -> None:
    code, reason, said = api.ask(f"{JOBS}?{query}").said
    assert (code, reason) == (400, "BadRequest")
    assert said.startswith(message)


# Pages


def test_pages_are_of_one_version(jobs: ApiDesk) -> None:
    first = jobs.get(f"{ALL_JOBS}?limit=3")
    assert names(first) == ["job-0", "job-1", "job-2"]
    assert first["metadata"]["remainingItemCount"] == 1
    jobs.forget("elsewhere", "team-a")
    jobs.add_job("later")
    rest = jobs.get(f"{ALL_JOBS}?limit=3&continue={first['metadata']['continue']}")
    assert names(rest) == ["elsewhere"]
    assert rest["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}
    again = jobs.get(f"{ALL_JOBS}?limit=3&continue={first['metadata']['continue']}")
    assert names(again) == ["elsewhere"], "an answer may have been lost"


def test_what_remains_of_a_selection_is_not_counted(jobs: ApiDesk) -> None:
    page = jobs.get(f"{JOBS}?limit=1&labelSelector=team%3Dred")
    assert names(page) == ["job-0"]
    assert page["metadata"].keys() == {"resourceVersion", "continue"}


def test_a_token_that_is_not_known_is_expired_and_one_of_another_list_is_wrong(jobs: ApiDesk) -> None:
    code, reason, _ = jobs.ask(f"{JOBS}?limit=1&continue=made-up").said
    assert (code, reason) == (410, "Expired")
    token = jobs.get(f"{JOBS}?limit=1")["metadata"]["continue"]
    assert jobs.ask(f"{ALL_JOBS}?limit=1&continue={token}").said[0] == 400


@pytest.mark.parametrize("query", ["resourceVersion=0&limit=500", "resourceVersion=1", "resourceVersion=999999999"])
def test_a_version_to_be_not_older_than_gets_the_current_list(jobs: ApiDesk, query: str) -> None:
    assert len(jobs.get(f"{JOBS}?{query}")["items"]) == 3


def test_an_exact_version_is_the_current_one_or_expired(jobs: ApiDesk) -> None:
    version = int(jobs.get(JOBS)["metadata"]["resourceVersion"])
    assert len(jobs.get(f"{JOBS}?resourceVersionMatch=Exact&resourceVersion={version}")["items"]) == 3
    said = jobs.ask(f"{JOBS}?resourceVersionMatch=Exact&resourceVersion={version - 1}").said
    assert said[:2] == (410, "Expired")


# Forms


def columns(table: JSON) -> list[str]:
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    return [each["name"] for each in table["columnDefinitions"]]


TABLES: dict[str, tuple[str, list[str], list[Any]]] = {
    "trainjobs": (JOBS, ["Name", "State", "Age"], ["mnist", "Complete"]),
    "runtimes": (
        "/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes",
        ["Name", "Age"],
        ["torch-distributed"],
    ),
    "pods": (
        PODS,
        ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"],
        ["mnist-node-0-0-abcde", "1/1", "Running", "0"],
    ),
    "namespaces": ("/api/v1/namespaces", ["Name", "Status", "Age"], ["default", "Active"]),
    "configmaps": ("/api/v1/configmaps", ["Name", "Data", "Age"], ["kubeflow-trainer-public", 1]),
    "secrets": ("/api/v1/secrets", ["Name", "Type", "Data", "Age"], ["some", "Opaque", 2]),
    "jobs": (
        "/apis/batch/v1/jobs",
        ["Name", "Status", "Completions", "Duration", "Age", "Containers", "Images"],
        ["some", "Complete", "1/2", "60s"],
    ),
    "jobsets": (
        "/apis/jobset.x-k8s.io/v1alpha2/jobsets",
        ["Name", "TerminalState", "Restarts", "Completed", "Suspended", "Age"],
        ["some", "Completed", 1, "True", "false"],
    ),
}


@pytest.mark.parametrize(("path", "titles", "cells"), TABLES.values(), ids=TABLES)
def test_tables_have_the_columns_of_a_cluster(api: ApiDesk, path: str, titles: list[str], cells: list[Any]) -> None:
    api.add_job()
    condition = {"status": "True", "reason": "r", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    api.set_status(conditions=[{**condition, "type": "Suspended"}, {**condition, "type": "Complete"}])
    api.add_pod()
    api.put("Secret", "some", type="Opaque", data={"a": "", "b": ""})
    status = {"succeeded": 1, "startTime": "2026-01-02T03:04:05Z", "completionTime": "2026-01-02T03:05:05.5Z"}
    api.put(
        "Job", "some", spec={"completions": 2}, status={**status, "conditions": [{**condition, "type": "Complete"}]}
    )
    api.put(
        "JobSet",
        "some",
        spec={"suspend": False},
        status={"terminalState": "Completed", "restarts": 1, "conditions": [{**condition, "type": "Completed"}]},
    )
    table = api.get(path, accept=TABLE)
    assert columns(table) == titles
    assert table["rows"][0]["cells"][: len(cells)] == cells
    assert table["columnDefinitions"][0]["format"] == "name"
    assert table["metadata"]["resourceVersion"]
    shown = table["rows"][0]["object"]
    assert (shown["kind"], shown["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert shown["metadata"]["uid"]


def test_ages_are_short_and_an_object_is_a_table_of_one_row(api: ApiDesk) -> None:
    api.add_job()
    table = api.get(f"{JOBS}/mnist", accept=TABLE)
    [row] = table["rows"]
    assert row["cells"][2].endswith("s")
    assert len(row["cells"][2]) < 4


def test_rows_have_of_their_objects_what_is_asked_for(api: ApiDesk) -> None:
    api.add_job()
    [row] = api.get(f"{JOBS}?includeObject=Object", accept=TABLE)["rows"]
    assert row["object"]["kind"] == "TrainJob"
    assert row["object"]["spec"]
    [row] = api.get(f"{JOBS}?includeObject=None", accept=TABLE)["rows"]
    assert row.keys() == {"cells"}
    assert api.ask(f"{JOBS}?includeObject=All", accept=TABLE).said[:2] == (400, "BadRequest")


def test_a_client_that_takes_only_metadata_gets_that(api: ApiDesk) -> None:
    api.add_job()
    listed = api.get(JOBS, accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed["items"][0].keys() == {"kind", "apiVersion", "metadata"}
    one = api.get(f"{JOBS}/mnist", accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
    assert (one["kind"], one["metadata"]["name"]) == ("PartialObjectMetadata", "mnist")


@pytest.mark.parametrize(
    "accept", ["application/json", "*/*", "", "application/vnd.kubernetes.protobuf,application/json", "text/html"]
)
def test_everybody_else_gets_json(api: ApiDesk, accept: str) -> None:
    answer = api.ask(JOBS, accept=accept)
    assert answer.headers["content-type"] == "application/json"
    assert answer.body["kind"] == "TrainJobList"


# What the Kubeflow SDK and its strict models need


def test_pods_pass_the_strict_models_of_the_official_client(api: ApiDesk) -> None:
    api.add_job()
    api.add_pod()
    api.note()
    core = client.CoreV1Api(_connect(api))
    [pod] = core.list_namespaced_pod("default").items
    assert pod.spec.node_name == "box"
    assert {each.type: each.status for each in pod.status.conditions}["Ready"] == "True"
    assert pod.spec.containers[0].resources.limits is None, "empty limits break the Kubeflow SDK"
    [event] = core.list_namespaced_event("default").items
    assert event.first_timestamp is not None
    assert event.involved_object.uid == api.get_job()["metadata"]["uid"]
    [node] = core.list_node().items
    assert node.status.node_info.container_runtime_version == "docker://20.10"
    public = core.read_namespaced_config_map("kubeflow-trainer-public", "kubeflow-system")
    assert public.data["kubeflow_trainer_version"]
    assert {each.metadata.name for each in core.list_namespace().items} == {"default", "kubeflow-system"}


def _connect(api: ApiDesk) -> Any:
    from kubernetes import config

    return config.new_client_from_config(str(api.kubeconfig))


def test_a_namespace_comes_with_its_first_object_and_stays(api: ApiDesk) -> None:
    api.add_job(namespace="team-a")
    api.forget(namespace="team-a")
    found = api.get("/api/v1/namespaces")
    assert names(found) == ["default", "kubeflow-system", "team-a"]
    assert api.get("/api/v1/namespaces/team-a")["status"] == {"phase": "Active"}


def test_the_node_is_as_ready_as_the_operator(api: ApiDesk) -> None:
    api.problems.append("the engine is away")
    [condition] = api.get("/api/v1/nodes/box")["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["message"]) == ("Ready", "False", "the engine is away")


def test_all_of_a_job_at_rest_is_there(api: ApiDesk) -> None:
    """Upstream keeps the pods of a finished job; ours are on disk, and their keys are known to nobody."""
    job = api.add_job()
    api.add_pod(phase="Succeeded")
    api.note()
    done = {"type": "Complete", "status": "True", "reason": "r", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    api.set_status(conditions=[done])
    api.note("Done")  # writes all of it down
    for path in (PODS, "/api/v1/events", f"{PODS}/mnist-node-0-0-abcde", JOBS):
        api.registry.rest(api.registry.list_jobs()[0])
        assert api.registry.list_awake() == []
        shown = api.get(path)
        assert shown.get("items", [shown])
    assert api.get(f"{JOBS}/mnist")["metadata"]["uid"] == job["metadata"]["uid"]


@pytest.mark.parametrize("path", [PODS, f"{PODS}/mnist-node-0-0-abcde", f"{PODS}?labelSelector={LABEL}%3Dmnist"])
def test_a_job_that_goes_to_rest_meanwhile_is_there(api: ApiDesk, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator puts a job to rest whenever it has looked at it."""
    api.add_job()
    api.add_pod(phase="Succeeded")
    done = {"type": "Complete", "status": "True", "reason": "r", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    api.set_status(conditions=[done])
    api.note()
    list_away, going = reading.StoreReader._list_away, list[threading.Thread]()

    def list_before_it_goes(self: reading.StoreReader, *asked: Any) -> list[ObjectKey]:
        found = list_away(self, *asked)
        going.append(threading.Thread(target=api.registry.rest, args=api.registry.list_jobs()))
        going[-1].start()
        going[-1].join(0.3)  # it has to wait where what was found has to stay true
        return found

    monkeypatch.setattr(reading.StoreReader, "_list_away", list_before_it_goes)
    shown = api.get(path)
    for each in going:
        each.join()
    assert shown.get("items", [shown])
    assert api.registry.list_awake() == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (PODS, "labelSelector=jobset.sigs.k8s.io/jobset-name%3Djob-1"),
        ("/api/v1/pods", "labelSelector=jobset.sigs.k8s.io/jobset-name%20in%20(job-1)"),
        (EVENTS, "fieldSelector=involvedObject.name%3Djob-1"),
    ],
)
def test_who_asks_for_one_job_wakes_no_other(api: ApiDesk, path: str, query: str) -> None:
    """The Kubeflow SDK asks for the pods of every job in turn."""
    done = {"type": "Complete", "status": "True", "reason": "r", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    for number in range(3):
        api.add_job(f"job-{number}")
        api.add_pod(f"job-{number}", phase="Succeeded")
        api.set_status(f"job-{number}", conditions=[done])
        api.note(job=f"job-{number}")
    for key in api.registry.list_jobs():
        api.registry.rest(key)
    assert len(api.get(f"{path}?{query}")["items"]) == 1
    assert [key.name for key in api.registry.list_awake()] == ["job-1"]


def test_only_so_many_finished_jobs_stay_in_memory(api: ApiDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_KEPT_AWAKE", 2)
    done = {"type": "Complete", "status": "True", "reason": "r", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    for number in range(5):
        api.add_job(f"job-{number}")
        api.set_status(f"job-{number}", conditions=[done])
        api.note(job=f"job-{number}")
    for key in api.registry.list_jobs():
        api.registry.rest(key)
    for path in (JOBS, EVENTS):
        assert len(api.get(path)["items"]) == 5
        assert len(api.registry.list_awake()) == 2
