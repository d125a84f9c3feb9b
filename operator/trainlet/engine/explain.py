"""Turns what the engines say when something goes wrong into errors a person can act on.

Tables of patterns over the engines' own texts: a status code says too little (Podman answers 500 to nearly
everything). Knows no library: the engines hand over a status, a text or an exception chain.
"""

import errno
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import IncompleteRead

from trainlet.engine.base import EngineUnavailable, ImageMissing, NameTaken, PullFailed, StartFailed
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import DEFAULT_NAMESPACE
from trainlet.planning import labels


class Refused(EngineError):
    """The engine answered, and said no. `status` is HTTP's, `text` the engine's own words."""

    def __init__(self, doing: str, *, status: int, text: str, where: str) -> None:
        super().__init__(f"could not {doing}: {text}", where=where, remedy=find_remedy(text))
        self.status, self.text = status, text


@dataclass(frozen=True)
class StartFailure:
    """Why a container can never run as it is: the exit code a kubelet would report, and what to do."""

    exit_code: int
    remedy: str


_GPU = (
    "install nvidia-container-toolkit on the engine's machine, run `sudo nvidia-ctk runtime configure` "
    "(Podman: `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`), restart the engine, "
    "or take the GPU out of the job's resources"
)
_COMMAND = "check the command and that the image has it"
_ARCHITECTURE = "the image or its command is built for another processor architecture: use an image for this one"
_USER = "the image has no such user: use a numeric one in securityContext.runAsUser"
_MEMORY = "raise the memory limit"
_MOUNT_KIND = "mount a directory on a directory and a file on a file"

# First match wins, so the precise ones come first.
_START_FAILURES = tuple(
    (re.compile(pattern, re.IGNORECASE), StartFailure(exit_code, remedy))
    for pattern, exit_code, remedy in (
        (r"could not select device driver|unresolvable CDI|nvidia-container-cli|CDI device inject", 128, _GPU),
        (r"unable to find (user|group)|no matching entries in (passwd|group)|unable to find gid", 128, _USER),
        (r"exec format error", 128, _ARCHITECTURE),
        (r"not a directory.*mount|are you trying to mount a directory", 128, _MOUNT_KIND),
        (r"unable to set memory limit|memory limit too low|minimum memory limit", 128, _MEMORY),
        (r"executable file .*not found|command that was not found", 127, _COMMAND),
        (r"exec:? [\"/].*no such file or directory", 127, _COMMAND),
        (r"exec:? [\"/].*permission denied|open executable|cannot be invoked", 126, "make it executable"),
        (r"exec:? [\"/].*is a directory", 126, "the command is a directory: name a program"),
    )
)

_REMEDIES = tuple(
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        *((pattern.pattern, failure.remedy) for pattern, failure in _START_FAILURES[:5]),
        (r"no space left on device|disk quota", "free disk space, for example with `docker system prune`"),
        (r"bind source path does not exist", "create the directory that is mounted, or mount another"),
        (r"(statfs|stat) .*permission denied", "let the engine's user enter the directory that is mounted"),
        (r"statfs .*no such file|stat .*no such file", "create the directory that is mounted, or mount another"),
        (
            r"already allocated to container ID",
            "the address is still held; trying again. If that container is gone, Podman has lost count: let all "
            "containers end, then remove containers/networks/ipam.db in $XDG_RUNTIME_DIR (in /run if it is root's)",
        ),
        (r"address already in use|already allocated", "the address is still held; trying again"),
        (r"network .*not found|unable to find network", "its network was removed; it is made again"),
        (
            r"newuidmap|newgidmap|user namespaces|rootfs_linux\.go.*mounting|no subuid ranges|insufficient UIDs or GIDs"
            r"|cannot (clone|re-?exec).*(not permitted|permission denied|no space)",
            "let this user have user namespaces: `sudo sysctl -w user.max_user_namespaces=15000` and "
            "`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`; "
            "`trainlet doctor` tells what is missing",
        ),
        (
            r"cgroup controller.*not available|controller .* is not available under|cgroup.*permission denied",
            "let this user set limits, `trainlet doctor` tells how; or take the limits out of the job's resources",
        ),
        (r"volume is (in use|being used)", "the containers that use it have to go first"),
        (r"mkdir .*read-only file system", "make the directory in what is mounted read-only, or mount it writable"),
        (
            r"cannot overwrite (non-)?directory|creating file at .*file exists",
            "there is a directory of the file's name: give the file another path",
        ),
        (r"rootless netns", "XDG_RUNTIME_DIR must be below /run/user: log in as this user, do not use `su`"),
        (r"/dev/net/tun", "load the tun module (`sudo modprobe tun`) and let this user open /dev/net/tun"),
        (r"aardvark|netavark", "install netavark and aardvark-dns"),
        (r"dnsname|failed to find plugin", "install containernetworking-plugins and the CNI plugin dnsname"),
        (r"too many open files", "raise the engine's limit of open files (LimitNOFILE=), or fs.inotify's"),
        (r"rlimit", "lower default_ulimits in /etc/containers/containers.conf"),
        (r"hybrid mode", 'set runtime = "runc" in /etc/containers/containers.conf'),
        (r"iptables|nftables", "the engine cannot set up its firewall rules: look at its own log"),
    )
)

_PULL_REMEDIES = tuple(
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        (r"toomanyrequests|rate limit", "log in to the registry, or wait"),
        (r"unauthorized|authentication required|denied|no basic auth", "check the name, or log in to the registry"),
        (r"no matching manifest|no image found in .*for architecture", _ARCHITECTURE),
        (r"short-?name|unqualified-search", "write the whole name, such as docker.io/library/NAME:TAG"),
        (r"not found|manifest unknown|not exist|invalid reference", "check the image's name and tag"),
        (
            r"no such host|lookup |time(d )?out|connection refused|unreachable|pinging container registry|dial tcp",
            "the registry cannot be reached: check the network, or load the image by hand",
        ),
        (r"no space left", "free disk space"),
    )
)

