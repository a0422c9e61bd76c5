"""The command line as a whole."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from tierline.cli import main
from tierline.cli.commands import DEFAULT_URL, Patient, read_url
from tierline.model.errors import ConfigError, LinkError

NOUNS = ("device", "group", "program", "control", "default", "reading", "grid", "audit", "token", "function", "cert", "backup", "curve")  # fmt: skip


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_shows_its_verbs(tierline, noun):
    result = tierline(noun, "--help")
    assert result.code == 0
    assert "Commands" in result.out


def test_every_command_has_json_and_a_sentence():
    import typer.main

    pending, found = [(("tierline",), typer.main.get_command(main))], 0
    while pending:
        path, command = pending.pop()
        if hasattr(command, "commands"):
            pending += [((*path, name), one) for name, one in command.commands.items()]
            continue
        found += 1
        assert command.help, path
        assert any("--json" in parameter.opts for parameter in command.params), path
    assert found > 30


def test_the_version_is_told(tierline):
    assert tierline("--version").out.startswith("tierline 0.")


def test_a_mistake_in_the_command_line_is_exit_code_2(tierline):
    assert tierline("moon").code == 2
    result = tierline("device", "add", "--pin", "7000000")
    assert result.code == 2
    assert "--pin" in result.err


def test_help_does_not_load_what_a_command_needs():
    heavy = {"httpx", "fastapi", "uvicorn", "sqlalchemy", "cryptography", "numpy", "lxml", "structlog", "pydantic"}
    code = f"import sys, tierline.cli; print(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_token_is_told_with_what_to_do(tierline):
    result = tierline("status")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "tierline: there is no access token in state/operator.token or state/utility/operator.token; "
        "name its file with --token-file or TIERLINE_TOKEN_FILE\n"
    )


def test_a_token_file_that_cannot_be_read_is_told(tierline):
    result = tierline("status", "--token-file", "none")
    assert result.code == 1
    assert "the access token in none cannot be read" in result.err


def test_a_node_that_does_not_run_is_told_in_one_line(tierline, tmp_path):
    (tmp_path / "token").write_text("x")
    result = tierline("status", "--token-file", "token", "--url", "http://127.0.0.1:9")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "cannot be reached" in result.err


def test_the_token_of_the_demonstration_is_found(tierline, tmp_path):
    (tmp_path / "state" / "utility").mkdir(parents=True)
    (tmp_path / "state" / "utility" / "operator.token").write_text("x")
    assert "cannot be reached" in tierline("status", "--url", "http://127.0.0.1:9").err


def test_the_environment_names_the_node(tierline, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("x")
    monkeypatch.setenv("TIERLINE_URL", "http://127.0.0.1:10")
    monkeypatch.setenv("TIERLINE_TOKEN_FILE", "token")
    assert "127.0.0.1:10" in tierline("status").err


def test_a_missing_client_is_told(tierline, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("x")
    monkeypatch.setitem(sys.modules, "tierline.client", None)
    assert "pip install 'tierline[client]'" in tierline("status", "--token-file", "token").err


def _failing(error):
    app = typer.Typer(cls=Patient, pretty_exceptions_enable=False)

    @app.command("a")
    def fail():
        raise error

    app.command("b")(lambda: None)
    return CliRunner().invoke(app, ["a"])


def test_several_errors_at_once_are_told_one_by_one():
    result = _failing(ExceptionGroup("x", [ConfigError("one"), ExceptionGroup("y", [LinkError("two")])]))
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["tierline: one", "tierline: two"]


@pytest.mark.parametrize("bug", [ZeroDivisionError(), ExceptionGroup("x", [ConfigError("one"), ZeroDivisionError()])])
def test_a_bug_is_not_hidden(bug):
    result = _failing(bug)
    assert result.exception is bug


def test_where_the_node_listens_stands_beside_its_token(tierline, tmp_path):
    (tmp_path / "state" / "utility").mkdir(parents=True)
    (tmp_path / "state" / "utility" / "operator.token").write_text("x")
    (tmp_path / "state" / "utility" / "operator.url").write_text("http://127.0.0.1:9\n")
    assert "http://127.0.0.1:9 cannot be reached" in tierline("status").err


def test_an_address_that_cannot_be_read_is_passed_over(tmp_path):
    (tmp_path / "operator.url").write_bytes(b"\xff")
    assert read_url(tmp_path / "operator.token") == DEFAULT_URL
