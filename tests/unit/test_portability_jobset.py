"""What becomes of Jobs and JobSets, of a runtime's policies, and of the TrainJob itself."""

import pytest

from builders import build_job, build_runtime, build_steps_runtime
from stances import BATCH_JOB, CONTAINER, JOBSET, RJOB, E, H, N, R, Row, judge, put_under, tell
from trainlet.admission.portability import Stance
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON

NEVER = {"restartPolicy": "Never"}
RULES = {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]}
OTHER_CONDITION = {"action": "Ignore", "onPodConditions": [{"type": "ConfigIssue", "status": "True"}]}
JOB_ROWS: dict[str, tuple[JSON, JSON, dict[str, Stance]]] = {
    # name: (job, pod, stances)
    "how often it fails": (
        {"backoffLimit": 0, "activeDeadlineSeconds": 60},
        {},
        {"backoffLimit": H, "activeDeadlineSeconds": H},
    ),
    "rules for failed pods": ({"podFailurePolicy": RULES}, NEVER, {"podFailurePolicy": H}),
    "rules for failed pods that restart in place": ({"podFailurePolicy": RULES}, {}, {"podFailurePolicy": R}),
    "rules for what never happens": (
        {"podFailurePolicy": {"rules": [*RULES["rules"], OTHER_CONDITION]}},
        NEVER,
        {
            "podFailurePolicy.rules[0]": H,
            "podFailurePolicy.rules[1].action": H,
            "podFailurePolicy.rules[1].onPodConditions[0].type": N,
            "podFailurePolicy.rules[1].onPodConditions[0].status": H,
        },
    ),
    "rules for disruptions": (
        {"podFailurePolicy": {"rules": [put(OTHER_CONDITION, ("onPodConditions",), [{"type": "DisruptionTarget"}])]}},
        NEVER,
        {"podFailurePolicy": H},
    ),
    "limits of each index": (
        {"backoffLimitPerIndex": 0, "maxFailedIndexes": 1},
        NEVER,
        {"backoffLimitPerIndex": H, "maxFailedIndexes": H},
    ),
    "limits of each index that restarts in place": (
        {"backoffLimitPerIndex": 1},
        {},
        {"backoffLimitPerIndex": R},
    ),
    "failed indexes without a limit": ({"maxFailedIndexes": 1}, NEVER, {"maxFailedIndexes": R}),
    "when it succeeds": ({"successPolicy": {"rules": [{"succeededIndexes": "0"}]}}, {}, {"successPolicy": H}),
    "indexed": ({"completionMode": "Indexed"}, {}, {"completionMode": H}),
    "not indexed": ({"completionMode": "NonIndexed"}, {}, {"completionMode": E}),
    "replaced when ended": ({"podReplacementPolicy": "Failed"}, {}, {"podReplacementPolicy": H}),
    "replaced before": ({"podReplacementPolicy": "TerminatingOrFailed"}, {}, {"podReplacementPolicy": N}),
    "by labels": (
        {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}},
        {},
        {"manualSelector": N, "selector": N},
    ),
    "its own end": ({"ttlSecondsAfterFinished": 0, "suspend": True}, {}, {"ttlSecondsAfterFinished": N, "suspend": N}),
    "the Job controller's": ({"managedBy": "kubernetes.io/job-controller"}, {}, {"managedBy": H}),
    "somebody else's": ({"managedBy": "acme.io/jobs"}, {}, {"managedBy": N}),
}


@pytest.mark.parametrize(("batch_job", "pod", "stances"), JOB_ROWS.values(), ids=JOB_ROWS)
def test_jobs(batch_job: JSON, pod: JSON, stances: dict[str, Stance]) -> None:
    told = tell(build_job(), build_runtime(job=batch_job, pod=pod))
    of_pod = {"template.spec.restartPolicy": H} if pod else {}
    assert told == put_under(BATCH_JOB, {**stances, **of_pod})


