"""The sandbox image: one small program, for the machines that are known."""

import io
import struct
import tarfile

import pytest

from trainlet.engine.sandbox import build_image
from trainlet.kube.errors import EngineError


def read_program(architecture: str) -> bytes:
    """Return the image's one file."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(build_image(architecture)))) as tar:
        [entry] = tar.getmembers()
        assert (entry.name, entry.mode) == ("pause", 0o755)
        file = tar.extractfile(entry)
        assert file is not None
        return file.read()


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_it_holds_an_executable_of_the_machine(architecture: str, machine: int) -> None:
    program = read_program(architecture)
    assert program[:6] == b"\x7fELF\x02\x01"
    kind, found, _, entry, first, *_ = struct.unpack_from("<HHIQQQI6H", program, 16)
    assert (kind, found, first) == (2, machine, 64)
    loaded, flags, offset, address, _, size, in_memory, _ = struct.unpack_from("<IIQQQQQQ", program, first)
    assert (loaded, flags, offset, size, in_memory) == (1, 5, 0, len(program), len(program))
    assert entry - address == 64 + 56, "the code follows the headers"
    assert len(program) < 256


def test_the_code_for_arm_says_what_it_should() -> None:
    words = struct.unpack("<7I", read_program("arm64")[120:])
    moves = [0xD2800000 | register for register in range(4)]  # mov xN, 0
    ppoll, call, back = 0xD2800000 | 73 << 5 | 8, 0xD4000001, 0x14000000 | (-6 & 0x3FFFFFF)
    assert words == (*moves, ppoll, call, back)


def test_a_machine_that_is_not_known_is_told() -> None:
    with pytest.raises(EngineError, match="several containers cannot run on a machine of the kind riscv64"):
        next(build_image("riscv64"))
