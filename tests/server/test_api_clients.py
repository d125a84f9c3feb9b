"""Unmodified clients read and watch what an operator serves; no engine is needed for that."""

import threading
from collections.abc import Iterator
from typing import Any

import kr8s
import lightkube
import pytest
from kr8s.objects import new_class
from kubernetes import client, config, dynamic, watch
from lightkube.core.client import KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import Event, Node, Pod

from api_desk import ApiDesk
from builders import build_runtime
from trainlet.registry import Source
from waiting import wait_for

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"


@pytest.fixture
def desk(api: ApiDesk) -> ApiDesk:
    """A job with a runtime that the SDK takes, a pod and an event."""
    labels = {"trainer.kubeflow.org/framework": "torch"}
    runtime = {**build_runtime(), "metadata": {"name": "torch-distributed", "labels": labels}}
    api.registry.apply(runtime, Source("/runtimes/torch.yaml", 0))
    api.add_job(trainer={"numNodes": 1})
    api.add_pod()
    api.note()
    return api


@pytest.fixture
def changing(desk: ApiDesk) -> Iterator[ApiDesk]:
    """The same, and the job changes for as long as the test lasts."""
    stopping = threading.Event()

    def change() -> None:
        number = 0
        while not stopping.wait(0.05):
            number += 1
            desk.set_status(number=number)

    changer = threading.Thread(target=change)
    changer.start()
    yield desk
    stopping.set()
    changer.join()


def take(events: Any, count: int = 4) -> list[Any]:
    return [event for event, _ in zip(events, range(count), strict=False)]


def test_the_official_client_watches(changing: ApiDesk) -> None:
    api, watcher = client.CustomObjectsApi(config.new_client_from_config(str(changing.kubeconfig))), watch.Watch()
    stream = watcher.stream(api.list_namespaced_custom_object, GROUP, VERSION, "default", PLURAL)
    found = take(stream)
    watcher.stop()
    assert [each["type"] for each in found] == ["ADDED", *["MODIFIED"] * 3]
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in found]
    assert versions == sorted(set(versions))


def test_the_dynamic_client_discovers_lists_and_watches(changing: ApiDesk) -> None:
    found = dynamic.DynamicClient(config.new_client_from_config(str(changing.kubeconfig)))
    jobs = found.resources.get(api_version=f"{GROUP}/{VERSION}", kind="TrainJob")
    assert [each.metadata.name for each in jobs.get(namespace="default").items] == ["mnist"]
    assert [each["type"] for each in take(jobs.watch(namespace="default", timeout=20))] == ["ADDED", *["MODIFIED"] * 3]


def test_kr8s_discovers_gets_lists_and_watches(changing: ApiDesk) -> None:
    api = kr8s.api(kubeconfig=str(changing.kubeconfig))
    job = new_class("TrainJob", f"{GROUP}/{VERSION}", namespaced=True, plural=PLURAL)
    assert job.get("mnist", api=api, namespace="default").raw["spec"]["runtimeRef"]["name"] == "torch-distributed"
    assert [each.name for each in api.get("pods", namespace="default")] == ["mnist-node-0-0-abcde"]
    assert api.version()["minor"] == "32"
    stream = api.watch(f"{PLURAL}.{GROUP}", namespace="default")
    assert [type for type, _ in take(stream, 3)] == ["ADDED", "MODIFIED", "MODIFIED"]


def test_lightkube_lists_in_pages_and_watches(changing: ApiDesk) -> None:
    changing.add_job("other")
    found = lightkube.Client(config=KubeConfig.from_file(str(changing.kubeconfig)))
    job = create_namespaced_resource(GROUP, VERSION, "TrainJob", PLURAL)
    listed = found.list(job, namespace="default", chunk_size=1)
    assert [each.metadata.name for each in listed] == ["mnist", "other"]
    assert [each.metadata.name for each in found.list(Pod, namespace="default")] == ["mnist-node-0-0-abcde"]
    assert [each.reason for each in found.list(Event)] == ["Started"]
    assert [each.metadata.name for each in found.list(Node)] == ["box"]
    types = [type for type, _ in take(found.watch(job, namespace="default", server_timeout=20))]
    assert types == ["ADDED", "ADDED", "MODIFIED", "MODIFIED"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the SDK's own
def test_the_kubeflow_sdk_reads_runtimes_jobs_and_events(desk: ApiDesk) -> None:
    from kubeflow.common.types import KubernetesBackendConfig
    from kubeflow.trainer import TrainerClient

    trainer = TrainerClient(KubernetesBackendConfig(config_file=str(desk.kubeconfig)))
    assert [each.name for each in trainer.list_runtimes()] == ["torch-distributed"]
    [job] = trainer.list_jobs()
    assert (job.name, job.num_nodes, [each.name for each in job.steps]) == ("mnist", 1, ["node-0"])
    assert trainer.get_job("mnist").status == "Running"
    assert [each.reason for each in trainer.get_job_events("mnist")] == ["Started"]
    desk.set_status(conditions=[{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}])
    wait_for(lambda: trainer.get_job("mnist").status == "Complete", "the SDK to see it")