JOBSET_ROWS: dict[str, Row] = {
    "names": ({"network": {"enableDNSHostnames": True, "subdomain": "s"}}, {"network": H}),
    "no names": (
        {"network": {"enableDNSHostnames": False, "publishNotReadyAddresses": False}},
        {"network.enableDNSHostnames": N, "network.publishNotReadyAddresses": N},
    ),
    "ends": (
        {
            "successPolicy": {"operator": "Any", "targetReplicatedJobs": ["node"]},
            "failurePolicy": {"maxRestarts": 1, "rules": [{"name": "r", "action": "FailJobSet"}]},
            "ttlSecondsAfterFinished": 0,
        },
        {"successPolicy": H, "failurePolicy": H, "ttlSecondsAfterFinished": H},
    ),
    "restarts in place": (
        {"failurePolicy": {"restartStrategy": "InPlaceRestart"}},
        {"failurePolicy.restartStrategy": R},
    ),
    "restarts when all are gone": ({"failurePolicy": {"restartStrategy": "BlockingRecreate"}}, {"failurePolicy": H}),
    "restarts of single Jobs": (
        {"failurePolicy": {"rules": [{"name": "r", "action": "RestartJob"}]}},
        {"failurePolicy.rules[0].name": H, "failurePolicy.rules[0].action": R},
    ),
    "in order": ({"startupPolicy": {"startupPolicyOrder": "InOrder"}}, {"startupPolicy": H}),
    "a coordinator": ({"coordinator": {"replicatedJob": "node"}}, {"coordinator": N}),
    "JobSet's": ({"managedBy": "jobset.sigs.k8s.io/jobset-controller"}, {"managedBy": H}),
    "somebody else's": ({"managedBy": "kueue.x-k8s.io/multikueue"}, {"managedBy": N}),
    "a field of a later version": ({"whatever": "x"}, {"whatever": N}),
}


@pytest.mark.parametrize(("spec", "stances"), JOBSET_ROWS.values(), ids=JOBSET_ROWS)
def test_jobsets(spec: JSON, stances: dict[str, Stance]) -> None:
    assert tell(build_job(), build_runtime(jobset=spec)) == put_under(JOBSET, stances)


EXCLUSIVE = "alpha.jobset.sigs.k8s.io/exclusive-topology"
QUEUE = "kueue.x-k8s.io/queue-name"
APPARMOR = "container.apparmor.security.beta.kubernetes.io/node"
METADATA_ROWS: dict[str, Row] = {
    "told as one": ({"labels": {"a": "b", "c": "d"}, "annotations": {"e": "f"}}, {"labels": H, "annotations": H}),
    "of a queue": ({"labels": {"a": "b", QUEUE: "q"}}, {"labels[a]": H, f"labels[{QUEUE}]": N}),
    "of a topology": ({"annotations": {EXCLUSIVE: "rack"}}, {f"annotations[{EXCLUSIVE}]": N}),
    "of a profile": ({"annotations": {APPARMOR: "localhost/x"}}, {f"annotations[{APPARMOR}]": R}),
    "names and finalizers": (
        {"name": "n", "namespace": "m", "finalizers": ["a/b"]},
        {"name": N, "namespace": N, "finalizers": N},
    ),
}


@pytest.mark.parametrize(("metadata", "stances"), METADATA_ROWS.values(), ids=METADATA_ROWS)
def test_metadata_of_pods(metadata: JSON, stances: dict[str, Stance]) -> None:
    told = tell(build_job(), set_pod_metadata(build_runtime(), metadata))
    assert told == put_under(f"{BATCH_JOB}.template.metadata", stances)


def build_pod() -> JSON:
    return {"containers": [{"name": "node", "image": "image:1"}]}


def set_pod_metadata(runtime: JSON, metadata: JSON) -> JSON:
    [rjob] = find(runtime, "spec", "template", "spec", "replicatedJobs")
    edited = put(rjob, ("template", "spec", "template", "metadata"), metadata)
    return put(runtime, ("spec", "template", "spec", "replicatedJobs"), [edited])


def test_metadata_of_the_jobset() -> None:
    runtime = put(build_runtime(), ("spec", "template", "metadata"), {"annotations": {EXCLUSIVE: "rack", "a": "b"}})
    start = "spec.template.metadata"
    assert tell(build_job(), runtime) == {f"{start}.annotations[{EXCLUSIVE}]": N, f"{start}.annotations[a]": H}


