"""Where training code reports its progress: nothing unless asked for, and then in all containers of the trainer."""

from typing import Any

import pytest

from builders import build_job, build_replicated_job, build_runtime, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset, build_objects
from trainlet.planning.policies.status import Features, get_audience

FEATURES = Features(status_port=10443, ca_certificate="-----BEGIN CERTIFICATE-----\n")
POD = ("template", "spec", "template", "spec")
PATH = "trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs/alpha/status"
HOST = "kubeflow-trainer-controller-manager.kubeflow-system.svc"
ENVIRONMENT = [
    {"name": "KUBEFLOW_TRAINER_SERVER_URL", "value": f"https://{HOST}:10443/apis/{PATH}"},
    {"name": "KUBEFLOW_TRAINER_SERVER_CA_CERT", "value": "/var/run/secrets/kubeflow/trainer/ca.crt"},
    {"name": "KUBEFLOW_TRAINER_SERVER_TOKEN", "value": "/var/run/secrets/kubeflow/trainer/token"},
]
MOUNT = {"name": "kubeflow-trainer-token", "mountPath": "/var/run/secrets/kubeflow/trainer", "readOnly": True}
VOLUME = {
    "name": "kubeflow-trainer-token",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"audience": PATH, "expirationSeconds": 3600, "path": "token"}},
            {"configMap": {"name": "alpha-tls-config", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ]
    },
}


def build(runtime: JSON, features: Features = FEATURES, **spec: Any) -> list[JSON]:
    """Return the pods of the JobSet."""
    jobset = build_jobset(TrainJob.of(build_job("alpha", **spec)), runtime, features)
    return [find(rjob, *POD) for rjob in jobset["spec"]["replicatedJobs"]]


@pytest.mark.parametrize("spec", [{}, {"trainer": {}}], ids=["without a trainer", "with a trainer"])
def test_all_containers_of_the_first_trainer_are_told(spec: JSON) -> None:
    more = [
        build_replicated_job(
            "first",
            {"name": "node"},
            {"name": "side", "env": [{"name": "A", "value": "1"}]},
            ancestor="trainer",
            initContainers=[{"name": "before"}],
        ),
        build_replicated_job("second", {"name": "node"}, ancestor="trainer"),
    ]
    runtime = put(build_steps_runtime(ml_policy={}), ("spec", "template", "spec", "replicatedJobs"), more)
    first, second = build(runtime, **spec)
    assert first == {
        "initContainers": [{"name": "before"}],
        "containers": [
            {"name": "node", "env": ENVIRONMENT, "volumeMounts": [MOUNT]},
            {"name": "side", "env": [{"name": "A", "value": "1"}, *ENVIRONMENT], "volumeMounts": [MOUNT]},
        ],
        "volumes": [VOLUME],
    }
    assert second == {"containers": [{"name": "node"}]}


OWN = {"name": "KUBEFLOW_TRAINER_SERVER_URL", "value": "mine"}


def test_the_job_s_environment_wins_over_it_and_it_over_the_runtime_s() -> None:
    runtime = build_runtime(ml_policy={}, container={"env": [OWN]})
    assert build(runtime)[0]["containers"][0]["env"] == ENVIRONMENT
    assert build(runtime, trainer={"env": [OWN]})[0]["containers"][0]["env"] == [OWN, *ENVIRONMENT[1:]]


def test_what_the_job_says_to_its_node_is_nothing_to_the_containers_beside_it() -> None:
    job = build_replicated_job("node", {"name": "side", "env": [OWN]}, ancestor="trainer")
    runtime = put(build_runtime(ml_policy={}), ("spec", "template", "spec", "replicatedJobs"), [job])
    assert build(runtime, trainer={"env": [OWN]})[0]["containers"][0]["env"] == ENVIRONMENT


def test_it_comes_after_the_policy_s() -> None:
    [pod] = build(build_runtime(), trainer={"env": [{"name": "A", "value": "1"}]})
    names = [entry["name"] for entry in pod["containers"][0]["env"]]
    assert names[0] == "A"
    assert names[1:6] == [name for name in names if name.startswith("PET_")]
    assert names[6:] == [entry["name"] for entry in ENVIRONMENT]


def test_the_port_is_as_given() -> None:
    [pod] = build(build_runtime(), Features(status_port=1234))
    assert pod["containers"][0]["env"][0]["value"] == f"https://{HOST}:1234/apis/{PATH}"


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    job, runtime = TrainJob.of(build_job("alpha")), build_runtime()
    assert build_jobset(job, runtime, Features(ca_certificate="x")) == build_jobset(job, runtime)
    assert "volumes" not in find(build_jobset(job, runtime), "spec", "replicatedJobs", 0, *POD)
    assert build_objects(job, runtime, bytes(32)) == ()


def test_where_nothing_trains_nobody_is_told() -> None:
    other = build_replicated_job("other", {"name": "node"})
    runtime = put(build_runtime(), ("spec", "template", "spec", "replicatedJobs"), [other])
    assert build(runtime) == [{"containers": [{"name": "node"}]}]


def test_the_certificate_comes_by_a_config_map() -> None:
    [built] = build_objects(TrainJob.of(build_job("alpha")), build_runtime(), bytes(32), FEATURES)
    assert (built["kind"], built["metadata"]["name"]) == ("ConfigMap", "alpha-tls-config")
    assert built["data"] == {"ca.crt": FEATURES.ca_certificate}


def test_a_token_is_for_one_path() -> None:
    assert get_audience(TrainJob.of(build_job("alpha"))) == PATH
