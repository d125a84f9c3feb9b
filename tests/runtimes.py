"""The runtimes in e2e/manifests and the programs in e2e/programs, and jobs that bring the two together."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from trainlet.kube.meta import JSON
from world import World, build_train_job

_E2E = Path(__file__).parent / "e2e"
#: Where containers see the program of their job.
PROGRAM = "/workspace/program.py"
#: A runtime of trainlet's own.
BUILT_IN = "torch-distributed"


def read_program(name: str) -> str:
    """Return the text of a program."""
    return (_E2E / "programs" / f"{name}.py").read_text(encoding="utf-8")


def drop_job(
    world: World, name: str, nodes: int, command: Sequence[str], runtime: str = BUILT_IN, **spec: object
) -> Path:
    """Drop a job and its runtime in one file; keywords are fields of its spec. Return the file."""
    job = build_train_job(name, nodes, command, runtimeRef={"name": runtime}, **spec)
    return world.drop(*([] if runtime == BUILT_IN else [_read_runtime(runtime)]), job, file=f"{name}.yaml")


def drop_counting_job(
    world: World, name: str, nodes: int, runtime: str = BUILT_IN, spec: JSON | None = None, **env: object
) -> Path:
    """Drop a job that runs checkpoint_counter.py with these variables, and return its workspace."""
    workspace = put_program(world, name, "checkpoint_counter")
    variables = [{"name": key, "value": str(value)} for key, value in env.items()]
    drop_job(world, name, nodes, ["python3", PROGRAM], runtime, trainer={"env": variables}, **(spec or {}))
    return workspace


def put_program(world: World, job: str, program: str) -> Path:
    """Put a program into a job's workspace, which all its containers see, and return the workspace."""
    workspace = world.workspace(job)
    (workspace / "program.py").write_text(read_program(program), encoding="utf-8")
    return workspace


def _read_runtime(name: str) -> JSON:
    runtime: JSON = yaml.safe_load((_E2E / "manifests" / f"{name}.yaml").read_text(encoding="utf-8"))
    return runtime
