"""Edits of manifests: exactly the wanted bytes change, in every style that people write."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainlet.documents.edit import EditError, remove_document, rewrite_file, set_field, splice_block
from trainlet.documents.parse import parse_documents

BLOCK = """\
# My job.
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob   # the kind
spec:  # what I want
  # Which runtime.
  runtimeRef:
    name: torch-distributed
  suspend: false  # not yet
  # The end.
"""

SUSPEND = ("spec", "suspend")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (BLOCK, BLOCK.replace("suspend: false", "suspend: true")),
        (BLOCK.replace("\n", "\r\n"), BLOCK.replace("suspend: false", "suspend: true").replace("\n", "\r\n")),
        (
            BLOCK.replace("  suspend: false  # not yet\n", ""),
            BLOCK.replace("  suspend: false  # not yet\n", "").replace("  # Which", "  suspend: true\n  # Which"),
        ),
        ("spec:\n  suspend:   # soon\n  a: 1\n", "spec:\n  suspend: true   # soon\n  a: 1\n"),
        ("spec:\n  suspend: 'no'", "spec:\n  suspend: true"),
        ("spec:\n  suspend: !!bool 'no' # c", "spec:\n  suspend: true # c"),
        ("spec:\n  suspend: &s no # c\n", "spec:\n  suspend: true # c\n"),
        ("spec:\n  suspend: |\n    long\n    text\n\n  # c\n  b: 1\n", "spec:\n  suspend: true\n\n  # c\n  b: 1\n"),
        ("spec:  # empty\nkind: X\n", 'spec: {"suspend": true}  # empty\nkind: X\n'),
        ("spec: {}\n", 'spec: {"suspend": true}\n'),
        ("spec: {a: 1, suspend: off}  # c\n", "spec: {a: 1, suspend: true}  # c\n"),
        ("spec: {a: 1}\n", 'spec: {a: 1, "suspend": true}\n'),
        ("spec: {a: 1, suspend}\n", "spec: {a: 1, suspend: true}\n"),
        ("spec: {\n  a: 1,  # c\n}\n", 'spec: {\n  a: 1,\n  "suspend": true,  # c\n}\n'),
        ("kind: X", "kind: X\nspec:\n  suspend: true\n"),
        ("kind: X\n# c\n", "kind: X\n# c\nspec:\n  suspend: true\n"),
        ("  kind: X\n", "  kind: X\n  spec:\n    suspend: true\n"),
        ('{"spec":{"a":1}}', '{"spec":{"a":1, "suspend": true}}'),
        ('{"spec":{"suspend":false}}', '{"spec":{"suspend":true}}'),
        ('{\n  "spec": {\n\t"a": 1\n  }\n}\n', '{\n  "spec": {\n\t"a": 1,\n\t"suspend": true\n  }\n}\n'),
        ("spec: &s\n  &k a: 1\n", "spec: &s\n  suspend: true\n  &k a: 1\n"),
        ("x: &x {suspend: no}\nspec:\n  <<: *x\n", "x: &x {suspend: no}\nspec:\n  suspend: true\n  <<: *x\n"),
    ],
)
def test_one_field_is_set_and_nothing_else(old: str, new: str) -> None:
    assert set_field(old, 0, SUSPEND, True) == new


@pytest.mark.parametrize(
    ("path", "value", "new"),
    [
        (("items", 1, "name"), "b: #", 'items:\n- name: a\n- name: "b: #"\n'),
        (("items", 0, "size"), 3, "items:\n- size: 3\n  name: a\n- name: c\n"),
        (("items", 0, "name"), None, "items:\n- name: null\n- name: c\n"),
        (("items", 0, "name"), "\u2028\x85é😀", 'items:\n- name: "\\u2028\\u0085é😀"\n- name: c\n'),
        (("on",), 1.5, 'items:\n- name: a\n- name: c\n"on": 1.5\n'),
    ],
)
def test_paths_lead_through_lists_and_values_are_written_so_that_they_are_read_again(
    path: tuple[str | int, ...], value: Any, new: str
) -> None:
    assert set_field("items:\n- name: a\n- name: c\n", 0, path, value) == new


@pytest.mark.parametrize(
    "text",
    [
        "spec: &s {suspend: no}\nother: *s\n",
        "spec: *s\n",
        "spec: text\n",
        "spec: [1]\n",
        "? spec\n: ? a\n  : 1\n",
        "- spec\n",
    ],
)
def test_what_cannot_be_edited_without_damage_is_refused(text: str) -> None:
    text = text if "*s" not in text or "&s" in text else f"other: &s {{a: 1}}\n{text}"
    with pytest.raises(EditError, match=r"edit|place|way"):
        set_field(text, 0, SUSPEND, True)


def test_only_the_document_that_was_named_changes() -> None:
    text = f"{BLOCK}---\n{BLOCK}--- # third\n{BLOCK}"
    changed = f"{BLOCK}---\n{BLOCK.replace('suspend: false', 'suspend: true')}--- # third\n{BLOCK}"
    assert set_field(text, 1, SUSPEND, True) == changed
    with pytest.raises(EditError, match="no document 4"):
        set_field(text, 3, SUSPEND, True)


@pytest.mark.parametrize(
    ("text", "index", "left"),
    [
        ("# a\na: 1\n---\n# b\nb: 2\n---\nc: 3\n", 0, "---\n# b\nb: 2\n---\nc: 3\n"),
        ("# a\na: 1\n---\n# b\nb: 2\n---\nc: 3\n", 1, "# a\na: 1\n---\nc: 3\n"),
        ("# a\na: 1\n---\n# b\nb: 2\n---\nc: 3\n", 2, "# a\na: 1\n---\n# b\nb: 2\n"),
        ("---\n---\na: 1\n", 1, "---\n"),
        ("a: 1\r\n--- {b: 2}\r\n", 0, "--- {b: 2}\r\n"),
        ("%YAML 1.1\n---\na: 1\n...\n%YAML 1.1\n---\nb: 2\n", 0, "%YAML 1.1\n---\nb: 2\n"),
        ("a: |\n  ---\n  x\n---\nb: 2", 1, "a: |\n  ---\n  x\n"),
        ("a: 1", 0, ""),
    ],
)
def test_a_document_goes_with_its_comments(text: str, index: int, left: str) -> None:
    assert remove_document(text, index) == left


STATUS = {"conditions": [{"type": "Complete", "message": "all: done"}], "jobsStatus": []}
STATUS_BLOCK = """\
status:
  conditions:
  - type: Complete
    message: 'all: done'
  jobsStatus: []"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: X", f"kind: X\n{STATUS_BLOCK}\n"),
        ("kind: X\n# end\n---\nb: 1\n", f"kind: X\n# end\n{STATUS_BLOCK}\n---\nb: 1\n"),
        ("kind: X\n...\n", f"kind: X\n{STATUS_BLOCK}\n...\n"),
        ("status: {}  # c\nkind: X\n", f"{STATUS_BLOCK}  # c\nkind: X\n"),
        ("status:\nkind: X\n", f"{STATUS_BLOCK}\nkind: X\n"),
        ("kind: X\nstatus:\n  a:\n  - b: 1\n\n# end\nz: 1\n", f"kind: X\n{STATUS_BLOCK}\n\n# end\nz: 1\n"),
        ("kind: X\nstatus:\n  a: |\n    long\n\n\n# end\n", f"kind: X\n{STATUS_BLOCK}\n\n\n# end\n"),
        ('{"kind":"X"}', f'{{"kind":"X", "status": {json.dumps(STATUS)}}}'),
    ],
)
def test_a_block_is_spliced_in(old: str, new: str) -> None:
    assert splice_block(old, 0, "status", STATUS) == new
    assert splice_block(new, 0, "status", STATUS) == new


