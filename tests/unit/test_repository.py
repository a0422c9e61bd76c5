"""What holds of the repository as a whole: licences, locks, reasons, links, and that it says nothing of where it was made."""

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tierline.node.config import parse_config
from tierline.scenario.script import parse_script

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DATA = ROOT / "src" / "tierline" / "scenario" / "data"
MOST_DEPENDENCIES = 14

FORBIDDEN = (
    # split, so that this file does not find itself
    (r"(?<![\w.])/wor" + r"k/", "a path of the machine it was written on"),
    (r"(?<![\w.-])/ho" + r"me/\w", "a path of a machine"),
    (r"\bshare" + r"d/", "a folder outside the repository"),
    (r"\bBRIE" + r"F\.md", "a file outside the repository"),
    (r"\bissu" + r"e #?\d", "an issue nobody can look up"),
    (r"\brequirement" + r"s \d+\.\d", "a document outside the repository"),
    (r"\b(?:EVT|ARC" + r"H)-\d", "a requirement of a document outside the repository"),
    (r"(?i)\bsub-?agen" + r"ts?\b", "who wrote it"),
    (r"(?i)\blanguage mode" + r"l", "who wrote it"),
)
"""What a stranger with this repository alone could not follow."""

OWN_DATA = {
    f"{name}.toml"
    for name in (
        "alone",
        "channels",
        "circuit",
        "demo",
        "dispatch",
        "five",
        "island",
        "loss",
        "oberrhein",
        "privacy",
        "switching",
        "volt_var",
    )
}
"""Written by us; all other data came from somewhere and are named in NOTICE."""


