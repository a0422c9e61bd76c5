"""The listener: in the node's loop, without its signals, gone when it is cancelled."""

import asyncio
import signal
import ssl
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tierline.console.api.listener import run_console, serve
from tierline.model.errors import ConfigError
from tierline.node.config import parse_config
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import make_mica, make_serca, make_server


class Ready:
    """Waits for the port."""

    def __init__(self):
        self.port = asyncio.get_running_loop().create_future()

    def __call__(self, port):
        self.port.set_result(port)


async def test_it_serves_until_cancelled_and_leaves_the_signals_alone(app):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    ready = Ready()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(app, "127.0.0.1", 0, on_ready=ready))
        port = await ready.port
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port}/livez")
            assert answer.text == "ok\n"
            assert "server" not in answer.headers
        task.cancel()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_told(app):
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}"):
        await serve(app, "127.0.0.1", port)
    taken.close()
    await taken.wait_closed()


async def test_a_certificate_that_cannot_be_used_is_told(app, tmp_path):
    with pytest.raises(ConfigError, match="check \\[operator\\] certificate and key"):
        await serve(app, "127.0.0.1", 0, certfile=str(tmp_path / "no.pem"), keyfile=str(tmp_path / "no.key"))


async def test_it_speaks_tls_with_a_certificate(app, tmp_path):
    born = datetime(2026, 1, 1, tzinfo=UTC)
    root = make_serca("root", born, demo=False)
    hardware = HardwareName(type_oid="1.3.6.1.4.1.40732.1.7", serial=b"console")
    leaf = make_server(make_mica(root, "issuer", born), hardware, born, ip_addresses=["127.0.0.1"])
    certificate, key = write_credential(tmp_path / "keys", "console", leaf)
    ready = Ready()
    # The validity of these test certificates is not what is tested here, and httpx has no clock to set.
    context = ssl.create_default_context(cadata=root.certificate_pem.decode())
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            serve(app, "127.0.0.1", 0, certfile=str(certificate), keyfile=str(key), on_ready=ready)
        )
        async with httpx.AsyncClient(verify=context) as client:
            assert (await client.get(f"https://127.0.0.1:{await ready.port}/livez")).text == "ok\n"
        task.cancel()


CONFIG = """
[node]
name = "utility"
level = 4
party = "utility"
[clock]
start = 2026-06-18T12:00:00Z
monotonic_s = 0.0
speed = 60
[identity]
pen = 37244
[tls]
certificate = "c.pem"
key = "c.key"
anchors = ["a.pem"]
[serve.sep2]
listen = ["127.0.0.1:0"]
poll_rate_s = 300
[operator]
listen = "127.0.0.1:0"
"""


async def test_the_console_of_a_node_writes_the_first_token_once(serving, files, tmp_path):
    config = parse_config(CONFIG, tmp_path / "node.toml")
    half = SimpleNamespace(state=serving, handler=SimpleNamespace(requests=Counter()))
    node = SimpleNamespace(config=config, serving=half, follower=None, relaying=None, files=files, name="utility")
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await run_console(node)
    path = str(Path(tmp_path) / "state" / "operator.token")
    url = path.replace("operator.token", "operator.url")
    assert sorted(files.content) == [path, url]
    assert files.content[url].startswith(b"http://127.0.0.1:")
    assert files.modes[path] == 0o600
    assert len(files.content[path].strip()) == 64
    assert list(serving.tokens) == ["operator"]
