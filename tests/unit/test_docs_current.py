"""The generated reference pages say what the tables say."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tierline.model.functions import FUNCTIONS
from tierline.model.points import POINTS

TOOL = Path(__file__).parents[2] / "tools" / "make_docs.py"


@pytest.fixture(scope="module")
def make_docs():
    spec = importlib.util.spec_from_file_location("make_docs", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_generated_page_is_current():
    done = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_drifts_is_reported_and_not_written(make_docs, tmp_path, monkeypatch, capsys):
    page = tmp_path / "functions.md"
    page.write_text("old")
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "pages", lambda: {page: "new"})
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 1
    assert "not current: functions.md" in capsys.readouterr().out
    assert page.read_text() == "old"


def test_a_page_that_drifted_is_written(make_docs, tmp_path, monkeypatch):
    page = tmp_path / "reference" / "functions.md"
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "pages", lambda: {page: "new"})
    monkeypatch.setattr(sys, "argv", ["make_docs.py"])
    assert make_docs.main() == 0
    assert page.read_text() == "new"


def test_the_support_table_stands_between_its_markers_in_the_readme(make_docs, tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text(f"before\n{make_docs.BEGIN}\nold\n{make_docs.END}\nafter\n")
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    readme = make_docs.pages()[tmp_path / "README.md"]
    assert readme.startswith(f"before\n{make_docs.BEGIN}\n\n| function |")
    assert readme.endswith(f"{make_docs.END}\nafter\n")
    assert "old" not in readme


def test_a_protocol_that_is_not_there_is_left_out(make_docs, monkeypatch):
    monkeypatch.setattr(make_docs, "SOURCES", (("Smoke signals", "tierline.protocols.smoke.mapping", make_docs.named),))
    assert make_docs.mappings() == {}


def test_every_name_in_a_mapping_is_a_row(make_docs):
    strangers = {
        f"{protocol}: {name}"
        for protocol, names in make_docs.mappings().items()
        for name in names
        if name not in FUNCTIONS and name not in POINTS
    }
    assert strangers == set()


def test_every_function_and_point_stands_in_its_page(make_docs):
    assert all(f"| `{name}` |" in make_docs.functions_page() for name in FUNCTIONS)
    assert all(f"| `{name}` |" in make_docs.points_page() for name in POINTS)
