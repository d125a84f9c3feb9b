"""What upstream's policy plugins refuse, row by row, as the webhook judges it: for a new job and for an update."""

from typing import Any

import pytest

from builders import build_job, build_pod_patch, build_replicated_job, build_runtime
from trainlet.admission.webhooks import validate_train_job
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import put
from trainlet.kube.meta import JSON
from trainlet.planning.policies import POLICIES, RULES, find_rules, flux, jax, mpi, torch, volcano, xgboost
from trainlet.planning.runtime import build_info

INVALID, FORBIDDEN = "Invalid value", "Forbidden"
Row = tuple[str, str, str, Any]


def judge(job: JSON, runtime: JSON, old: JSON | None = None) -> list[Row]:
    errors, warnings = validate_train_job(job, old, lambda _: runtime)
    assert {error.stage for error in errors} <= {"webhook"}
    assert warnings == []
    return [(error.path, error.type, error.detail, error.value) for error in errors]


REF = {"name": "torch-distributed", "apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime"}


def inject(*targets: tuple[str, list[str]]) -> JSON:
    entries = [{"jobName": job, "containerNames": names} for job, names in targets]
    return {"torch": {"envInjection": {"targets": entries}}}


def refuse_injection(job: str, container: str) -> Row:
    detail = f'envInjection target podSet "{job}" container "{container}" not found in runtime template'
    return ("spec.runtimeRef", INVALID, detail, REF)


def refuse_env(env: list[JSON], *names: str) -> Row:
    detail = f"must not have reserved envs, invalid envs configured: [{' '.join(names)}]"
    return ("spec.trainer.env", INVALID, detail, env)


def name_all(*names: str) -> list[JSON]:
    return [{"name": name, "value": "x"} for name in names]


