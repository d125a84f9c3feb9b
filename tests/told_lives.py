"""Lives that are told because few are drawn like them, and sentences that are held against all lives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import build_job, build_replicated_job, build_runtime
from lives import CROWDED_LIVES, KILLED, LIVES, LONG, PORT, Happening, Life
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.options import Options
from worlds import IMAGE, SANDBOX_IMAGE, World

REPLICATED_JOBS = ("spec", "template", "spec", "replicatedJobs")
Sentence = Callable[[Life], None]


def build_gang_runtime(name: str, status: str, *, strategy: str, retain: str, **container: Any) -> JSON:
    """Return a runtime whose nodes wait for a first step to be `status`, and start over once if one of them fails.

    They share a claim that is deleted or retained; all goes a minute after the end. Keywords are of the first step.
    """
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod, at_once = {"terminationGracePeriodSeconds": 10}, {"backoffLimit": 0}
    first = build_replicated_job("first", {"name": "first", "image": IMAGE, **mount, **container}, **pod)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claims = {"templates": [{"metadata": {"name": "data"}, "spec": claim}], "retentionPolicy": {"whenDeleted": retain}}
    policies = {
        "failurePolicy": {"maxRestarts": 1, "restartStrategy": strategy},
        "volumeClaimPolicies": [claims],
        "ttlSecondsAfterFinished": 60,
    }
    first["template"]["spec"] |= at_once
    runtime = build_runtime(name, container=mount, job=at_once, pod=pod, more_jobs=[first], jobset=policies)
    find(runtime, *REPLICATED_JOBS)[1]["dependsOn"] = [{"name": "first", "status": status}]
    return runtime


PASS, ENDED, DELETED = Happening("pass", passes=4), Happening("end what was asked to", passes=4), Happening("delete")
LOST = Happening("lose", passes=4)


def fail(node: int = 0, code: int = 1, passes: int = 4) -> Happening:
    """Return that a running container ends with a code, by default badly."""
    return Happening("exit", node, code, passes)


def wait(seconds: int) -> Happening:
    """Return that time goes by."""
    return Happening("wait", number=seconds, passes=4)


def tell(runtime: JSON, *happenings: Happening, nodes: int = 2, auto_remove: bool = True, **spec: Any) -> Life:
    """Return the life of a job that has just been admitted."""
    job = build_job(trainer={"numNodes": nodes}, suspend=False, **spec)
    return Life(World(job, runtime, Options(auto_remove=auto_remove)), [PASS, *happenings])


def _build(*more: str, **policies: Any) -> JSON:
    """Return a runtime with further steps before the nodes, whose Jobs fail at once."""
    keywords = {key: policies.pop(key) for key in ("job", "pod", "container") if key in policies}
    rjobs = [build_replicated_job(name, {"name": name, "image": IMAGE}) for name in more]
    return build_runtime(**{"job": {"backoffLimit": 0}, **keywords}, more_jobs=rjobs, jobset=policies)


PROBE = {"readinessProbe": {"tcpSocket": {"port": PORT}}}
OPEN, DONE = Happening("listen", number=1, passes=4), fail(code=0)
ONCE, BLOCKING = {"maxRestarts": 1}, {"maxRestarts": 1, "restartStrategy": "BlockingRecreate"}
LAUNCHER = {"operator": "All", "targetReplicatedJobs": ["first"]}
FAIL_INDEX = {"rules": [{"action": "FailIndex", **KILLED}]}
INDEXED = {"pod": {"restartPolicy": "Never"}, "job": {"backoffLimitPerIndex": 5, "podFailurePolicy": FAIL_INDEX}}
LEARN = Happening("learn of a disruption", passes=4)
GANGS = {
    (status, retain): build_gang_runtime("gang", status, strategy="Recreate", retain=retain, **probe)
    for status, retain, probe in (("Ready", "Delete", PROBE), ("Complete", "Retain", {}))
}
TOLD: dict[str, Life] = {
    "one of those that are to start over ends before the others": tell(
        _build("first", failurePolicy=BLOCKING), fail(1), Happening("exit", 0, 143, 4), ENDED, fail(2), ENDED
    ),
    "it starts over, and once is all": tell(_build(failurePolicy=ONCE), fail(), ENDED, fail(1), ENDED),
    "a rule lets it start over again and again": tell(
        _build(failurePolicy={"rules": [{"action": "RestartJobSetAndIgnoreMaxRestarts"}]}), fail(), ENDED, fail(), ENDED
    ),
    "nodes restart, and then all start over": tell(
        _build(failurePolicy=ONCE, job={"backoffLimit": 2}), fail(), wait(30), fail(), ENDED, nodes=1
    ),
    "steps in their order": tell(
        _build("first", "second", startupPolicy={"startupPolicyOrder": "InOrder"}, container=PROBE), OPEN, DONE, DONE
    ),
    "nodes wait for a port, start over, and wait again": tell(GANGS["Ready", "Delete"], OPEN, fail(1), ENDED, OPEN),
    "what is deleted goes with the job": tell(GANGS["Ready", "Delete"], OPEN, DELETED, PASS, ENDED),
    "what is retained stays": tell(GANGS["Complete", "Retain"], DONE, DONE, DONE, wait(60), DELETED, PASS),
    "all goes when its time is over": tell(
        GANGS["Ready", "Delete"], OPEN, DONE, DONE, DONE, wait(59), wait(1), auto_remove=False
    ),
    "a volume outlives its nodes until its time is over": tell(
        GANGS["Ready", "Delete"], OPEN, DONE, DONE, DONE, wait(59)
    ),
    "what is kept goes only when its time is over": tell(
        _build(ttlSecondsAfterFinished=60), DONE, DONE, wait(59), wait(1), auto_remove=False
    ),
    "a failed index was the engine's failure": tell(_build(**INDEXED), fail(code=137), LEARN, wait(700)),
    "an index has failed for good": tell(_build(**INDEXED), fail(code=137), wait(700), PASS, fail(code=0)),
    "the launcher is done before the workers' time is over": tell(
        _build("first", successPolicy=LAUNCHER, job={"activeDeadlineSeconds": 60}), DONE, ENDED, wait(700)
    ),
    "time is over while a node waits for its restart": tell(
        _build(job={"activeDeadlineSeconds": 60, "backoffLimit": 9}), wait(30), fail(), fail(), wait(30), ENDED
    ),
    "all start over for a failure whose container was taken by hand": tell(
        _build(failurePolicy=ONCE, pod={"restartPolicy": "Never"}, job={"backoffLimit": 1}),
        fail(),
        LOST,
        fail(passes=1),
    ),
    "the operator dies while all start over": tell(
        _build("first", failurePolicy=ONCE), fail(1, passes=0), Happening("crash", number=1), ENDED, DONE
    ),
    "suspended while all start over": tell(
        _build("first", failurePolicy=ONCE), fail(1), Happening("suspend", number=1), ENDED, Happening("suspend"), PASS
    ),
}


def build_crowded_runtime(name: str, restart_policy: str = "OnFailure", **job: Any) -> JSON:
    """Return a runtime whose pods have two init containers, a sidecar between them, and two main ones."""
    mount = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}, {"name": "memory", "mountPath": "/memory"}]}
    inits = [{"name": name, "image": IMAGE, **mount} for name in ("first", "sidecar", "second")]
    inits[1]["restartPolicy"] = "Always"
    volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]
    pod = {"restartPolicy": restart_policy, "initContainers": inits, "volumes": volumes}
    pod["terminationGracePeriodSeconds"] = 10
    helper = {"name": "helper", "image": IMAGE, **mount}
    return build_runtime(name, container=mount, pod=pod, job=job, more_containers=[helper])


def _tell_pod(restart_policy: str, *happenings: Happening, **job: Any) -> Life:
    """Return the life of a job of one pod that has a sandbox."""
    life = tell(build_crowded_runtime("crowded", restart_policy, **job), *happenings, nodes=1)
    options = replace(life.world.options, sandbox_image=SANDBOX_IMAGE)
    return replace(life, world=replace(life.world, options=options))


#: Where containers stand among those that run: the sandbox, then the sidecar, then the main ones.
_SANDBOX, _SIDECAR, _NODE, _HELPER = range(4)
READY, SUSPENDED, RESUMED = (
    Happening("initialize", passes=4),
    Happening("suspend", number=1, passes=4),
    Happening("suspend", passes=4),
)
TOLD_PODS: dict[str, Life] = {
    "an init container fails, and then all goes well": _tell_pod(
        "OnFailure", fail(1), wait(30), READY, fail(_NODE, 0), fail(_NODE, 0), ENDED, ENDED, backoffLimit=3
    ),
    "an init container fails in a pod that is replaced": _tell_pod(
        "Never", fail(1), ENDED, ENDED, wait(30), PASS, READY, fail(_NODE, 0), fail(_NODE, 0), ENDED, backoffLimit=3
    ),
    "one of two fails, and later the other": _tell_pod(
        "Never", READY, fail(_NODE), wait(30), fail(_NODE), ENDED, ENDED, wait(30), READY, backoffLimit=3
    ),
    "the sandbox ends": _tell_pod("OnFailure", READY, fail(_SANDBOX), ENDED, ENDED, PASS, READY, fail(_HELPER)),
    "the sandbox is taken by hand": _tell_pod("Never", READY, LOST, ENDED, ENDED, wait(30), PASS, READY),
    "suspended and resumed": _tell_pod("OnFailure", READY, SUSPENDED, ENDED, ENDED, ENDED, RESUMED, PASS, READY),
    "suspended while it begins": _tell_pod("Never", SUSPENDED, ENDED, ENDED, ENDED, RESUMED, PASS, READY),
    "the sidecar fails again and again": _tell_pod(
        "Never", READY, fail(_SIDECAR), wait(30), fail(_SIDECAR), wait(30), fail(_NODE), backoffLimit=0
    ),
    "the operator dies as a pod is replaced": _tell_pod(
        "Never", fail(1), ENDED, ENDED, Happening("wait", number=30, passes=0), Happening("crash", node=9), PASS, READY
    ),
}


@dataclass
class Sentences:
    """Sentences that hold in every life: each is a test over lives that are told, and all are held against others.

    To live takes longer than to look at it, so every life that is drawn is asked all of them.
    """

    told: Mapping[str, Life]
    drawn: st.SearchStrategy[Life]
    sentences: list[Sentence] = field(default_factory=list)

    def __call__(self, sentence: Sentence) -> Callable[[], None]:
        """Return the test of one sentence."""
        self.sentences.append(sentence)

        def hold() -> None:
            for name, life in self.told.items():
                try:
                    sentence(life)
                except AssertionError as error:
                    error.add_note(f"in the life in which {name}")
                    raise

        hold.__doc__ = sentence.__doc__
        return hold

    def build_test(self, examples: int) -> Callable[[], None]:
        """Return the test of all sentences in so many lives."""

        def hold(life: Life) -> None:
            for sentence in self.sentences:
                sentence(life)

        return settings(max_examples=examples * (50 if LONG else 1))(given(self.drawn)(hold))


def build_sentences() -> Sentences:
    """Return sentences, none yet, of jobs of any kind."""
    return Sentences(TOLD, LIVES)


def build_pod_sentences() -> Sentences:
    """Return sentences, none yet, of jobs whose pods have several containers."""
    return Sentences(TOLD_PODS, CROWDED_LIVES)
