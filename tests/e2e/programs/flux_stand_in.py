#!/usr/bin/env python3
"""Stands in for Flux: brokers meet at the leader by their common configuration, and the leader runs the command."""

import hashlib
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path


def read_config(words):
    """Return where the leader is, and a digest of what all brokers must have in common."""
    config = tomllib.loads(Path(words[words.index("--config") + 1], "broker.toml").read_text())["bootstrap"]
    leader = config["hosts"][0]["host"].partition("[")[0] + "0"
    host = config["default_connect"].removeprefix("tcp://").rpartition(":")[0].replace("%h", leader)
    certificate = Path(config["curve_cert"]).read_bytes()
    return host, config["default_port"], hashlib.sha256(certificate).hexdigest().encode()


def lead(port, digest, brokers, command):
    """Wait for the other brokers, run the command, and let them go."""
    with socket.create_server(("", port)) as server:
        others = [server.accept()[0] for _ in range(brokers - 1)]
        for other in others:
            assert other.recv(64, socket.MSG_WAITALL) == digest, "a broker with another certificate"
        print(f"{brokers} brokers have met", flush=True)
        code = subprocess.run(command, check=False).returncode
        for other in others:
            other.sendall(b"done")
    return code


def join(host, port, digest):
    """Join the leader and wait until its command has ended."""
    for _ in range(300):
        try:
            with socket.create_connection((host, port)) as leader:
                leader.sendall(digest)
                return 0 if leader.recv(4, socket.MSG_WAITALL) == b"done" else 1
        except OSError:
            time.sleep(0.1)
    return 1


def main(words):
    """Do what the entrypoint of the policy asks of Flux."""
    if words[:2] == ["R", "encode"]:
        print(" ".join(words[2:]))
        return 0
    host, port, digest = read_config(words)
    if "run" not in words:
        return join(host, port, digest)
    run = words[words.index("run") + 1 :]
    return lead(port, digest, int(run[run.index("-N") + 1]), run[4:])


sys.exit(main(sys.argv[1:]))