SIDE = build_replicated_job("side", {"name": "main"}, initContainers=[{"name": "first"}])
NODE = build_replicated_job("node", {"name": "node"}, ancestor="trainer")
LAUNCHER = build_replicated_job("launcher", {"name": "node"}, ancestor="trainer")
PET = ("PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_NNODES", "PET_NODE_RANK", "PET_NPROC_PER_NODE")
OMPI = (
    "OMPI_MCA_orte_default_hostfile",
    "OMPI_MCA_orte_keep_fqdn_hostnames",
    "OMPI_MCA_orte_set_default_slots",
    "OMPI_MCA_plm_rsh_args",
)
DMLC = ("DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_TASK_ID", "DMLC_NUM_WORKER")
SOME_ENV = [
    {"name": "FINE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
    {"name": "PET_NNODES", "value": "1"},
    {"name": "PET_MASTER_ADDR"},
]
AS_NODE = {"mpi": {"runLauncherAsNode": True}}
PLACES = "must have 1 when MPI trainingRuntime with enabled runLauncherAsNode does not have either launcher and node"
INSTALLER = {"initContainers": [{"name": "flux-installer"}]}
RESERVED_INSTALLER = (
    "spec.trainer.initContainers",
    INVALID,
    "InitContainer 'flux-installer' is reserved",
    "flux-installer",
)

Case = tuple[JSON, list[JSON], JSON, list[Row]]
CASES: dict[str, Case] = {
    # name: (mlPolicy, replicated jobs, spec of the job, errors)
    "torch, every reserved name": (
        {"torch": {}},
        [NODE],
        {"trainer": {"env": name_all(*reversed(PET))}},
        [refuse_env(name_all(*reversed(PET)), *PET)],
    ),
    "torch, the list is shown as it is": (
        {"torch": {}},
        [NODE],
        {"trainer": {"env": SOME_ENV}},
        [refuse_env(SOME_ENV, "PET_MASTER_ADDR", "PET_NNODES")],
    ),
    "torch, other names": ({"torch": {}}, [NODE], {"trainer": {"env": name_all("PET_X", "RANK", *OMPI, *DMLC)}}, []),
    "torch, no trainer": ({"torch": {}}, [NODE], {}, []),
    "no policy reserves nothing": ({"numNodes": 1}, [NODE], {"trainer": {"env": name_all(*PET, *OMPI, *DMLC)}}, []),
    "torch, injection into containers of both kinds": (
        inject(("side", ["main", "first"])),
        [NODE, SIDE],
        {},
        [],
    ),
    "torch, injection into no job": (
        inject(("nowhere", ["main"])),
        [NODE, SIDE],
        {},
        [refuse_injection("nowhere", "main")],
    ),
    "torch, injection into no container": (
        inject(("side", ["main", "x"]), ("node", ["y"])),
        [NODE, SIDE],
        {"trainer": {}},
        [refuse_injection("side", "x"), refuse_injection("node", "y")],
    ),
    "torch, injection into what a patch adds": (
        inject(("side", ["added"])),
        [NODE, SIDE],
        {"runtimePatches": [build_pod_patch("side", containers=[{"name": "added"}])]},
        [],
    ),
    "torch, both": (
        inject(("side", ["x"])),
        [NODE, SIDE],
        {"trainer": {"env": name_all("PET_NNODES")}},
        [refuse_env(name_all("PET_NNODES"), "PET_NNODES"), refuse_injection("side", "x")],
    ),
    "mpi, a launcher as node, no workers": (
        AS_NODE,
        [LAUNCHER],
        {"trainer": {"numNodes": 2}},
        [("spec.trainer.numNodes", INVALID, PLACES, 2)],
    ),
    "mpi, a launcher as node, no launcher": (
        AS_NODE,
        [NODE],
        {"trainer": {"numNodes": 3}},
        [("spec.trainer.numNodes", INVALID, PLACES, 3)],
    ),
    "mpi, a launcher as node, both": (AS_NODE, [NODE, LAUNCHER], {"trainer": {"numNodes": 2}}, []),
    "mpi, a launcher as node, one node": (AS_NODE, [NODE], {"trainer": {"numNodes": 1}}, []),
    "mpi, a launcher as node, no number": (AS_NODE, [NODE], {"trainer": {}}, []),
    "mpi, a launcher as node, no trainer": (AS_NODE, [NODE], {}, []),
    "mpi, a launcher beside the nodes": ({"mpi": {}}, [NODE], {"trainer": {"numNodes": 2}}, []),
    "mpi, every reserved name": (
        {"mpi": {}},
        [NODE],
        {"trainer": {"env": name_all(*reversed(OMPI))}},
        [refuse_env(name_all(*reversed(OMPI)), *OMPI)],
    ),
    "mpi, both": (
        AS_NODE,
        [NODE],
        {"trainer": {"numNodes": 2, "env": name_all(*OMPI)}},
        [("spec.trainer.numNodes", INVALID, PLACES, 2), refuse_env(name_all(*OMPI), *OMPI)],
    ),
    "mpi, other names": ({"mpi": {}}, [NODE], {"trainer": {"env": name_all("OMPI_MCA_x", *PET)}}, []),
    "jax reserves nothing": (
        {"jax": {}},
        [NODE],
        {"trainer": {"env": name_all("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS")}},
        [],
    ),
    "xgboost, every reserved name, by its place": (
        {"xgboost": {}},
        [NODE],
        {"trainer": {"env": name_all("FINE", *DMLC)}},
        [
            (f"spec.trainer.env[{place}]", FORBIDDEN, f"{name} is reserved for the XGBoost runtime", None)
            for place, name in enumerate(DMLC, start=1)
        ],
    ),
    "xgboost, no trainer": ({"xgboost": {}}, [NODE], {}, []),
    "flux, the installer is there": (
        {"flux": {}},
        [build_replicated_job("node", {"name": "node"}, **INSTALLER)],
        {},
        [RESERVED_INSTALLER],
    ),
    "flux, a patch adds the installer": (
        {"flux": {}},
        [NODE],
        {"runtimePatches": [build_pod_patch("node", **INSTALLER)]},
        [RESERVED_INSTALLER],
    ),
    "flux, the installer is in another job": (
        {"flux": {}},
        [NODE, build_replicated_job("other", {"name": "x"}, **INSTALLER)],
        {},
        [],
    ),
    "flux, no node": ({"flux": {}}, [SIDE], {}, []),
}


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(("ml_policy", "jobs", "spec", "expected"), CASES.values(), ids=CASES)
def test_the_rules_of_each_policy(
    ml_policy: JSON, jobs: list[JSON], spec: JSON, expected: list[Row], updates: bool
) -> None:
    runtime = put(build_runtime(ml_policy=ml_policy), ("spec", "template", "spec", "replicatedJobs"), jobs)
    job = build_job(**spec)
    assert judge(job, runtime, job if updates else None) == expected


def build_volcano(annotations: JSON | None, *classes: str | None, policy: JSON | None = None) -> JSON:
    """Return a runtime with the Volcano policy and a replicated job for each priority class."""
    jobs = [
        build_replicated_job(f"j{n}", {"name": "node"}, **({} if name is None else {"priorityClassName": name}))
        for n, name in enumerate(classes)
    ]
    runtime = build_runtime(ml_policy={})
    runtime["spec"]["podGroupPolicy"] = {"volcano": {}} if policy is None else policy
    runtime["spec"]["template"] = {"metadata": {"annotations": annotations}, "spec": {"replicatedJobs": jobs}}
    return runtime


QUEUE = "scheduling.volcano.sh/queue-name"
NO_QUEUE = (f"spec.annotations[{QUEUE}]", INVALID, "Volcano queue name must not be empty", "")


def refuse_class(name: str) -> Row:
    missing = f'priorityclass.scheduling.k8s.io "{name}" not found'
    return ("spec.templateSpec.priorityClassName", INVALID, f'PriorityClass "{name}" doesn\'t exist: {missing}', name)


def patch_queue(name: str) -> JSON:
    metadata = {"annotations": {QUEUE: name}}
    return {"runtimePatches": [{"manager": "a.io/b", "trainingRuntimeSpec": {"template": {"metadata": metadata}}}]}


VOLCANOES: dict[str, tuple[JSON, JSON, list[Row]]] = {
    # name: (runtime, spec of the job, errors)
    "no queue": (build_volcano(None, None), {}, []),
    "a queue": (build_volcano({QUEUE: "q"}, None), {}, []),
    "a queue without a name": (build_volcano({QUEUE: ""}, None), {}, [NO_QUEUE]),
    "a patch takes the name away": (build_volcano({QUEUE: "q"}, None), patch_queue(""), [NO_QUEUE]),
    "a patch gives the name": (build_volcano({QUEUE: ""}, None), patch_queue("q"), []),
    "a class": (build_volcano(None, None, "high"), {}, [refuse_class("high")]),
    "two classes": (build_volcano(None, "a", "b"), {}, [refuse_class("a"), refuse_class("b")]),
    "one class twice, said once": (build_volcano(None, "a", "a"), {}, [refuse_class("a")]),
    "a system class": (build_volcano(None, "system-cluster-critical"), {}, []),
    "the other system class": (build_volcano(None, "system-node-critical"), {}, []),
    "a system class ends the check": (build_volcano(None, "a", "system-node-critical", "b"), {}, [refuse_class("a")]),
    "queue and class": (build_volcano({QUEUE: ""}, "a"), {}, [NO_QUEUE, refuse_class("a")]),
    "another pod group policy": (build_volcano({QUEUE: ""}, "a", policy={"coscheduling": {}}), {}, []),
    "no pod group policy": (build_volcano({QUEUE: ""}, "a", policy={}), {}, []),
}


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(("runtime", "spec", "expected"), VOLCANOES.values(), ids=VOLCANOES)
def test_the_rules_of_volcano(runtime: JSON, spec: JSON, expected: list[Row], updates: bool) -> None:
    job = build_job(**spec)
    assert judge(job, runtime, job if updates else None) == expected


FOUND = [
    ({}, {}, []),
    ({"numNodes": 2}, {"coscheduling": {}}, []),
    ({"torch": {}, "numNodes": 2}, {"volcano": {}}, [torch, volcano]),
    ({"flux": {}, "xgboost": {}, "jax": {}, "mpi": {}, "torch": {}}, {}, [torch, mpi, jax, xgboost, flux]),
    ({"torch": None}, {"volcano": None}, []),
]


@pytest.mark.parametrize(("ml_policy", "pod_group_policy", "rules"), FOUND, ids=range(len(FOUND)))
def test_which_rules_a_runtime_has(ml_policy: JSON, pod_group_policy: JSON, rules: list[Any]) -> None:
    runtime = put(build_runtime(ml_policy=ml_policy), ("spec", "podGroupPolicy"), pod_group_policy)
    assert find_rules(build_info(TrainJob.of(build_job()), runtime)) == rules


def test_every_policy_that_is_built_is_judged_and_no_other_pretends_to_be_built() -> None:
    assert set(POLICIES) <= set(RULES)
    assert set(POLICIES) == set(RULES)