def tracked() -> list[Path]:
    """List the files of the repository, by git where there is git."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git working copy, so nothing tells which files belong to the repository")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def pages() -> list[Path]:
    """List the pages of documentation."""
    return [path for path in tracked() if path.suffix == ".md"]


def test_nothing_refers_to_what_is_not_in_the_repository():
    guilty = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        guilty += [
            f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r} is {what}"
            for pattern, what in FORBIDDEN
            for match in re.finditer(pattern, text)
        ]
    assert guilty == []


def test_no_schema_or_key_is_committed():
    assert [path.name for path in tracked() if path.suffix in {".xsd", ".key", ".pem", ".db", ".p12"}] == []


# Licences ----------------------------------------------------------------------------------------------------------------


def test_notice_names_every_data_file_that_others_made():
    notice = (ROOT / "NOTICE").read_text()
    foreign = [path for path in DATA.iterdir() if path.name not in OWN_DATA and not path.name.startswith("LICENSE")]
    assert [path.name for path in foreign if str(path.relative_to(ROOT)) not in notice] == []


def test_every_file_that_notice_names_exists():
    named = re.findall(r"\b(?:src|docs|tests)/[\w./-]+\w", (ROOT / "NOTICE").read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def requirements(lock: str) -> list[Requirement]:
    """Read the requirements of a lock file that apply here."""
    lines = (ROOT / "requirements" / lock).read_text().splitlines()
    found = [Requirement(line.rstrip(" \\")) for line in lines if re.match(r"[A-Za-z0-9]", line)]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


@pytest.mark.parametrize("requirement", requirements("run.lock"), ids=lambda requirement: requirement.name)
def test_what_is_installed_to_run_is_under_a_licence_that_allows_it(requirement):
    meta = importlib.metadata.metadata(requirement.name)
    said = [meta.get("License-Expression") or "", (meta.get("License") or "")[:200]]
    said += [line for line in meta.get_all("Classifier") or [] if line.startswith("License")]
    assert any(said), "it does not say under which licence it is"
    assert not re.search(r"(?<!L)(?<!Lesser )(?:A?GPL|General Public)", " ".join(said)), said


def test_the_base_install_has_few_direct_dependencies():
    assert len(PROJECT["project"]["dependencies"]) <= MOST_DEPENDENCIES


# Locks -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", ["run.lock", "test.lock"])
def test_every_locked_package_has_its_hashes(lock):
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / "requirements" / lock).read_text())[1:]
    assert blocks
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block or "==" not in block] == []


def test_the_run_lock_holds_what_the_project_asks_for():
    locked = {one.name.lower(): one for one in requirements("run.lock")}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        Requirement(line)
        for line in (*PROJECT["project"]["dependencies"], *(x for row in extras.values() for x in row))
    ]
    for one in wanted:
        if one.name != "tierline":
            version = str(next(iter(locked[one.name.lower()].specifier))).removeprefix("==")
            assert version in one.specifier, f"{one} is locked at {version}"


def test_both_locks_agree():
    test = {one.name: str(one.specifier) for one in requirements("test.lock")}
    assert [str(one) for one in requirements("run.lock") if test.get(one.name) != str(one.specifier)] == []


# Reasons -----------------------------------------------------------------------------------------------------------------


def test_every_rule_that_is_ignored_says_why():
    text = (ROOT / "pyproject.toml").read_text()
    body = re.search(r"(?ms)^\[tool\.ruff\.lint\]\n(.*?)^\[tool\.mypy\]", text)[1]
    lines = [
        line for line in body.splitlines() if re.match(r'\s+"[A-Z]+\d*",', line) or re.match(r'"[^"]+" = \[.*\]', line)
    ]
    assert len(lines) > 20, "the pattern no longer finds the ignores"
    assert [line for line in lines if not re.search(r"\]?,?\s+# [\w`]", line)] == []


def test_every_exception_from_the_types_says_why():
    """A `type: ignore` names its code and its reason."""
    ignore = re.compile(r"#\s*type: ignore(?!\[[a-z-]+(, [a-z-]+)*\]  # \w)")
    guilty = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if ignore.search(line)
    ]
    assert guilty == []


# Tests -------------------------------------------------------------------------------------------------------------------

TESTED_ELSEWHERE = {
    "__main__.py": "e2e/test_readme.py",  # every command of the README goes through it
    "ports.py": "unit/env",  # interfaces alone; what stands behind them is tested there
    "cli/app.py": "unit/cli/test_app.py",
    "cli/backup.py": "unit/cli/test_local.py",  # commands that speak to nobody
    "cli/cert.py": "unit/cli/test_local.py",
    "cli/function.py": "unit/cli/test_local.py",
    "cli/logs.py": "unit/cli/test_run.py",
    "cli/demo.py": "e2e/test_demo.py",
    "cli/scenario.py": "e2e/test_readme.py",
    "cli/": "unit/cli/test_operator.py",  # the other commands are shells over the client
    "client/": "unit/client/test_calls.py",  # the types of answers and the errors
    "console/api/": "unit/console/test_app.py",  # gate, faults and shapes are seen in the answers of the app
    "engine/following/link.py": "unit/engine/test_obey.py",  # parts of the machine
    "engine/following/writer.py": "unit/engine/test_obey.py",
    "engine/following/holding.py": "unit/engine/test_schedule.py",
    "engine/validity.py": "unit/engine/test_lifecycle.py",
    "engine/verdict.py": "unit/engine/test_access.py",
    "model/prices.py": "unit/protocols/sep2/test_mapping_tariffs.py",  # values that are made there
    "node/field_inverter.py": "unit/node/test_field.py",
    "node/health.py": "unit/console/test_app.py",  # its only reader
    "operations/serving/fleet_orders.py": "unit/operations/serving/test_fleet.py",
    "operations/serving/fleet_programs.py": "unit/operations/serving/test_fleet.py",
    "operations/serving/relief.py": "unit/operations/serving/test_limits.py",
    "protocols/sep2/answering.py": "unit/protocols/sep2/test_north.py",  # parts of what a link does
    "protocols/sep2/codec/": "unit/protocols/sep2/test_codec.py",
    "protocols/sep2/fleet_tree.py": "unit/protocols/sep2/test_fleet_north.py",
    "protocols/sep2/follow/enrol.py": "unit/protocols/sep2/test_fleet_north.py",
    "protocols/sep2/follow/fleet.py": "unit/protocols/sep2/test_fleet_north.py",
    "protocols/sep2/follow/hand_on.py": "unit/protocols/sep2/test_fleet_north.py",
    "protocols/sep2/follow/prices.py": "unit/protocols/sep2/test_tariffs.py",
    "protocols/sep2/follow/programs.py": "unit/protocols/sep2/test_walk.py",
    "protocols/sep2/follow/subscribe.py": "unit/protocols/sep2/test_subscriptions.py",
    "protocols/sep2/mirrors.py": "unit/protocols/sep2/test_server.py",
    "protocols/sep2/refusals.py": "unit/protocols/sep2/test_inbox.py",
    "protocols/sep2/resources/": "unit/protocols/sep2/test_resources.py",
    "protocols/sep2/transport/": "e2e/test_tls.py",  # needs sockets
    "protocols/sep2/wishes.py": "unit/protocols/sep2/test_inbox.py",
    "protocols/sep2/views/": "unit/protocols/sep2/test_views.py",  # seen in what the server answers
    "protocols/sunspec/orders.py": "unit/protocols/sunspec/test_south.py",
    "scenario/": "e2e/test_demo.py",  # needs processes
    "sim/": "unit/sim/test_world.py",  # what a world consists of
}
"""Modules (or folders, with a slash) without a test file of their own name, and where they are tested."""


def module_tests(module: Path) -> list[str]:
    """List the names that a test file of a module may have: inner folders may stand in its name, or be left out."""
    parts = module.with_suffix("").parts
    return [
        "/".join(["unit", *parts[:folder], f"test_{'_'.join(parts[first:])}.py"])
        for folder in range(len(parts))
        for first in range(folder, len(parts))
    ]


def test_every_module_has_tests_or_is_said_to_be_tested_elsewhere():
    source = ROOT / "src" / "tierline"
    modules = [path.relative_to(source) for path in sorted(source.rglob("*.py")) if path.name != "__init__.py"]
    untested = [
        str(module)
        for module in modules
        if "migrations" not in module.parts
        and not any((ROOT / "tests" / name).exists() for name in module_tests(module))
        and not any(str(module).startswith(entry) for entry in TESTED_ELSEWHERE)
    ]
    assert untested == []


def test_where_modules_are_said_to_be_tested_is_there():
    missing = {file for file in TESTED_ELSEWHERE.values() if not (ROOT / "tests" / file).exists()}
    gone = {entry for entry in TESTED_ELSEWHERE if not (ROOT / "src" / "tierline" / entry).exists()}
    assert (missing, gone) == (set(), set())


# Documentation -----------------------------------------------------------------------------------------------------------


def examples() -> list[tuple[str, str]]:
    """Find every TOML example of the documentation."""
    return [
        (f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}", match[1])
        for path in pages()
        for text in [path.read_text()]
        for match in re.finditer(r"(?ms)^```toml\n(.*?)^```", text)
    ]


def test_every_example_of_a_configuration_is_a_good_one():
    found = examples()
    assert found
    for where, text in found:
        if "[scenario]" in text:
            assert parse_script(text, where).scenario.about
        else:
            assert parse_config(text, Path(f"{where}.toml")).node.name


def test_every_link_between_pages_leads_somewhere():
    broken = []
    for path in pages():
        text = re.sub(r"(?ms)^```.*?^```", "", path.read_text())
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            there = (path.parent / file).resolve() if file else path
            if not there.exists() or (anchor and anchor not in anchors(there)):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """List the anchors that headings make."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_decision_is_in_the_list_of_decisions():
    folder = ROOT / "docs" / "decisions"
    there = {path.name for path in folder.glob("[0-9]*.md")}
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text())
    assert sorted(there) == sorted(listed)
    assert len({name[:4] for name in there}) == len(there), "two decisions have the same number"


def test_every_target_of_make_that_is_spoken_of_exists():
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    spoken = {
        (path.name, name)
        for path in pages()
        for name in re.findall(r"(?:`|^ {4}|^\$ )make ([a-z]+)", path.read_text(), re.MULTILINE)
    }
    assert spoken
    assert {(page, name) for page, name in spoken if name not in targets} == set()


def test_the_changelog_speaks_of_this_version():
    assert f"{PROJECT['project']['version']}" in (ROOT / "CHANGELOG.md").read_text()
