"""The image of the container that holds the namespaces which the containers of one pod share.

It has one program that does nothing until it is killed. As no registry may be at hand, it is made here: a few machine
instructions in the smallest of executables.
"""

import io
import struct
import tarfile
from collections.abc import Iterator

from trainlet.kube.errors import EngineError

IMAGE = "localhost/trainlet-sandbox:1"
PROGRAM = "pause"

_ADDRESS = 0x400000
_ELF_HEADER, _PROGRAM_HEADER = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
_EXECUTABLE, _LOADED, _READ_AND_RUN = 2, 1, 5
_IDENTITY = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")

#: By architecture: the machine's number in an ELF header, and code that waits for a signal for ever.
_MACHINES = {
    # mov eax, 34 (pause); syscall; jmp to the beginning
    "amd64": (62, bytes.fromhex("b822000000 0f05 ebf7")),
    # x0 to x3 = 0; x8 = 73 (ppoll); svc 0; b to the beginning
    "arm64": (183, bytes.fromhex("000080d2 010080d2 020080d2 030080d2 280980d2 010000d4 faffff17")),
}


def build_image(architecture: str) -> Iterator[bytes]:
    """Yield the tar of the image's file system. Raises EngineError for a machine that is not known."""
    if architecture not in _MACHINES:
        what = f"pods of several containers cannot run on a machine of the kind {architecture or 'unknown'}"
        raise EngineError(what, remedy=f"use one of {', '.join(_MACHINES)}, or one container a pod")
    program, buffer = _build_program(*_MACHINES[architecture]), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(PROGRAM)
        entry.mode, entry.size = 0o755, len(program)
        tar.addfile(entry, io.BytesIO(program))
    yield buffer.getvalue()


def _build_program(machine: int, code: bytes) -> bytes:
    headers = _ELF_HEADER.size + _PROGRAM_HEADER.size
    size = headers + len(code)
    elf = _ELF_HEADER.pack(
        *(_IDENTITY, _EXECUTABLE, machine, 1, _ADDRESS + headers, _ELF_HEADER.size, 0, 0),
        *(_ELF_HEADER.size, _PROGRAM_HEADER.size, 1, 0, 0, 0),
    )
    segment = _PROGRAM_HEADER.pack(_LOADED, _READ_AND_RUN, 0, _ADDRESS, _ADDRESS, size, size, 0x1000)
    return elf + segment + code
