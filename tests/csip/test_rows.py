"""Every test of this folder names its row and says what it stands on; every row has a test or a reason."""

import ast
import re
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.csip

HERE = Path(__file__).parent
ROWS = runpy.run_path(str(HERE / "rows.py"))["ROWS"]
NAME = re.compile(r"test_(comm|core|basic|agg|util|maint|err)_(\d{3})_(?:([a-g])_)?(server|der|agg)_\w+")
OURS = {"test_bench.py", "test_rows.py"}


def row_tests():
    return [
        (path.name, node)
        for path in sorted(HERE.glob("test_*.py"))
        if path.name not in OURS
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_")
    ]


@pytest.mark.parametrize(("file", "node"), row_tests(), ids=lambda value: getattr(value, "name", ""))
def test_a_row_is_named_and_stands_on_a_clause(file, node):
    match = NAME.fullmatch(node.name)
    assert match, f"{file}::{node.name} names no row and side"
    row = f"{match[1].upper()}-{match[2]}"
    assert [one for one in ROWS if one[0].split()[0] == row], row
    said = ast.get_docstring(node) or ""
    assert re.search(r"Required:|Requirement|requirement", said), "it does not say what is required"
    assert re.search(r"Clause: .*(CSIP 2\.1|IEEE 2030\.5)", said, re.DOTALL), "it does not say what it stands on"


def test_every_row_is_there_once():
    ids = [row[0] for row in ROWS]
    assert len(ids) == len(set(ids))
    assert ids.index("COMM-001") == 0


def test_a_row_with_a_reason_for_having_no_test_has_none():
    held = {f"{m[1].upper()}-{m[2]}" for _, node in row_tests() if (m := NAME.fullmatch(node.name))}
    assert [row[0] for row in ROWS if row[4] and row[0] in held] == []
