"""Commands in the pod that the argument names, by kr8s: it waits for the pod to be ready first."""

import sys

from kr8s.objects import Pod

pod = Pod.get(sys.argv[1])
done = pod.exec(["sh", "-c", "echo out; echo err >&2"])
assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 0), done
done = pod.exec(["sh", "-c", "exit 5"], check=False)
assert done.returncode == 5, done
assert list(pod.logs()) == ["hello from 0"]
