"""Which policies a runtime has, what each of them offers, and in what order they have their say."""

from typing import Any

import pytest

from builders import build_job, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset, build_objects
from trainlet.planning.policies import (
    BUILDERS,
    POD_GROUP_BUILDERS,
    POD_GROUP_POLICIES,
    POD_GROUP_RULES,
    POLICIES,
    RULES,
    coscheduling,
    find_builders,
    find_policies,
    flux,
    get_policy,
    mpi,
    plain,
    torch,
    volcano,
)
from trainlet.planning.runtime import build_info

FOUND: list[tuple[JSON | None, JSON | None, list[Any], list[Any]]] = [
    # mlPolicy, podGroupPolicy -> what changes the JobSet, what makes objects
    (None, None, [plain], []),
    ({"numNodes": 2}, {}, [plain], []),
    ({"torch": {}}, None, [torch], []),
    ({"mpi": {}}, None, [mpi], [mpi]),
    ({"flux": {}}, {"coscheduling": {}}, [flux, coscheduling], [flux, coscheduling]),
    (None, {"volcano": {}}, [plain, volcano], [volcano]),
    ({"mpi": None}, {"volcano": None, "coscheduling": {}}, [plain, coscheduling], [coscheduling]),
]


@pytest.mark.parametrize(("ml_policy", "group_policy", "policies", "builders"), FOUND, ids=range(len(FOUND)))
def test_a_runtime_s_policies_are_found_by_their_keys(
    ml_policy: JSON | None, group_policy: JSON | None, policies: list[Any], builders: list[Any]
) -> None:
    runtime = build_steps_runtime(ml_policy=ml_policy, pod_group_policy=group_policy)
    info = build_info(TrainJob.of(build_job()), runtime)
    assert (find_policies(info), find_builders(info)) == (policies, builders)
    assert get_policy(info) is policies[0]


OFFERS = [
    ("validate", RULES),
    ("apply", POLICIES),
    ("build_objects", BUILDERS),
    ("validate", POD_GROUP_RULES),
    ("apply", POD_GROUP_POLICIES),
    ("build_objects", POD_GROUP_BUILDERS),
]


@pytest.mark.parametrize(("function", "table"), OFFERS, ids=range(len(OFFERS)))
def test_what_a_module_offers_is_in_its_table(function: str, table: dict[str, Any]) -> None:
    known = POD_GROUP_POLICIES if set(table) <= set(POD_GROUP_POLICIES) else POLICIES
    assert table == {key: module for key, module in known.items() if hasattr(module, function)}


NO_OBJECTS: list[JSON | None] = [None, {"numNodes": 2}, {"torch": {}}, {"jax": {}}, {"xgboost": {}}]


@pytest.mark.parametrize("ml_policy", NO_OBJECTS, ids=range(len(NO_OBJECTS)))
def test_most_need_nothing_beside_the_jobset(ml_policy: JSON | None) -> None:
    job = TrainJob.of(build_job(trainer={"numNodes": 2}))
    assert build_objects(job, build_steps_runtime(ml_policy=ml_policy), bytes(32)) == ()


def test_a_policy_and_a_pod_group_do_not_disturb_each_other() -> None:
    runtime = build_steps_runtime(ml_policy={"mpi": {}}, pod_group_policy={"volcano": {}})
    job = TrainJob.of(build_job(trainer={"numNodes": 3}))
    objects = build_objects(job, runtime, bytes(32))
    assert [(each["kind"], each["metadata"]["name"]) for each in objects] == [
        ("Secret", "mnist-mpi-ssh-auth"),
        ("ConfigMap", "mnist-mpi-hostfile"),
        ("PodGroup", "mnist"),
    ]
    assert objects[2]["spec"]["minMember"] == 5
    assert len(build_jobset(job, runtime)["spec"]["replicatedJobs"]) == 3
