"""Time, randomness, network, threads and files enter through `tierline.env`; ruff's ban list sees imports, this the rest."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tierline"

MAY_TOUCH_FILES = (
    "env/",
    "storage/",
    "security/",  # key files
    "cli/",
    "node/config.py",
    "protocols/sunspec/definitions.py",  # the published model data
    "protocols/sunspec/codec.py",
    "scenario/",  # evidence
    "console/web",  # packed into the wheel
)
MAY_IMPORT_THE_BANNED = ("src/tierline/env*", "src/tierline/storage/**")

FILE_METHODS = {
    "read_text", "read_bytes", "write_text", "write_bytes", "open", "unlink", "touch", "mkdir", "rmdir", "iterdir",
}  # fmt: skip
OS_FUNCTIONS = {
    "open", "write", "read", "remove", "unlink", "rename", "replace", "mkdir", "makedirs", "listdir", "scandir", "fsync",
    "kill", "killpg", "fork", "system", "popen", "urandom",
}  # fmt: skip
ASYNCIO_FUNCTIONS = {
    "create_task", "ensure_future", "to_thread", "open_connection", "start_server", "open_unix_connection",
    "start_unix_server", "create_subprocess_exec", "create_subprocess_shell",
}  # fmt: skip
MUST_BE_BANNED = {
    "time", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
    "random", "numpy.random", "secrets", "uuid", "os.urandom", "threading", "concurrent.futures", "asyncio.to_thread",
    "asyncio.create_task", "socket", "io.open", "os.open",
}  # fmt: skip


def back_doors(source: str) -> list[str]:
    """Find the calls that reach files, processes or sockets without a port."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id="open"):
                found.append(f"{node.lineno}: open()")
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in OS_FUNCTIONS:
                found.append(f"{node.lineno}: os.{name}()")
            case ast.Attribute(value=ast.Name(id="asyncio"), attr=name) if name in ASYNCIO_FUNCTIONS:
                found.append(f"{node.lineno}: asyncio.{name}()")
            case ast.Attribute(value=ast.Name(id="subprocess"), attr=name):
                found.append(f"{node.lineno}: subprocess.{name}()")
            case ast.Attribute(attr=name) if name in FILE_METHODS:
                found.append(f"{node.lineno}: .{name}()")
    return found


def test_no_room_opens_a_back_door():
    guilty = [
        f"{path.relative_to(ROOT)}:{door}"
        for path in sorted(SOURCE.rglob("*.py"))
        if not str(path.relative_to(SOURCE)).startswith(MAY_TOUCH_FILES)
        for door in back_doors(path.read_text())
    ]
    assert guilty == [], "use the ports Files, Process and Network, and TaskGroup"


@pytest.mark.parametrize(
    "source",
    [
        "open('x')",
        "Path('x').read_text()",
        "(folder / 'x').write_bytes(b'')",
        "path.open('w')",
        "os.listdir('.')",
        "asyncio.create_task(f())",
        "await asyncio.open_connection('h', 1)",
        "subprocess.run(['true'])",
    ],
)
def test_a_back_door_is_seen(source):
    assert len(back_doors(source)) == 1


@pytest.mark.parametrize("source", ["opened('x')", "os.path.join('a', 'b')", "'a'.replace('a', 'b')", "open_port = 1"])
def test_an_honest_call_is_not_taken_for_a_back_door(source):
    assert back_doors(source) == []


def test_the_ban_list_is_complete():
    banned = _ruff()["flake8-tidy-imports"]["banned-api"]
    assert set(banned) >= MUST_BE_BANNED


def test_nobody_else_is_excused_from_the_ban():
    ignores = _ruff()["per-file-ignores"]
    excused = {files for files, rules in ignores.items() if "TID251" in rules and files.startswith("src")}
    assert excused == set(MAY_IMPORT_THE_BANNED)


def test_only_where_files_are_allowed_may_a_line_excuse_itself_from_the_ban():
    """Nor from all rules at once, which would excuse it from the ban too."""
    pattern = re.compile(r"#\s*(ruff:\s*)?noqa(?!:)|noqa:.*TID251")
    guilty = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(SOURCE.rglob("*.py"))
        if not str(path.relative_to(SOURCE)).startswith(MAY_TOUCH_FILES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert guilty == []


def _ruff():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
