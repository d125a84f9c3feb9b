"""A command in the pod that the argument names, by lightkube: it always asks for an input, and offers two protocols."""

import sys

from lightkube import Client

client, pod = Client(), sys.argv[1]
assert list(client.log(pod, namespace="default")) == ["hello from 0\n"]
# One is all: when it has closed its WebSocket, its own reading thread may still take what the next connection gets.
script = ["sh", "-c", "head -c 5; echo err >&2; exit 5"]
done = client.exec(pod, namespace="default", command=script, stdin="hello world", stdout=True, stderr=True)
assert (done.stdout, done.stderr, done.exit_code) == ("hello", "err\n", 5), done
