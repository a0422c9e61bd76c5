"""The command line against a node in the same process, without a socket."""

import asyncio
import json
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from tierline.cli import main
from tierline.client import Client


class InProcess(httpx.BaseTransport):
    """Hands each request to an ASGI app, in a loop of its own."""

    def __init__(self, app):
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request):
        async def ask():
            answer = await self._transport.handle_async_request(request)
            content = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=content, request=request)

        return run(ask())


def run(coroutine):
    """Run a coroutine to its end, leaving the loop of the tests alone."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


@pytest.fixture
def tierline(monkeypatch, tmp_path):
    """Type a command that needs no node; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    for name in ("TIERLINE_URL", "TIERLINE_TOKEN_FILE", "TIERLINE_CA_FILE"):
        monkeypatch.delenv(name, raising=False)

    def type_in(*words, obj=None):
        result = CliRunner().invoke(main, [str(word) for word in words], obj=obj, catch_exceptions=False)
        return SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr)

    return type_in


@pytest.fixture
def node(tierline, app, token, tmp_path):
    """Type a command to the node; it must succeed unless `code` says otherwise."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "operator.token").write_text(f"{token}\n")

    def type_in(*words, code=0):
        result = tierline(*words, obj=lambda url, secret, _: Client(url, secret, transport=InProcess(app)))
        assert result.code == code, result.err + result.out
        return result.err + result.out if code else result.out

    return type_in


@pytest.fixture
def node_json(node):
    """Type a command to the node with --json; gives what it printed."""
    return lambda *words: json.loads(node(*words, "--json"))
