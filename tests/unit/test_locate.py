"""Errors find their place in the text."""

import pytest

from trainlet.documents.locate import locate, write_errors
from trainlet.documents.parse import parse_documents
from trainlet.kube.errors import FieldError

TEXT = b"""\
kind: TrainJob
metadata:
  labels: {app.kubernetes.io/name: x}
spec:
  trainer:
    env:
    - name: A
    - name: B
      value: 1
    resourcesPerNode: {limits: {nvidia.com/gpu: many}}
data: {a: x, a.b: y, "0": z, c.d: {e: w}}
"""

PLACES = {
    "spec.trainer.env[1].value": (9, 14),
    "spec.trainer.env[0]": (7, 7),
    "spec.trainer.env[5].name": (7, 5),
    "spec.trainer.numNodes": (6, 5),
    "spec.nothing.at.all": (5, 3),
    "metadata.name": (3, 3),
    "spec.RuntimeRef": (5, 3),
    "spec.trainer.resourcesPerNode.limits[nvidia.com/gpu]": (10, 49),
    "metadata.labels[app.kubernetes.io/name]": (3, 36),
    "data.a.b": (11, 19),
    "data[a.b]": (11, 19),
    "data.a": (11, 11),
    "data[0]": (11, 27),
    "data.c.d.e": (11, 39),
    "data.c": (11, 7),
    "status": (1, 1),
    "": (1, 1),
    "<nil>": (1, 1),
}


@pytest.mark.parametrize(("path", "place"), PLACES.items(), ids=[path or "the document" for path in PLACES])
def test_an_error_is_where_its_field_or_its_nearest_parent_is(path: str, place: tuple[int, int]) -> None:
    [document] = parse_documents(TEXT)
    [error] = locate([FieldError(path, "Invalid value", "no")], document)
    assert (error.line, error.column) == place
    assert (error.path, error.detail) == (path, "no")


def test_the_written_form_has_all_its_fields_in_order() -> None:
    error = FieldError("spec.x", "Required value", "give it", None, stage="schema", line=3, column=4)
    assert write_errors([error]) == [
        {
            "stage": "schema",
            "path": "spec.x",
            "type": "Required value",
            "value": None,
            "detail": "give it",
            "line": 3,
            "column": 4,
        }
    ]
    assert list(write_errors([error])[0]) == ["stage", "path", "type", "value", "detail", "line", "column"]
