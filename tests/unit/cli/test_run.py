"""`tierline run`: checked, shown, started."""

import json
import sys

import pytest
import structlog

from tierline.cli import logs
from tierline.cli.run import console_of
from tierline.model.errors import ConfigError
from tierline.node.config import load_config

NODE = """
[node]
name = "gateway"
level = 2
party = "owner"
[tls]
certificate = "certs/c.pem"
key = "certs/c.key"
anchors = ["certs/a.pem"]
[[north]]
protocol = "sep2"
channel = "utility"
party = "utility"
server = "https://127.0.0.1:8443/dcap"
pin = 111115
[[south]]
protocol = "sunspec"
address = "127.0.0.1:1502"
"""
OPERATOR = """
[node]
name = "utility"
level = 4
party = "utility"
[identity]
pen = 37244
[tls]
certificate = "certs/c.pem"
key = "certs/c.key"
anchors = ["certs/a.pem"]
[serve.sep2]
listen = ["127.0.0.1:0"]
[operator]
listen = "127.0.0.1:0"
"""


@pytest.fixture(autouse=True)
def _logs_as_before():
    old = structlog.get_config()
    yield
    structlog.configure(**old)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "gateway.toml").write_text(NODE)
    (tmp_path / "utility.toml").write_text(OPERATOR)
    (tmp_path / "wrong.toml").write_text(NODE.replace("level = 2", "level = 9"))
    return tmp_path


def test_files_are_checked(tierline, files):
    assert tierline("run", "--check", "gateway.toml", "utility.toml").out == "2 files are in order\n"
    assert json.loads(tierline("run", "--check", "gateway.toml", "--json").out) == {"files": 1}
    wrong = tierline("run", "--check", "gateway.toml", "wrong.toml")
    assert wrong.code == 1
    assert "wrong.toml:4: node.level" in wrong.err


def test_what_files_come_to_is_shown_without_the_pin(tierline, files):
    (shown,) = json.loads(tierline("run", "--show-config", "gateway.toml", "utility.toml").out)[:1]
    assert shown["south"][0]["unit"] == 1
    assert shown["north"][0]["pin"] == "hidden"
    assert json.loads(tierline("run", "--show-config", "utility.toml", "--json").out)[0]["node"]["level"] == 4


def test_a_node_that_cannot_start_is_told_in_words(tierline, files):
    result = tierline("run", "gateway.toml", "--log", "json")
    assert result.code == 1
    assert "certs" in result.err
    assert "Traceback" not in result.err


def test_the_console_is_composed_where_a_node_has_one(files):
    gateway, utility = load_config(files / "gateway.toml"), load_config(files / "utility.toml")
    assert console_of([gateway]) is None
    from tierline.console.api.listener import run_console

    assert console_of([gateway, utility]) is run_console


def test_a_missing_console_is_told(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "tierline.console.api.listener", None)
    with pytest.raises(ConfigError, match="pip install 'tierline\\[console\\]'"):
        console_of([load_config(files / "utility.toml")])


@pytest.mark.parametrize("verbose", [False, True])
def test_events_are_json_where_nobody_looks(capsys, verbose):
    logs.set_up(None, verbose=verbose)
    structlog.get_logger("x").info("started", node="utility")
    structlog.get_logger("x").debug("detail")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == (["started", "detail"] if verbose else ["started"])
    assert lines[0]["node"] == "utility"
    assert lines[0]["timestamp"].endswith("Z")


def test_events_are_words_on_request(capsys):
    logs.set_up(logs.Form.WORDS, verbose=False)
    structlog.get_logger("x").info("started", node="utility")
    said = capsys.readouterr().err
    assert "started" in said
    assert not said.startswith("{")


def test_an_error_is_written_with_its_trace(capsys):
    logs.set_up(logs.Form.JSON, verbose=False)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        structlog.get_logger("x").exception("failed")
    assert "ZeroDivisionError" in json.loads(capsys.readouterr().err)["exception"]


def test_no_value_of_a_variable_is_written_with_a_trace(capsys):
    logs.set_up(logs.Form.WORDS, verbose=False)
    pin = int("111115")
    try:
        pin / 0
    except ZeroDivisionError:
        structlog.get_logger("x").exception("failed")
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "111115" not in said.replace('int("111115")', "")