_START_MAC = {
    "docker": "start it: open Docker Desktop, or run `colima start`",
    "podman": "start its machine: `podman machine start`, after `podman machine init` the first time",
}
_START_LINUX = {
    "docker": "start it: `sudo systemctl start docker`",
    "podman": "start it: `systemctl --user start podman.socket`, or root's: `sudo systemctl start podman.socket`",
}
_START = {"Darwin": _START_MAC}
_PERMIT = {
    "docker": "`sudo usermod -aG docker $USER`, then log in again or run `newgrp docker`",
    "podman": "use your own service: `systemctl --user start podman.socket`; only root may use root's",
}
#: How a person removes what holds a name.
_REMOVE = {"container": "rm -f", "network": "network rm", "volume": "volume rm"}
NO_SOCKET = "there is no such socket"
_NO_RIGHT = "permission denied on the socket"
_CUT = "the connection was cut"
_UNREACHABLE = {
    errno.ENOENT: NO_SOCKET,
    errno.ENOTSOCK: "that is not a socket",
    errno.ECONNREFUSED: "nobody answers (connection refused)",
    errno.ECONNRESET: _CUT,
    errno.EPIPE: _CUT,
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
}
#: Labels that tell whose a container or network is, the surest first.
_HOLDERS = (
    (labels.SDK_JOB_NAME, "the Kubeflow SDK's job"),
    ("com.docker.compose.project", "the Compose project"),
    ("io.podman.compose.project", "the Compose project"),
)


def find_start_failure(text: str) -> StartFailure | None:
    """Return why the container can never run, or None if trying again may help."""
    return next((failure for pattern, failure in _START_FAILURES if pattern.search(text)), None)


def find_remedy(text: str) -> str:
    """Return what to do about an engine's refusal, or nothing."""
    return next((remedy for pattern, remedy in _REMEDIES if pattern.search(text)), "")


def build_start_error(refused: Refused) -> EngineError:
    """Tell a container that can never run from one that could not be started just now."""
    failure = find_start_failure(refused.text)
    if failure is None:
        return refused
    return StartFailed(refused.what, exit_code=failure.exit_code, where=refused.where, remedy=failure.remedy)


def build_name_taken(
    engine: str, kind: str, name: str, where: str, found: Mapping[str, str] | None = None
) -> NameTaken:
    """Say that a `container`, `network` or `volume` is in the way; `found` are its labels, if they are known."""
    holder = "" if found is None else f", it belongs to {describe_holder(found)}"
    what, by_hand = f"{kind} {name} exists and is not this job's{holder}", f"`{engine} {_REMOVE[kind]} {name}`"
    return NameTaken(what, where=where, remedy=f"remove it ({by_hand}) or give the job another name")


def describe_holder(found: Mapping[str, str]) -> str:
    """Say whose something on an engine is, by its labels."""
    if labels.OWNER_UID in found:
        job = f"{found.get(labels.NAMESPACE, DEFAULT_NAMESPACE)}/{found.get(labels.JOB_NAME, '')}"
        return f"the trainlet job {job} of another directory or of an earlier time (store {found.get(labels.STORE)})"
    told = (f"{whose} {found[label]}" for label, whose in _HOLDERS if label in found)
    return next(told, "somebody else, no label tells whom")


def build_image_missing(image: str, where: str) -> ImageMissing:
    """Say that a container cannot be made for want of its image."""
    return ImageMissing(f"image {image} is not on this engine", where=where, remedy="it has to be pulled first")


def build_pull_error(image: str, text: str, where: str) -> PullFailed:
    """Keep the registry's own words, and add what can be done about them."""
    remedy = next((remedy for pattern, remedy in _PULL_REMEDIES if pattern.search(text)), "")
    return PullFailed(f"could not pull {image}: {text}", where=where, remedy=remedy)


def build_unreachable(error: BaseException, engine: str, where: str) -> EngineUnavailable:
    """Say why nothing answered, from the system error that is somewhere inside the library's."""
    reason, remedy = explain_unreachable(error, engine)
    return EngineUnavailable(f"{engine} cannot be reached: {reason}", where=where, remedy=remedy)


def explain_unreachable(error: BaseException, engine: str, system: str = platform.system()) -> tuple[str, str]:
    """Return the reason and the remedy, on a system as platform.system() names it."""
    if _is_timeout(error):
        return "no answer in time", "it is overloaded or hangs: look at its log, or restart it"
    reason = _UNREACHABLE.get(find_errno(error) or 0)
    if reason is None and any(isinstance(each, ConnectionError | IncompleteRead) for each in _unfold(error)):
        reason = _CUT  # Python's own word for it has no number
    if reason is None:
        return str(error), f"check the address, and that {engine} runs there"
    remedies = _PERMIT if reason == _NO_RIGHT else _START.get(system, _START_LINUX)
    return reason, remedies[engine]


def find_errno(error: BaseException) -> int | None:
    """Return the first errno that is anywhere in an exception."""
    return next((each.errno for each in _unfold(error) if isinstance(each, OSError) and each.errno), None)


def _is_timeout(error: BaseException) -> bool:
    return any(isinstance(each, TimeoutError) or "timed out" in str(each).lower() for each in _unfold(error))


def _unfold(error: BaseException) -> list[BaseException]:
    """Return an exception with its causes and arguments; libraries nest the real one in any of them."""
    found = [error]
    for each in found:
        inner = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        found += [item for item in inner if isinstance(item, BaseException) and item not in found]
    return found
