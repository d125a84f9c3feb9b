"""The parts of a pod over the API: its log, commands in it. Says which container a request means, and where it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from trainlet.apis.jobset import JobSet
from trainlet.apis.trainer import GROUP, TRAIN_JOB
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.planning import labels
from trainlet.planning.slots import build_slots
from trainlet.server.api.errors import METHODS, build_method_error
from trainlet.server.api.queries import refuse
from trainlet.server.api.resources import BY_PLURAL
from trainlet.server.api.types import Reader

_PODS = BY_PLURAL[("", "v1", "pods")]
_JOBSETS = BY_PLURAL[("jobset.x-k8s.io", "v1alpha2", "jobsets")]
_TRAIN_JOBS = BY_PLURAL[(GROUP, "v1alpha1", "trainjobs")]
#: What a pod may say itself of which container is meant by none.
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_LISTS = ("containers", "initContainers")


@dataclass(frozen=True)
class Place:
    """One container of a pod: what is said of it (an entry of containerStatuses), and by which names we keep it."""

    namespace: str
    pod: str
    container: str
    status: JSON
    job: str
    job_uid: str
    step: str

    @property
    def name(self) -> str:
        """How messages name it."""
        return f'container "{self.container}" in pod "{self.pod}"'


class Finder:
    """Finds containers. Thread-safe; blocks."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def find(self, namespace: str, name: str, container: str) -> Place:
        """Return the container of this name, or the one that is meant by none. Raises ApiError."""
        pod = self._reader.get(_PODS, namespace, name)
        container = _choose(pod, container)
        job = str(find(pod, "metadata", "labels", labels.JOBSET_NAME))
        jobset = JobSet.model_validate(self._reader.get(_JOBSETS, namespace, job))
        slots = build_slots(ObjectKey(TRAIN_JOB, namespace, job), jobset)
        members = (each for slot in slots if slot.hostname == pod["spec"]["hostname"] for each in slot.members)
        return Place(
            namespace=namespace,
            pod=name,
            container=container,
            status=_find_status(pod, container),
            job=job,
            job_uid=str(get_metadata(self._reader.get(_TRAIN_JOBS, namespace, job)).get("uid")),
            step=next(each.step for each in members if each.name == container),
        )


def _choose(pod: JSON, name: str) -> str:
    """Return the name of a container that the pod has. Raises ApiError (400) that tells the choices."""
    mains, inits = ([str(each["name"]) for each in find(pod, "spec", kind) or ()] for kind in _LISTS)
    default = str((get_metadata(pod).get("annotations") or {}).get(_DEFAULT_CONTAINER, ""))
    chosen = name or (default if default in mains else mains[0] if len(mains) == 1 else "")
    if chosen in (*mains, *inits):
        return chosen
    choices = f"choose one of: [{' '.join(mains)}]" + (
        f" or one of the init containers: [{' '.join(inits)}]" * bool(inits)
    )
    pod_name = get_metadata(pod)["name"]
    what = f"container {name} is not valid for pod" if name else "a container name must be specified for pod"
    raise refuse(f"{what} {pod_name}, {choices}")


def _find_status(pod: JSON, container: str) -> JSON:
    status = pod.get("status") or {}
    entries: Sequence[JSON] = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
    return next((each for each in entries if each["name"] == container), {})


def build_pod_routes(reader: Reader, engine: Engine, status_dir: StatusDir) -> list[BaseRoute]:
    """Return the routes of all that is below a pod. What they raise is for who mounts them to answer."""
    from trainlet.server.api.pod_commands import Commands
    from trainlet.server.api.pod_logs import Logs
    from trainlet.server.api.pod_streams import Threads

    path, finder, threads = "/api/v1/namespaces/{namespace}/pods/{name}", Finder(reader), Threads()
    logs, commands = Logs(finder, engine, status_dir, threads), Commands(finder, engine, status_dir, threads)
    return [
        Route(f"{path}/log", logs, methods=["GET"]),
        *(
            route
            for name, endpoint in (("exec", commands.exec), ("attach", commands.attach))
            for route in (
                WebSocketRoute(f"{path}/{name}", endpoint),
                Route(f"{path}/{name}", commands.refuse, methods=["GET", "POST"]),
            )
        ),
        *(Route(f"{path}/{name}", _refuse_method, methods=METHODS) for name in ("log", "exec", "attach")),
    ]


async def _refuse_method(_: Request) -> Response:
    raise build_method_error()
