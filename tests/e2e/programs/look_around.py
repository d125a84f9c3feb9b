"""Tells as one line of JSON what a container sees: its environment, its volumes, the containers beside it."""

import json
import os
import socket
import stat
import time
import urllib.request
from pathlib import Path


def read(path):
    """Return a file's text, mode and group."""
    status = Path(path).stat()
    return {"text": Path(path).read_text(), "mode": oct(stat.S_IMODE(status.st_mode)), "group": status.st_gid}


def fetch(url):
    """Return what the container beside serves, which may just have begun."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(url) as response:
                return response.read().decode()
        except OSError:
            time.sleep(0.1)
    return None


def read_limit(*names):
    """Return the first of these files of the container's own control group."""
    paths = (Path("/sys/fs/cgroup", name) for name in names)
    return next((path.read_text().strip() for path in paths if path.exists()), None)


def main():
    """Look, tell, and let the other container of the pod go on."""
    seen = {
        "env": {name: os.environ.get(name) for name in os.environ["LOOK_AT"].split()},
        "served": fetch("http://127.0.0.1:8000/prepared"),
        "files": {path: read(path) for path in os.environ["READ"].split()},
        "parts": {path.name: sorted(file.name for file in path.iterdir()) for path in Path("/parts").iterdir()},
        "limit": read_limit("memory.max", "memory/memory.limit_in_bytes"),
        "memory": {key: getattr(os.statvfs("/memory"), key) for key in ("f_blocks", "f_frsize")},
        "hostname": socket.gethostname(),
        "address": socket.gethostbyname(socket.gethostname()),
        "alias": socket.gethostbyname("data.example"),
        "groups": os.getgroups(),
        "volumes": {path: Path(path).stat().st_gid for path in ("/data", "/memory", "/parts/a", "/data/prepared")},
    }
    print("SEEN " + json.dumps(seen), flush=True)
    Path("/dev/shm/hello").write_text("hello in shared memory\n")
    Path("/memory/hello").write_text("hello in a volume\n")


main()
