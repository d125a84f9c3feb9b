"""The rules of the house that a machine can check: where things lie, how large they grow, what they may touch."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPERATOR = ROOT / "operator"
MODULES = sorted(path for path in OPERATOR.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
BY_MODULE = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(OPERATOR)))

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 50
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the root of the checkout, as a developer does."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def list_functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def list_public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """Yield what others may use of a module: its public classes and functions, and the public methods of those."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            inner = node.body if isinstance(node, ast.ClassDef) else []
            yield from (each for each in inner if isinstance(each, Function) and not each.name.startswith("_"))


# Where things lie


def test_the_source_root_does_not_hide_the_standard_library() -> None:
    assert not (OPERATOR / "__init__.py").exists()
    result = run("-c", "import operator; print(operator.add(1, 2), operator.__name__)")
    assert (result.stdout, result.stderr) == ("3 operator\n", "")


def test_pytest_starts_in_the_root() -> None:
    result = run("-m", "pytest", "--version")
    assert (result.returncode, result.stdout.split()[:1]) == (0, ["pytest"]), result.stderr


def test_imports_go_downward_only() -> None:
    result = run("-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))")
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


def test_no_module_is_called_after_nothing() -> None:
    assert [
        path for path in MODULES if path.stem in NAMES_THAT_SAY_NOTHING or path.parent.name in NAMES_THAT_SAY_NOTHING
    ] == []


# How large things grow, and what they say of themselves


@BY_MODULE
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE
    assert ast.get_docstring(TREES[path]) or not text.strip(), "it has no docstring"


@BY_MODULE
def test_functions_fit_a_screen(path: Path) -> None:
    sizes = {each.name: (each.end_lineno or 0) - each.lineno + 1 for each in list_functions(TREES[path])}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES_OF_A_FUNCTION} == {}


@BY_MODULE
def test_what_is_public_has_a_docstring(path: Path) -> None:
    silent = [each.name for each in list_public(TREES[path]) if not ast.get_docstring(each)]
    # An override says what its parent's docstring says.
    overrides = {each.name for each in list_public(TREES[path]) if isinstance(each, Function)} & INHERITED
    assert [name for name in silent if name not in overrides] == []


#: Methods that a base class of ours or of a library documents.
INHERITED = {"target", "connect", "error", "format", "iter_errors", "ignore_aliases"}


@BY_MODULE
def test_nothing_is_left_for_later(path: Path) -> None:
    found = re.findall(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text(encoding="utf-8"))
    assert found == []


# What things may touch


#: Who else may look at the environment, and why.
READERS = {
    "trainlet/settings.py": "it is its job",
    "trainlet/demo/train_digits.py": "a program of its own, which runs in a node and is told its rank there",
    "trainlet/engine/process_table.py": "it hands its own environment on to ps",
}


@BY_MODULE
def test_only_settings_read_the_environment(path: Path) -> None:
    readers = [
        node.lineno
        for node in ast.walk(TREES[path])
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv") and _is_os(node.value))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and any("env" in n.name for n in node.names))
    ]
    assert bool(readers) == (str(path.relative_to(OPERATOR)) in READERS), readers


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"


@BY_MODULE
def test_the_project_speaks_of_itself_only(path: Path) -> None:
    found = re.findall(r"/work/|issue #\d+|issue \d+", path.read_text(encoding="utf-8"))
    assert found == []
