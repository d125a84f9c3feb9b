"""Commands in the pod that the argument names, by the official client."""

import sys

from kubernetes import client, config
from kubernetes.stream import stream

config.load_kube_config()
core = client.CoreV1Api()
pod = sys.argv[1]

said = stream(
    core.connect_get_namespaced_pod_exec,
    pod,
    "default",
    command=["sh", "-c", "echo out; echo err >&2"],
    stdout=True,
    stderr=True,
)
assert sorted(said.split()) == ["err", "out"], said

talk = stream(
    core.connect_get_namespaced_pod_exec,
    pod,
    "default",
    command=["sh", "-c", "read word; echo got $word; exit 3"],
    stdout=True,
    stdin=True,
    _preload_content=False,
)
talk.write_stdin("hello\n")
talk.run_forever(timeout=30)
assert (talk.read_stdout(), talk.returncode) == ("got hello\n", 3)
talk.close()

lines = core.read_namespaced_pod_log(pod, "default", container="node").splitlines()
assert lines == ["hello from 0"], lines