def test_replicated_jobs() -> None:
    before: JSON = {"name": "a", "groupName": "g", "template": {"spec": {"template": {"spec": build_pod()}}}}
    runtime = build_runtime(more_jobs=[before])
    second = runtime["spec"]["template"]["spec"]["replicatedJobs"][1]
    second |= {"replicas": 1, "dependsOn": [{"name": "a", "status": "Ready"}], "later": 1}
    told = tell(build_job(), runtime)
    assert told[f"{RJOB}.groupName"] is H
    assert told[f"{JOBSET}.replicatedJobs[1].dependsOn"] is H
    assert told[f"{JOBSET}.replicatedJobs[1].replicas"] is H
    assert told[f"{JOBSET}.replicatedJobs[1].later"] is N


RUNTIME_ROWS: dict[str, Row] = {
    "a policy": ({"mlPolicy": {"numNodes": 2, "jax": {}}}, {"mlPolicy.jax": H}),
    "a policy of a later version": (
        {"mlPolicy": {"later": {}, "another": {"a": 1}}},
        {"mlPolicy.later": R, "mlPolicy.another": R},
    ),
    "a group": (
        {"podGroupPolicy": {"coscheduling": {"scheduleTimeoutSeconds": 5}}},
        {"podGroupPolicy": N, "template.spec.replicatedJobs[0].template.spec.template.metadata.labels": H},
    ),
    "a field of a later version": ({"whatever": {"a": 1}}, {"whatever": N}),
}


@pytest.mark.parametrize(("spec", "stances"), RUNTIME_ROWS.values(), ids=RUNTIME_ROWS)
def test_runtimes(spec: JSON, stances: dict[str, Stance]) -> None:
    runtime = build_runtime()
    runtime = {**runtime, "spec": {**runtime["spec"], **spec}}
    assert tell(build_job(), runtime) == put_under("spec", stances)


SECRET = {"secretRef": {"name": "s"}}
TRAIN_JOB_ROWS: dict[str, Row] = {
    "a trainer": (
        {"trainer": {"numProcPerNode": 1, "resourcesPerNode": {"limits": {"cpu": 1}}}},
        {"trainer.numProcPerNode": H, "trainer.resourcesPerNode": H},
    ),
    "a field of a later version": ({"trainer": {"whatever": 1}}, {"trainer.whatever": N}),
    "this controller's": ({"managedBy": "trainer.kubeflow.org/trainjob-controller"}, {"managedBy": H}),
    "another controller's": ({"managedBy": "kueue.x-k8s.io/multikueue"}, {"managedBy": N}),
    "suspended, with an end": (
        {"suspend": True, "activeDeadlineSeconds": 60},
        {"suspend": H, "activeDeadlineSeconds": H},
    ),
}


@pytest.mark.parametrize(("spec", "stances"), TRAIN_JOB_ROWS.values(), ids=TRAIN_JOB_ROWS)
def test_train_jobs(spec: JSON, stances: dict[str, Stance]) -> None:
    told = tell(build_job(**spec), build_runtime())
    own = {path: stance for path, stance in told.items() if not path.startswith("spec.template")}
    assert own == put_under("spec", stances)


def test_resources_without_a_policy() -> None:
    runtime = put(build_runtime(), ("spec", "mlPolicy"), None)
    told = tell(build_job(trainer={"resourcesPerNode": {"limits": {"cpu": 1}}}), runtime)
    assert told == {"spec.trainer.resourcesPerNode": N}


def test_a_job_for_a_queue() -> None:
    job = put(build_job(), ("metadata", "labels"), {QUEUE: "q", "a": "b"})
    assert tell(job, build_runtime()) == {f"metadata.labels[{QUEUE}]": N, "metadata.labels[a]": H}


LOGINS = [("hf://a/b", H), ("s3://a/b", H), ("https://a/b", E), ("file:///a/b", E)]


@pytest.mark.parametrize(("uri", "stance"), LOGINS)
def test_the_login_of_an_initializer_is_the_environment_of_its_container(uri: str, stance: Stance) -> None:
    job = build_job(initializer={"dataset": {"storageUri": uri, **SECRET}, "model": {"env": [{"name": "A"}]}})
    told = {finding.path: finding.stance for finding in judge(job, build_steps_runtime())}
    assert told["spec.initializer.dataset.storageUri"] is H
    assert told["spec.initializer.dataset.secretRef"] is stance
    assert told["spec.initializer.model.env"] is H
    assert told[f"{CONTAINER}.envFrom"] is H