def test_a_block_is_spliced_into_json_and_crlf_in_their_own_style() -> None:
    pretty = json.dumps({"kind": "X", "spec": {"a": 1}}, indent=2)
    assert splice_block(pretty, 0, "status", STATUS) == json.dumps(
        {"kind": "X", "spec": {"a": 1}, "status": STATUS}, indent=2
    )
    crlf = splice_block("kind: X\r\n", 0, "status", STATUS)
    assert crlf == f"kind: X\n{STATUS_BLOCK}\n".replace("\n", "\r\n")


def test_a_file_keeps_its_mode_its_mark_and_its_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.yaml", tmp_path / "link.yaml"
    target.write_bytes(b"\xef\xbb\xbfspec: {}\r\n")
    target.chmod(0o640)
    link.symlink_to(target)
    rewrite_file(link, lambda text: set_field(text, 0, SUSPEND, True))
    assert link.is_symlink()
    assert target.read_bytes() == b'\xef\xbb\xbfspec: {"suspend": true}\r\n'
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["link.yaml", "target.yaml"]


def test_a_file_is_not_touched_when_the_edit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("spec: text\n")
    before = path.stat()
    with pytest.raises(EditError):
        rewrite_file(path, lambda text: set_field(text, 0, SUSPEND, True))
    rewrite_file(path, lambda text: text)
    assert path.stat().st_ino == before.st_ino
    assert parse_documents(path.read_bytes())[0].value == {"spec": "text"}
    assert list(tmp_path.iterdir()) == [path]
