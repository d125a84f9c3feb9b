"""Who is asked what a pod's volumes take on disk, and how it is found out."""

from builders import NOW
from scripted_engine import ScriptedEngine
from trainlet.controller.handlers import Handlers, Place
from trainlet.controller.inspection import find_targets
from trainlet.kube.meta import JSON
from trainlet.planning.probes import Answer, Kind, SizeCheck, SizeLimit
from trainlet.planning.scene import Needs, survey
from trainlet.planning.specs import VolumeSpec
from worlds import IMAGE, World, build_running

ON_DISK: JSON = {
    "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    "pod": {"volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}]},
}


def survey_probed(world: World) -> JSON:
    return dict(survey(world.case, world.options).probed)


def test_the_volumes_of_a_pod_are_measured_once_and_by_all_their_names() -> None:
    beside = {"name": "beside", "image": IMAGE, "volumeMounts": [{"name": "data", "mountPath": "/d", "subPath": "a"}]}
    world = build_running(1, runtime={**ON_DISK, "more_containers": [beside]})
    probed = survey_probed(world)
    [(place, found)] = probed.items()
    assert (place, found.probes.keys()) == (("mnist-node-0-0", "node"), {Kind.USAGE})
    targets = find_targets(world.observed, Needs(probed=probed))
    [check] = [probe for target in targets.values() for probe in target.probes.values()]
    assert isinstance(check, SizeCheck)
    [limit] = check.limits
    assert (limit.volume, limit.size_bytes, limit.said) == ("data", 1 << 20, "1Mi")
    assert sorted(limit.seen) == sorted(volume.name for volume in world.observed.volumes)
    assert len(limit.seen) == 2


def test_the_next_that_works_is_asked_once_the_first_has_ended() -> None:
    beside = {"name": "beside", "image": IMAGE}
    world = build_running(1, runtime={**ON_DISK, "more_containers": [beside]}).exit("node-0", 0).settle()
    assert list(survey_probed(world)) == [("mnist-node-0-0", "beside")]


def test_of_other_volumes_nobody_is_asked() -> None:
    for source in ({}, {"emptyDir": {}}, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, {"ephemeral": {}}):
        world = build_running(1, runtime={**ON_DISK, "pod": {"volumes": [{"name": "data", **source}]}})
        assert survey_probed(world) == {}


def test_all_parts_of_a_volume_count_and_what_cannot_be_measured_takes_nothing() -> None:
    engine = ScriptedEngine(lambda: NOW)
    for name in ("data", "data_part", "far"):
        engine.create_volume(VolumeSpec(name))
    engine.used_bytes |= {"data": 600, "data_part": 500}
    limits = [SizeLimit("data", "data", size, "1k", ("data", "data_part", "far", "gone")) for size in (1100, 1099)]
    ask = Handlers(engine).ask
    assert ask(Place("node"), SizeCheck((limits[0],)), 1) == Answer(True)
    over = Answer(False, 'Usage of EmptyDir volume "data" exceeds the limit "1k"')
    assert ask(Place("node"), SizeCheck(tuple(limits)), 1) == over
