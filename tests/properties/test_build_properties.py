"""Sentences about building that hold for every job and every runtime."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from builders import build_job, build_replicated_job, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import ANCESTORS, build_jobset, build_objects
from trainlet.planning.jobset_defaults import default_jobset
from trainlet.planning.patches import apply_patches
from trainlet.planning.policies.status import Features

POD = ("template", "spec", "template", "spec")
STEP = ("template", "metadata", "labels", "trainer.kubeflow.org/trainjob-ancestor-step")
SECRET = bytes(range(32))
COUNTS = st.integers(0, 5)
#: The first name that each policy sets in the node's container; none is set without a trainer.
POLICIES: dict[str, str] = {"torch": "PET_NNODES", "jax": "JAX_NUM_PROCESSES", "xgboost": "DMLC_TRACKER_URI"}
#: Some are what a policy sets: a runtime may have them, and so may a job where its webhook does not refuse them.
NAMES = st.sampled_from([*"ABCDEF", "PATH", "JAX_PROCESS_ID", "KUBEFLOW_TRAINER_SERVER_URL"])
LISTS = st.lists(NAMES, max_size=6, unique=True)


def name_all(names: list[str], value: str) -> list[JSON]:
    return [{"name": name, "value": value} for name in names]


@st.composite
def draw_containers(draw: Any, *, always: tuple[str, ...] = ()) -> list[JSON]:
    """Return containers of different names, with environment and resources."""
    names = [*always, *draw(st.lists(st.sampled_from(["node", "side", "launcher"]), unique=True, max_size=2))]
    resources = st.sampled_from([{}, {"limits": {"nvidia.com/gpu": 2}}, {"requests": {"cpu": "1500m"}}])
    return [
        {"name": name, "image": f"{name}:1", "env": name_all(draw(LISTS), "runtime"), "resources": draw(resources)}
        for name in dict.fromkeys(names)
    ]


@st.composite
def draw_runtimes(draw: Any) -> JSON:
    """Return a runtime with any policy, any steps and replicated jobs of any count."""
    jobs = []
    for name in draw(st.lists(st.sampled_from(["node", "launcher", "fetch", "web"]), min_size=1, unique=True)):
        ancestor = draw(st.sampled_from([None, "trainer", "trainer", "dataset-initializer", "model-initializer"]))
        always = (ancestor,) if ancestor not in (None, "trainer") else ()
        job = build_replicated_job(name, *draw(draw_containers(always=always)), ancestor=ancestor)
        job = put(job, ("template", "spec", "parallelism"), draw(st.none() | COUNTS))
        jobs.append({**job, "replicas": draw(st.integers(1, 3))})
    policy = draw(st.sampled_from([None, {}, *({name: {}} for name in (*POLICIES, "mpi", "flux"))]))
    if policy == {"mpi": {}}:
        policy = {"mpi": {"runLauncherAsNode": draw(st.booleans()), "numProcPerNode": draw(st.integers(1, 3))}}
    if policy is not None and draw(st.booleans()):
        policy = {"numNodes": draw(COUNTS), **policy}
    groups = st.sampled_from([None, {"coscheduling": {}}, {"volcano": {"networkTopology": {}}}])
    runtime = build_steps_runtime(ml_policy=policy, pod_group_policy=draw(groups))
    return put(runtime, ("spec", "template", "spec", "replicatedJobs"), jobs)


@st.composite
def draw_trainers(draw: Any) -> JSON:
    """Return a trainer that says how many nodes it has, as Flux demands."""
    fields = {
        "image": st.just("job:1"),
        "command": st.sampled_from([[], ["run"], ["tune", "run"]]),
        "args": st.sampled_from([[], ["--fast"]]),
        "numProcPerNode": st.integers(1, 4),
        "resourcesPerNode": st.sampled_from([{"limits": {"nvidia.com/gpu": 1}}, {"requests": {"cpu": "3"}}]),
        "env": LISTS.map(lambda names: name_all(names, "job")),
    }
    return {"numNodes": draw(COUNTS), **draw(st.fixed_dictionaries({}, optional=fields))}


@st.composite
def draw_patches(draw: Any) -> list[JSON]:
    """Return patches of jobs that are there and of one that is not."""
    container = st.fixed_dictionaries(
        {"name": st.sampled_from(["node", "side", "ghost"])},
        optional={"volumeMounts": st.just([{"name": "v", "mountPath": "/v"}])},
    )
    containers = st.lists(container, max_size=3, unique_by=lambda each: each["name"])
    pods = st.fixed_dictionaries({}, optional={"containers": containers, "nodeSelector": st.just({"a": "b"})})
    patches = []
    for number in range(draw(st.integers(0, 2))):
        names = draw(st.lists(st.sampled_from(["node", "launcher", "web", "ghost"]), unique=True, max_size=2))
        jobs = [put({"name": name}, POD, draw(pods)) for name in names]
        template = {"spec": {"replicatedJobs": jobs}}
        patches.append({"manager": f"a.io/{number}", "trainingRuntimeSpec": {"template": template}})
    return patches


@st.composite
def draw_jobs(draw: Any) -> TrainJob:
    """Return a job with a trainer, perhaps with initializers and patches."""
    config = st.fixed_dictionaries(
        {}, optional={"storageUri": st.just("hf://a/b"), "secretRef": st.just({"name": "s"})}
    )
    optional = {
        "initializer": st.fixed_dictionaries({}, optional={"dataset": config, "model": config}),
        "suspend": st.booleans(),
        "runtimePatches": draw_patches(),
    }
    return TrainJob.of(build_job(trainer=draw(draw_trainers()), **draw(st.fixed_dictionaries({}, optional=optional))))


FEATURES = st.sampled_from([Features(), Features(status_port=10443, ca_certificate="x")])


def rjobs_of(jobset: JSON) -> list[JSON]:
    rjobs: list[JSON] = jobset["spec"]["replicatedJobs"]
    return rjobs


@given(draw_jobs(), draw_runtimes(), FEATURES)
def test_building_again_gives_the_same_bytes_and_changes_nothing_given(
    job: TrainJob, runtime: JSON, features: Features
) -> None:
    before = json.dumps(runtime)
    built = [
        json.dumps([build_jobset(job, runtime, features), build_objects(job, runtime, SECRET, features)])
        for _ in range(2)
    ]
    assert built[0] == built[1]
    assert json.dumps(runtime) == before


@given(draw_jobs(), draw_runtimes(), FEATURES)
def test_every_job_has_as_many_completions_as_pods_at_once(job: TrainJob, runtime: JSON, features: Features) -> None:
    specs = [rjob["template"]["spec"] for rjob in rjobs_of(build_jobset(job, runtime, features))]
    assert [spec["parallelism"] for spec in specs] == [spec["completions"] for spec in specs]
    assert all(spec["parallelism"] >= 0 for spec in specs)


@given(draw_jobs(), draw_runtimes())
def test_a_step_of_the_train_job_is_one_job_and_others_are_as_many_as_the_runtime_says(
    job: TrainJob, runtime: JSON
) -> None:
    given_replicas = {rjob["name"]: rjob["replicas"] for rjob in runtime["spec"]["template"]["spec"]["replicatedJobs"]}
    for rjob in rjobs_of(build_jobset(job, runtime)):
        expected = 1 if find(rjob, *STEP) in ANCESTORS else given_replicas.get(rjob["name"])
        assert rjob.get("replicas") == expected


@given(draw_trainers(), LISTS, st.sampled_from([*POLICIES, None]), FEATURES)
def test_environment_is_the_runtime_s_then_the_job_s_then_the_policy_s(
    trainer: JSON, own: list[str], policy: str | None, features: Features
) -> None:
    """Of one name the first place counts, and of the values the job's before the policy's before the runtime's."""
    node = build_replicated_job("node", {"name": "node", "env": name_all(own, "runtime")}, ancestor="trainer")
    runtime = build_steps_runtime(ml_policy={} if policy is None else {policy: {}})
    runtime = put(runtime, ("spec", "template", "spec", "replicatedJobs"), [node])
    [rjob] = rjobs_of(build_jobset(TrainJob.of(build_job(trainer=trainer)), runtime, features))
    env = find(rjob, *POD, "containers", 0, "env")
    names = [entry["name"] for entry in env]
    mine = [entry["name"] for entry in trainer.get("env", [])]
    known = list(dict.fromkeys([*own, *mine]))
    assert names[: len(known)] == known
    assert len(names) == len(set(names))
    values = {entry["name"]: entry.get("value") for entry in env}
    assert all(values[name] == "job" for name in mine)
    added = set(names[len(known) :])
    assert policy is None or POLICIES[policy] in added
    assert all(name.startswith(("PET_", "JAX_", "DMLC_", "KUBEFLOW_TRAINER_SERVER_")) for name in added)


