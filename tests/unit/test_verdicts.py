"""Verdicts as lines for people, in colour or not, and as GitHub's workflow commands."""

import pytest

from trainlet.admission.admit import Admitted
from trainlet.cli.inputs import Input
from trainlet.cli.reading import Verdict
from trainlet.cli.verdicts import (
    COLORFUL,
    PLAIN,
    Palette,
    choose_palette,
    render_refusals,
    render_verdict,
    write_annotations,
)
from trainlet.documents.parse import Document, parse_documents
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import ObjectKey

TEXT = b"kind: TrainJob\nspec:\n  x: 1\n"
KEY = ObjectKey("TrainJob", "default", "mnist")
UNKNOWN = FieldError("spec.x", "Unknown field", "", line=3, column=3)


def refuse(*errors: FieldError, name: str = "a.yaml", remedy: str = "") -> Verdict:
    return Verdict(Input(name, TEXT), get_document(), errors=errors, remedy=remedy)


def accept(*warnings: str, name: str = "a.yaml") -> Verdict:
    return Verdict(Input(name, TEXT), get_document(), KEY, Admitted(KEY, {}, warnings))


def get_document() -> Document:
    [document] = parse_documents(TEXT)
    return document


def test_without_colour_there_is_no_escape() -> None:
    assert render_verdict(refuse(UNKNOWN)) == ["a.yaml:3:3: spec.x: Unknown field", "      x: 1", "      ^"]
    assert render_verdict(accept("w")) == [f"a.yaml: {KEY} accepted", "a.yaml:1:1: warning: w"]


def test_each_part_has_its_colour() -> None:
    palette = Palette("1", "2", "3", "4", "5")
    error = FieldError("spec.x", "Required value", "say it", line=3, column=3)
    assert render_verdict(refuse(error, remedy="do this"), palette) == [
        "\x1b[1ma.yaml:3:3:\x1b[0m \x1b[2mspec.x: Required value\x1b[0m: say it",
        "      x: 1",
        "      \x1b[4m^\x1b[0m",
        "\x1b[5mhint:\x1b[0m do this",
    ]
    assert render_verdict(accept("w"), palette) == [
        f"\x1b[1ma.yaml:\x1b[0m {KEY} accepted",
        "\x1b[1ma.yaml:1:1:\x1b[0m \x1b[3mwarning:\x1b[0m w",
    ]


def test_an_error_about_a_whole_document_is_painted_as_a_whole() -> None:
    error = FieldError("", "Invalid value", "not YAML: a: b", line=1, column=1)
    assert render_verdict(refuse(error), Palette(error="31"))[0] == "a.yaml:1:1: \x1b[31mnot YAML: a: b\x1b[0m"


def test_a_hint_comes_once_after_all_errors() -> None:
    lines = render_verdict(refuse(UNKNOWN, UNKNOWN, remedy="delete it"))
    assert lines[6:] == ["hint: delete it"]
    assert render_refusals([accept(), refuse(UNKNOWN, UNKNOWN, remedy="delete it")]) == lines


@pytest.mark.parametrize(
    ("wish", "environ", "is_terminal", "palette"),
    [
        ("auto", {}, True, COLORFUL),
        ("auto", {"TERM": "xterm", "NO_COLOR": ""}, True, COLORFUL),
        ("auto", {}, False, PLAIN),
        ("auto", {"NO_COLOR": "1"}, True, PLAIN),
        ("auto", {"TERM": "dumb"}, True, PLAIN),
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, COLORFUL),
        ("never", {}, True, PLAIN),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    wish: str, environ: dict[str, str], is_terminal: bool, palette: Palette
) -> None:
    assert choose_palette(wish, environ, is_terminal=is_terminal) == palette


@pytest.mark.parametrize(
    ("verdict", "command"),
    [
        (refuse(UNKNOWN), "::error file=a.yaml,line=3,col=3,title=Unknown field::spec.x: Unknown field"),
        (refuse(UNKNOWN, name="-"), "::error file=-,line=3,col=3,title=Unknown field::spec.x: Unknown field"),
        (
            refuse(UNKNOWN, name="a,b:100%\r\n.yaml"),
            "::error file=a%2Cb%3A100%25%0D%0A.yaml,line=3,col=3,title=Unknown field::spec.x: Unknown field",
        ),
        (
            refuse(FieldError("", "Invalid value", "50%, a: b\r\nc", line=2, column=1)),
            "::error file=a.yaml,line=2,col=1,title=Invalid value::50%25, a: b%0D%0Ac",
        ),
        (
            refuse(FieldError("", "Invalid value", "nowhere")),
            "::error file=a.yaml,line=1,col=1,title=Invalid value::nowhere",
        ),
        (accept("old: use b"), "::warning file=a.yaml,line=1,col=1::old: use b"),
    ],
)
def test_a_line_is_marked_by_a_workflow_command(verdict: Verdict, command: str) -> None:
    assert write_annotations(verdict) == [command]


def test_there_is_a_command_for_each_error_and_warning_and_none_for_the_rest() -> None:
    assert len(write_annotations(refuse(UNKNOWN, UNKNOWN))) == 2
    assert len(write_annotations(accept("a", "b"))) == 2
    assert write_annotations(accept()) == []
