"""What a node's end says to somebody who knows the usual ones: the remedy, in trainlet's words.

A table over the last lines of the log, the reason and the exit code. What a program says of itself comes first; then
what may be the echo of another node's end; the bare exit code last.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from trainlet.planning.records import CONTAINER_LOST, DISRUPTED, EVICTED

_LAST_LINES, _LONGEST_LINE, _LONGEST_NAME = 200, 500, 120
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
#: Lines that speak of trouble and mean none.
_INNOCENT = re.compile(
    r"(?:User|Future|Deprecation|Runtime|Resource|Import)Warning\b|NCCL INFO|\bRetrying \(Retry\("
    r"|\[W[\d :.]{0,40}socket\.cpp"  # torch's sockets, while they wait for the other nodes
)
#: Ends that are not the program's own.
_FROM_OUTSIDE = (CONTAINER_LOST, DISRUPTED)

_RESOURCES = "spec.trainer.resourcesPerNode"
_MORE = f"raise the memory in {_RESOURCES}.limits, or take smaller batches, a smaller model or fewer data loaders"
_MEMORY = f"the memory is full: {_MORE}"
_SHARED_MEMORY = (
    f"/dev/shm is full: it is as large as the memory in {_RESOURCES}.limits, or half of the machine's memory without "
    "one; raise that, or lower num_workers of the data loaders"
)
_GPU = (
    f'the node has no GPU: ask for one in {_RESOURCES}.limits, such as {{"nvidia.com/gpu": 1}}; '
    "`trainlet doctor` tells whether the machine has one for containers"
)
_DRIVER = (
    "the NVIDIA driver of the machine is older than the image's CUDA: update the driver, or take an image with an "
    "older CUDA"
)
_RENDEZVOUS = (
    "the nodes did not find each other: look at the log of the one that is missing, and see that all start the same "
    "training for as many nodes as spec.trainer.numNodes"
)
_INTERFACE = (
    "no network interface of the given name: set NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME in spec.trainer.env to one "
    "that the node has, which is eth0 in a container, or leave them out"
)
_NCCL = "set NCCL_DEBUG=INFO in spec.trainer.env and run again: NCCL then logs what failed"
_PEER = "another node ended or hangs, and this one lost it: look at the log of the node that ended first"
_TOKEN = (
    "the Hugging Face Hub wants to know who asks: check the name, accept the terms of the model or data set there, and "
    "give a token, to the trainer as HF_TOKEN and to an initializer as ACCESS_TOKEN"
)
_COMMAND = "is not in the image: correct the command, or take an image that has it"
_WORKSPACE = (
    "is not there: put it into the image or into the job's workspace, which is workspaces/NAMESPACE/NAME on this "
    "machine and /workspace in the node; or correct the path"
)
_OWNER = (
    "may not be written or read by the node's user: change its owner, or run as another user by "
    "securityContext.runAsUser and fsGroup"
)
_CRASH = "native code crashed: see that the image's libraries fit each other and the driver of this machine"
_KILLED = f"somebody killed it, mostly Linux because the machine's memory is full (`dmesg` tells); if so, {_MORE}"
_ENDED = "it was asked to end: by a suspend, a deadline, the end of another node, or by hand; see `trainlet events`"
_PROCESSES = (
    "no more processes or threads can be started: lower OMP_NUM_THREADS in spec.trainer.env or num_workers of the "
    "data loaders"
)


@dataclass(frozen=True)
class _Row:
    """A remedy, and the lines and exit codes that call for it; `{name}` in it is what the pattern called so."""

    pattern: str
    remedy: str
    codes: tuple[int, ...] = ()

    @cached_property
    def regex(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    def find_remedy(self, exit_code: int, lines: Sequence[str]) -> str | None:
        if self.codes and exit_code not in self.codes:
            return None
        match = next(filter(None, map(self.regex.search, lines)), None)
        return None if match is None else self.remedy.replace("{name}", _show(match.groupdict().get("name")))


_ROWS = (
    # Python
    _Row(
        r"(?:ModuleNotFoundError|ImportError|python[\d.]*): No module named '?(?P<name>[\w.]+)",
        "the image has no Python module {name}: take an image that has it, or install it before the training starts",
    ),
    _Row(
        r"(?P<name>\blib[\w.+-]{1,60}\.so[\w.]{0,20}): cannot open shared object file",
        "the image has no library {name}: take an image that has it; libcuda.so.1 comes with a GPU that is asked for",
    ),
    _Row(
        r"error: (?:unrecognized arguments|the following arguments are required): (?P<name>.+)",
        "the program does not take its arguments ({name}): correct spec.trainer.args",
    ),
    # Shared memory, files and processes
    _Row(
        r"Too many open files", "call torch.multiprocessing.set_sharing_strategy('file_system'), or lower num_workers"
    ),
    _Row(r"(?:out of|insufficient) shared memory|(?:signal: B|nexpected b|^B)us error", _SHARED_MEMORY),
    _Row(r"(?:shared memory|/torch_|/dev/shm).{0,150}(?:No space left|[Cc]annot allocate)", _SHARED_MEMORY),
    _Row(r"No space left on device.{0,150}/dev/shm|creating shared memory segment", _SHARED_MEMORY),
    _Row(r"Signal 7 \(SIGBUS\)|\bexitcode\s*: -7\b", _SHARED_MEMORY),
    _Row(r"can't start new thread|pthread_create failed|fork: (?:retry|Resource temporarily)", _PROCESSES),
    # GPUs
    _Row(
        r"CUDA out of memory|CUDA error: out of memory|RESOURCE_EXHAUSTED: Out of memory",
        "the GPU's memory is full: take smaller batches or a smaller model, or spread it over more GPUs",
    ),
    _Row(
        r"Duplicate GPU detected|invalid device ordinal",
        f"there are more processes than GPUs on a node: ask for as many GPUs in {_RESOURCES} as numProcPerNode says",
    ),
    _Row(
        r"driver on your system is too old|driver version is insufficient|forward compatibility was attempted", _DRIVER
    ),
    _Row(
        r"Torch not compiled with CUDA enabled",
        "the image's PyTorch is built for processors only: take an image with CUDA, or do not move anything to a GPU",
    ),
    _Row(r"no kernel image is available", "the image's program is not built for this GPU: take an image that is"),
    _Row(
        r"device-side assert triggered",
        "an index is out of range on the GPU, often a label: CUDA_LAUNCH_BLOCKING=1 in spec.trainer.env shows where",
    ),
    _Row(r"No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device", _GPU),
    _Row(r"only supported with GPUs, no GPUs found|deserialize object on a CUDA device", _GPU),
    # MPI
    _Row(
        r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED",
        "the image's ssh asks whether it knows the nodes: say StrictHostKeyChecking no in its ssh_config",
    ),
    _Row(
        r"Permission denied \(publickey|Permissions \d+ for .{1,200} are too open",
        "a node does not take the launcher's key: mpi.sshAuthMountPath of the runtime must be .ssh of the pods' user",
    ),
    _Row(
        r"connect to host (?P<name>\S+) port \d+: (?:Connection|No route)",
        "no sshd answers on {name}: see in its log why it does not run there",
    ),
    _Row(
        r"not enough slots available",
        "mpirun is asked for more processes than numNodes times numProcPerNode: raise those, or lower its -np",
    ),
    _Row(r"has detected an attempt to run as root", "give mpirun --allow-run-as-root, or the pods a runAsUser"),
    _Row(
        r"unable to reliably start one or more daemons|PRTE has lost communication|daemon has unexpectedly failed",
        "mpirun could not start on all nodes: see in their logs whether sshd runs, and that all have the same MPI",
    ),
    # Rendezvous and collectives
    _Row(
        r"[Aa]ddress already in use|EADDRINUSE",
        "another process has the port: start one training a node, or give this one a port of its own",
    ),
    _Row(r"no socket interface found|Unable to find (?:address|interface) for", _INTERFACE),
    _Row(
        r"Temporary failure in name resolution|Name or service not known|Could not resolve host|Failed to resolve '",
        "a host is not known: if it is a node, see that it runs; if not, see that containers reach a name server",
    ),
    _Row(r"\bwaiting for (?:clients|workers)\. \d+/\d+", _RENDEZVOUS),
    _Row(r"client socket has (?:timed out|failed to connect)|Rendezvous(?:Connection|Timeout)Error", _RENDEZVOUS),
    _Row(r"connectFullMesh failed|Barrier timed out|Failed to connect to the tracker", _RENDEZVOUS),
    # The Hub
    _Row(r"GatedRepoError|gated repo\b|RepositoryNotFoundError|Access to \w+ \S+ is restricted", _TOKEN),
    _Row(r"\b401 Client Error\b.{0,150}\bhuggingface\.co\b", _TOKEN),
    _Row(
        r"\b429 Client Error\b.{0,150}\bhuggingface\.co\b",
        "the Hugging Face Hub has enough for now: wait, or give HF_TOKEN",
    ),
    # Files
    _Row(r"No space left on device|Disk quota exceeded", "the disk is full: make room, or move --workspace-dir"),
    _Row(
        r"Read-only file system",
        "the node may not write there: write below /workspace, or take out readOnlyRootFilesystem",
    ),
    _Row(r"(?P<name>/workspace[^'\"\s:]*)['\"]?: Permission denied", f"{{name}} {_OWNER}", codes=(1, 2)),
    _Row(r"Permission denied: '(?P<name>[^']+)'", f"{{name}} {_OWNER}"),
    _Row(r"can't open file '(?P<name>[^']+)'", f"{{name}} {_WORKSPACE}"),
    _Row(r"FileNotFoundError: .{0,100}No such file or directory: '(?P<name>[^']+)'", f"{{name}} {_WORKSPACE}"),
    # The command
    _Row(
        r"[Ee]xec format error",
        "the image is for another kind of processor, or the script has no #! line: take an image for this machine",
    ),
    _Row(r'exec: "(?P<name>[^"]+)": executable file not found', f"{{name}} {_COMMAND}"),
    _Row(r"(?:^|\s)(?P<name>[\w./+-]+): (?:command )?not found", f"{{name}} {_COMMAND}", codes=(127,)),
    # Memory
    _Row(r"\bMemoryError\b|DefaultCPUAllocator: |std::bad_alloc|[Cc]annot allocate memory", _MEMORY),
    _Row(r"DataLoader worker .{0,150}(?:signal: Killed|exited unexpectedly)", _MEMORY),
    # What may be an echo
    _Row(r"\bSignal 9 \(SIGKILL\)|\bexitcode\s*: -9\b", _KILLED),
    _Row(r"\bSignal 11 \(SIGSEGV\)|\bexitcode\s*: -11\b|Segmentation fault", _CRASH),
    _Row(r"ncclRemoteError|caught collective operation timeout|another task died|heartbeat timeout", _PEER),
    _Row(
        r"(?:gloo|TCPStore|socket\.cpp|ProcessGroup).{0,150}(?:[Cc]onnection (?:closed|reset)|Broken pipe|Timed out)",
        _PEER,
    ),
    _Row(
        r"ncclSystemError|unhandled system error|unhandled cuda error|ncclUnhandledCudaError|ncclInternalError", _NCCL
    ),
    _Row(r"\bSignal 15 \(SIGTERM\)|\bSIGTERM death signal|\bexitcode\s*: -15\b", _ENDED),
)
_REASONS = {
    "OOMKilled": _MEMORY,
    EVICTED: "raise the sizeLimit of the emptyDir, or keep less in it: /workspace has no limit",
}
_CODES = {
    126: "the command cannot be run: make the file executable, or start it by its interpreter",
    127: f"the command {_COMMAND}",
    132: "the processor does not know an instruction of the program: take an image that is built for this one",
    135: _SHARED_MEMORY,
    137: _KILLED,
    139: _CRASH,
    143: _ENDED,
}


def diagnose(exit_code: int, reason: str, log: Sequence[str]) -> str | None:
    """Return in one line what to do about a node's end, None for one that is not among the usual ones.

    `reason` is a container's, as a kubelet gives it; `log` holds the last lines, of which only so many are read.
    """
    if exit_code == 0 or reason in _FROM_OUTSIDE:
        return None
    if reason in _REASONS:
        return _REASONS[reason]
    lines = [_COLOURS.sub("", line[:_LONGEST_LINE]) for line in log[-_LAST_LINES:]]
    lines = [line for line in lines if not _INNOCENT.search(line)]
    found = (row.find_remedy(exit_code, lines) for row in _ROWS)
    return next(filter(None, found), _CODES.get(exit_code))


def _show(name: str | None) -> str:
    """Write what a log says such that it cannot break the line."""
    return "".join(letter for letter in (name or "").strip()[:_LONGEST_NAME] if letter.isprintable())