@given(draw_runtimes(), draw_patches())
def test_patches_lose_no_job_no_container_and_no_image_of_the_runtime(runtime: JSON, patches: list[JSON]) -> None:
    template = runtime["spec"]["template"]
    patched = apply_patches(template, patches)["spec"]["replicatedJobs"]
    there = [rjob["name"] for rjob in template["spec"]["replicatedJobs"]]
    assert [rjob["name"] for rjob in patched][: len(there)] == there
    for before, after in zip(template["spec"]["replicatedJobs"], patched, strict=False):
        images = {container["name"]: container.get("image") for container in find(after, *POD, "containers")}
        kept = {container["name"]: container["image"] for container in find(before, *POD, "containers")}
        assert kept.items() <= images.items()
        assert find(after, *STEP) == find(before, *STEP)


@given(draw_jobs(), draw_runtimes(), FEATURES)
def test_what_a_pod_mounts_is_made_beside_the_jobset(job: TrainJob, runtime: JSON, features: Features) -> None:
    objects = {(each["kind"], each["metadata"]["name"]) for each in build_objects(job, runtime, SECRET, features)}
    wanted = set()
    for rjob in rjobs_of(build_jobset(job, runtime, features)):
        for volume in find(rjob, *POD, "volumes") or []:
            projected = [
                source["configMap"]["name"]
                for source in find(volume, "projected", "sources") or []
                if "configMap" in source
            ]
            wanted |= {("ConfigMap", name) for name in projected}
            wanted |= {("ConfigMap", volume["configMap"]["name"])} if "configMap" in volume else set()
            wanted |= {("Secret", volume["secret"]["secretName"])} if "secret" in volume else set()
    assert wanted <= objects


@given(draw_jobs(), draw_runtimes())
def test_a_group_has_as_many_members_as_there_are_pods_of_first_jobs(job: TrainJob, runtime: JSON) -> None:
    groups = [each for each in build_objects(job, runtime, SECRET) if each["kind"] == "PodGroup"]
    pods = sum(rjob["template"]["spec"]["parallelism"] for rjob in rjobs_of(build_jobset(job, runtime)))
    assert [group["spec"]["minMember"] for group in groups] == [pods] * len(groups)
    assert len(groups) == (find(runtime, "spec", "podGroupPolicy") is not None)


@given(draw_jobs(), draw_runtimes(), FEATURES)
def test_defaults_add_and_take_nothing_away(job: TrainJob, runtime: JSON, features: Features) -> None:
    jobset = build_jobset(job, runtime, features)
    filled = default_jobset(jobset)
    assert default_jobset(filled) == filled
    assert contains(filled, jobset)


def contains(whole: Any, part: Any) -> bool:
    """Tell whether all that one value says is in the other."""
    if isinstance(part, dict):
        return all(value is None or (key in whole and contains(whole[key], value)) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)
