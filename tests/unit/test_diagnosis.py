"""What a node's last words tell about the remedy."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.planning.diagnosis import _CODES, _ROWS, diagnose

SHARED_MEMORY, GPU, RENDEZVOUS = "/dev/shm is full", "the node has no GPU", "the nodes did not find each other"
MEMORY, PEER, TOKEN = (
    "the memory is full",
    "look at the log of the node that ended first",
    "Hugging Face Hub wants to know",
)

#: A log, the exit code, and what the remedy must say; several lines for one remedy are several logs.
LOGS: dict[str, tuple[int, str, str]] = {
    "module": (
        1,
        """
        Traceback (most recent call last):
          File "/workspace/train.py", line 3, in <module>
            import transformers.models
        ModuleNotFoundError: No module named 'transformers.models'
        """,
        "no Python module transformers.models",
    ),
    "module of a rank": (1, "[rank1]: ModuleNotFoundError: No module named 'peft'", "no Python module peft"),
    "module as a program": (1, "/usr/bin/python3: No module named torch", "no Python module torch"),
    "module in colours": (1, "\x1b[31mModuleNotFoundError\x1b[0m: No module named 'datasets'", "module datasets"),
    "library": (
        127,
        "python: error while loading shared libraries: libcudart.so.12: cannot open shared object file: No such file",
        "no library libcudart.so.12",
    ),
    "arguments": (
        2,
        "usage: train.py [-h] [--epochs EPOCHS]\ntrain.py: error: unrecognized arguments: --epoch 3",
        "does not take its arguments (--epoch 3)",
    ),
    "open files": (
        1,
        "RuntimeError: unable to open shared memory object </torch_61_18> in read-write mode: Too many open files (24)",
        "set_sharing_strategy",
    ),
    "data loader, bus error": (
        1,
        "RuntimeError: DataLoader worker (pid 93) is killed by signal: Bus error. It is possible that dataloader's "
        "workers are out of shared memory. Please try to raise your shared memory limit.",
        SHARED_MEMORY,
    ),
    "worker, bus error": (
        1,
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
        SHARED_MEMORY,
    ),
    "shared memory object": (
        1,
        "RuntimeError: unable to write to file </torch_212_331_0>: No space left on device (28)",
        SHARED_MEMORY,
    ),
    "a file in shared memory": (1, "OSError: [Errno 28] No space left on device: '/dev/shm/cache.bin'", SHARED_MEMORY),
    "NCCL's shared memory": (
        1,
        "node-0:41:68 [0] misc/shmutils.cc:72 NCCL WARN Error: failed creating shared memory segment /dev/shm/nccl-KJw",
        SHARED_MEMORY,
    ),
    "torchrun, bus error": (1, "  exitcode  : -7 (pid: 47)\n  traceback : Signal 7 (SIGBUS) received", SHARED_MEMORY),
    "bus error of a shell": (135, "Bus error (core dumped)", SHARED_MEMORY),
    "threads": (1, "RuntimeError: can't start new thread", "OMP_NUM_THREADS"),
    "OpenBLAS": (
        1,
        "OpenBLAS blas_thread_init: pthread_create failed for thread 31 of 64: Resource temporarily unavailable",
        "OMP_NUM_THREADS",
    ),
    "CUDA memory": (
        1,
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 15.77 GiB",
        "the GPU's memory is full",
    ),
    "one GPU twice": (
        1,
        "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n"
        "Last error:\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 10",
        "more processes than GPUs",
    ),
    "no such GPU": (1, "RuntimeError: CUDA error: invalid device ordinal", "more processes than GPUs"),
    "old driver": (
        1,
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
        "older than the image's CUDA",
    ),
    "insufficient driver": (
        1,
        "RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version",
        "older than the image's CUDA",
    ),
    "built for processors": (1, "AssertionError: Torch not compiled with CUDA enabled", "built for processors only"),
    "new GPU": (
        1,
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "not built for this GPU",
    ),
    "assertion on the GPU": (1, "RuntimeError: CUDA error: device-side assert triggered", "CUDA_LAUNCH_BLOCKING=1"),
    "no GPU": (1, "RuntimeError: No CUDA GPUs are available", GPU),
    "no driver": (1, "RuntimeError: Found no NVIDIA driver on your system. Please check that you have one", GPU),
    "NCCL without GPU": (1, "ValueError: ProcessGroupNCCL is only supported with GPUs, no GPUs found!", GPU),
    "ssh, host key": (255, "Host key verification failed.\r", "StrictHostKeyChecking no"),
    "ssh, key": (255, "mpiuser@pi-node-0-1.pi: Permission denied (publickey).", "mpi.sshAuthMountPath"),
    "ssh, open key": (
        255,
        "Permissions 0644 for '/root/.ssh/id_rsa' are too open.",
        "mpi.sshAuthMountPath",
    ),
    "ssh, no server": (
        255,
        "ssh: connect to host pi-node-0-1.pi port 22: Connection refused\n"
        "ORTE was unable to reliably start one or more daemons.",
        "no sshd answers on pi-node-0-1.pi",
    ),
    "mpirun, slots": (
        1,
        "There are not enough slots available in the system to satisfy the 4\nslots that were requested",
        "numNodes times numProcPerNode",
    ),
    "mpirun, root": (1, "mpirun has detected an attempt to run as root.", "--allow-run-as-root"),
    "mpirun, daemons": (
        1,
        "ORTE was unable to reliably start one or more daemons.\nThis usually is caused by: ...",
        "mpirun could not start on all nodes",
    ),
    "port": (
        1,
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. "
        "port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
        "another process has the port",
    ),
    "port in Python": (1, "OSError: [Errno 98] Address already in use", "another process has the port"),
    "NCCL, interface": (
        1,
        "node-1:33:33 [0] misc/socket.cc:55 NCCL WARN Bootstrap : no socket interface found",
        "NCCL_SOCKET_IFNAME",
    ),
    "gloo, interface": (
        1,
        "RuntimeError: [enforce fail at device.cc:83] rp != nullptr. Unable to find address for: eth7",
        "GLOO_SOCKET_IFNAME",
    ),
    "host name": (1, "socket.gaierror: [Errno -3] Temporary failure in name resolution", "name server"),
    "host name of a node": (255, "ssh: Could not resolve hostname pi-node-0-1.pi: Name or service not known", "a node"),
    "torch, clients": (
        1,
        "torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 1/2 clients joined.",
        RENDEZVOUS,
    ),
    "torch, connect": (
        1,
        "[E socket.cpp:860] [c10d] The client socket has timed out after 60s while trying to connect to (a, 29500).",
        RENDEZVOUS,
    ),
    "torchrun, connect": (
        1,
        "torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: The connection to the C10d store failed.",
        RENDEZVOUS,
    ),
    "gloo, connect": (1, "RuntimeError: Gloo connectFullMesh failed with [transport/tcp/pair.cc:144]", RENDEZVOUS),
    "jax": (
        1,
        "jaxlib.xla_extension.XlaRuntimeError: DEADLINE_EXCEEDED: Barrier timed out. Id: PjRT_Client_Connect.",
        RENDEZVOUS,
    ),
    "xgboost": (
        1,
        "xgboost.core.XGBoostError: [12:00:01] comm.cc:50:\n- Failed to connect to the tracker.",
        RENDEZVOUS,
    ),
    "Hub, gated": (
        1,
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-66f4)\n\n"
        "Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.2-1B/resolve/main/config.json.",
        TOKEN,
    ),
    "Hub, not found": (1, "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error.", TOKEN),
    "Hub, restricted": (1, "Access to model google/gemma-2-2b is restricted. You must be authenticated.", TOKEN),
    "Hub, login": (
        1,
        "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/api/whoami-v2",
        TOKEN,
    ),
    "Hub, busy": (
        1,
        "HTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/api/datasets/a/b",
        "wait, or give HF_TOKEN",
    ),
    "disk": (1, "OSError: [Errno 28] No space left on device: '/workspace/checkpoint-500/model.pt'", "--workspace-dir"),
    "read-only": (1, "OSError: [Errno 30] Read-only file system: '/root/.cache'", "readOnlyRootFilesystem"),
    "permission, shell": (
        1,
        "mkdir: cannot create directory '/workspace/out': Permission denied",
        "/workspace/out may",
    ),
    "permission, Python": (
        1,
        "PermissionError: [Errno 13] Permission denied: '/workspace/model/config.json'",
        "/workspace/model/config.json may not be written or read",
    ),
    "no script": (
        2,
        "python: can't open file '/workspace/train.py': [Errno 2] No such file or directory",
        "/workspace/train.py is not there",
    ),
    "no file": (
        1,
        "FileNotFoundError: [Errno 2] No such file or directory: '/workspace/dataset/train.csv'",
        "/workspace/dataset/train.csv is not there",
    ),
    "architecture": (1, "exec /usr/local/bin/python: exec format error", "another kind of processor"),
    "no program": (
        127,
        'exec: "torchrun": executable file not found in $PATH',
        "torchrun is not in the image",
    ),
    "no program, sh": (127, "sh: 1: torchrun: not found", "torchrun is not in the image"),
    "no program, bash": (127, "bash: line 1: deepspeed: command not found", "deepspeed is not in the image"),
    "memory": (1, "MemoryError", MEMORY),
    "memory, torch": (
        1,
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory",
        MEMORY,
    ),
    "memory, loader": (1, "RuntimeError: DataLoader worker (pid 58) is killed by signal: Killed.", MEMORY),
    "torchrun, killed": (1, "  exitcode  : -9 (pid: 61)\n  traceback : Signal 9 (SIGKILL) received by PID 61", "dmesg"),
    "torchrun, crash": (1, "  traceback : Signal 11 (SIGSEGV) received by PID 61", "native code crashed"),
    "a shell's crash": (139, "Segmentation fault (core dumped)", "native code crashed"),
    "NCCL, peer": (
        1,
        "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.",
        PEER,
    ),
    "NCCL, hang": (
        1,
        "[rank0]:[E ProcessGroupNCCL.cpp:616] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL()",
        PEER,
    ),
    "gloo, peer": (
        1,
        "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.3]",
        PEER,
    ),
    "gloo, hang": (
        1,
        "RuntimeError: [third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv",
        PEER,
    ),
    "jax, peer": (134, "distributed service detected fatal errors. Most likely that another task died", PEER),
    "NCCL, system": (
        1,
        "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:1691, unhandled system error, NCCL version 2.18.1",
        "NCCL_DEBUG=INFO",
    ),
    "torchrun, ended": (
        1,
        "torch.distributed.elastic.multiprocessing.api.SignalException: got 15\n exitcode : -15 (pid: 7)",
        "it was asked to end",
    ),
    "not executable": (126, "/bin/sh: 1: /workspace/run.sh: Permission denied", "make the file executable"),
    "not there": (127, "", "the command is not in the image"),
    "instruction": (132, "", "does not know an instruction"),
    "bus error": (135, "", SHARED_MEMORY),
    "killed": (137, "", "dmesg"),
    "crash": (139, "", "native code crashed"),
    "ended": (143, "epoch 3 loss 0.2", "it was asked to end"),
}


@pytest.mark.parametrize(("code", "log", "words"), LOGS.values(), ids=LOGS)
def test_what_to_do_is_told(code: int, log: str, words: str) -> None:
    remedy = diagnose(code, "Error", ["step 1 loss 2.31", *log.splitlines(), "a last line of no meaning"])
    assert remedy is not None
    assert words in remedy
    assert "\n" not in remedy
    assert "{name}" not in remedy


def test_every_row_has_a_log() -> None:
    texts = [(code, log.splitlines()) for code, log, _ in LOGS.values()]
    silent = [row.pattern for row in _ROWS if not any(row.find_remedy(code, lines) for code, lines in texts)]
    assert silent == []
    assert {code for code, log, _ in LOGS.values() if not log.strip()} | {126, 143} == set(_CODES)


def test_the_engine_knows_best_that_the_memory_was_full() -> None:
    remedy = diagnose(137, "OOMKilled", ["RuntimeError: DataLoader worker (pid 93) is killed by signal: Bus error."])
    assert remedy is not None
    assert remedy.startswith(MEMORY)


CAUSES_AND_ECHOES = {
    "a module that is missing, and torchrun's report": (
        "ModuleNotFoundError: No module named 'peft'\n  exitcode  : 1 (pid: 8)\nSignal 15 (SIGTERM) received by PID 9",
        "peft",
    ),
    "a memory that is full, and a peer that is lost": (
        "ncclRemoteError: remote process exiting prematurely\nCUDA out of memory. Tried to allocate 2 GiB",
        "GPU's memory",
    ),
    "shared memory before the disk": (
        "OSError: [Errno 28] No space left on device\nOSError: [Errno 28] No space left on device: '/dev/shm/x'",
        SHARED_MEMORY,
    ),
    "a host key, and mpirun's report": (
        "Host key verification failed.\nORTE was unable to reliably start one or more daemons.",
        "StrictHostKeyChecking",
    ),
}


@pytest.mark.parametrize(("log", "words"), CAUSES_AND_ECHOES.values(), ids=CAUSES_AND_ECHOES)
def test_the_cause_is_told_and_not_its_echo(log: str, words: str) -> None:
    assert words in (diagnose(1, "Error", log.splitlines()) or "")


INNOCENT = {
    "nothing": "",
    "training": "epoch 1/3 loss 0.512 accuracy 0.87\nepoch 2/3 loss 0.401 accuracy 0.90",
    "an error of the script": "Traceback (most recent call last):\nValueError: shapes (3,4) and (5,6) are not aligned",
    "torchrun": "W0312 09:00:01 torch/distributed/run.py:757] Setting OMP_NUM_THREADS environment variable to be 1",
    "torch waits": "[W socket.cpp:663] [c10d] The client socket has failed to connect to (node-0, 29500) (errno: 111).",
    "torch without IPv6": (
        "[W503 01:52:07.597517393 socket.cpp:204] [c10d] The IPv6 network addresses of (node-0, 29500) cannot be "
        "retrieved (gai error: -2 - Name or service not known)."
    ),
    "NCCL's chatter": "node-0:41:41 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.2<0>\nNCCL INFO unhandled system error",
    "a warning": "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 11040).",
    "an option that is not there": "INFO: xformers is not used: No module named 'xformers'",
    "a download that is tried again": "Retrying (Retry(total=4)) after: Failed to resolve 'huggingface.co'",
    "a word": "using shared memory for 4 workers; memory is fine; no space between tokens; wrote /dev/shm/cache",
    "another 401": "wandb: ERROR HTTP 401 Client Error: Unauthorized for url: https://api.wandb.ai/graphql",
    "found": "the tokenizer was found: not found: 3 words",
}


@pytest.mark.parametrize("log", INNOCENT.values(), ids=INNOCENT)
def test_innocent_logs_tell_nothing(log: str) -> None:
    assert diagnose(1, "Error", log.splitlines()) is None


@pytest.mark.parametrize("reason", ["ContainerLost", "Disrupted"])
def test_an_end_from_outside_needs_no_remedy(reason: str) -> None:
    assert diagnose(137, reason, ["MemoryError"]) is None


def test_a_node_that_did_its_work_needs_no_remedy() -> None:
    assert diagnose(0, "Completed", ["CUDA out of memory, trying smaller batches"]) is None


def test_only_the_last_lines_are_read() -> None:
    assert diagnose(1, "Error", ["MemoryError", *["fine"] * 200]) is None
    assert diagnose(1, "Error", ["x" * 500 + " MemoryError"]) is None


def test_a_name_from_a_log_cannot_break_the_remedy() -> None:
    remedy = diagnose(2, "Error", [f"t.py: error: unrecognized arguments: --a\x07\x9b31m{'x' * 500} {{name}}"])
    assert remedy is not None
    assert remedy.isprintable()
    assert len(remedy) < 300


FRAGMENTS = sorted({word for row in _ROWS for word in row.pattern.replace("\\", "").split("|")})


@given(
    st.integers(-300, 300),
    st.sampled_from(["Error", "OOMKilled", "Evicted", "Completed", "StartError", "ContainerLost", ""]),
    st.lists(st.one_of(st.text(), st.sampled_from(FRAGMENTS), st.lists(st.sampled_from(FRAGMENTS)).map(" ".join))),
)
def test_no_log_breaks_it(exit_code: int, reason: str, log: list[str]) -> None:
    remedy = diagnose(exit_code, reason, log)
    assert remedy is None or (remedy.isprintable() and remedy)


@pytest.mark.parametrize(
    "unit",
    ["/torch_", "shared memory ", "lib.so", "gloo ", "a/b ", ": ", "FileNotFoundError: ", "DataLoader worker ", "x"],
)
def test_long_lines_take_no_longer(unit: str) -> None:
    start = time.process_time()
    assert diagnose(1, "Error", [unit * 200_000] * 300) is None
    assert time.process_time() - start < 3
