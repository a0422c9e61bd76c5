"""Lines between processes of one machine and one user."""

import asyncio
import stat
from contextlib import asynccontextmanager

import pytest

from tierline.env import ask_local, local, serve_local
from tierline.model.errors import ConfigError, LinkError, PeerError


async def echo(line):
    return b"you said " + line


@asynccontextmanager
async def listening(path, answer=echo):
    serving = asyncio.create_task(serve_local(str(path), answer))
    async with asyncio.timeout(5):
        while not path.is_socket() and not serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    try:
        yield serving
    finally:
        serving.cancel()
        await asyncio.wait([serving])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


async def test_a_line_is_answered_with_a_line(path):
    async with listening(path):
        assert await ask_local(str(path), b"hello") == b"you said hello"
        assert await ask_local(str(path), b"again") == b"you said again"


async def test_nobody_but_our_own_user_can_open_it_and_it_is_gone_afterwards(path):
    async with listening(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_a_caller_may_ask_more_than_once(path):
    async with listening(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        for _ in range(2):
            writer.write(b"x\n")
            assert await reader.readline() == b"you said x\n"
        writer.close()


async def test_what_a_killed_process_left_is_replaced_and_anything_else_is_not(path):
    async with listening(path):
        path.rename(path.with_name("left"))
    async with listening(path.with_name("left")) as serving:
        assert not serving.done()
    path.write_text("precious")
    with pytest.raises(ConfigError, match="cannot listen at"):
        await serve_local(str(path), echo)
    assert path.read_text() == "precious"


async def test_a_path_that_is_too_long_is_named(tmp_path):
    with pytest.raises(ConfigError, match="a shorter state folder may help"):
        await serve_local(str(tmp_path / ("x" * 120)), echo)


async def test_a_caller_that_goes_or_says_nothing_or_too_much_harms_nobody(path, monkeypatch):
    monkeypatch.setattr(local, "IDLE_S", 0.02)
    monkeypatch.setattr(local, "LINE_MAX", 100)
    async with listening(path) as serving:
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.read() == b"", "let go for saying nothing"
        writer.close()
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"x" * 1000)
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"half a line")
        writer.close()
        assert await ask_local(str(path), b"hello") == b"you said hello"
        assert not serving.done()


async def test_a_fault_of_ours_is_not_hidden(path):
    async def broken(_line):
        raise KeyError("our bug")

    async with listening(path, broken) as serving:
        with pytest.raises(PeerError, match="breaks off after 0 bytes"):
            await ask_local(str(path), b"hello")
        with pytest.raises(ExceptionGroup):
            await serving


async def test_where_nobody_answers_is_said(path):
    with pytest.raises(LinkError, match="does the node run, as this user"):
        await ask_local(str(path), b"hello")

    async def never(_line):
        await asyncio.Event().wait()

    async with listening(path, never):
        with pytest.raises(LinkError, match=r"no answer in 0\.05 s"):
            await ask_local(str(path), b"hello", patience_s=0.05)


async def test_an_answer_that_is_no_line_is_said(path, monkeypatch):
    async def long(_line):
        return b"x" * 1000

    async with listening(path, long):
        monkeypatch.setattr(local, "LINE_MAX", 100)
        with pytest.raises(PeerError, match="more than 100 bytes"):
            await ask_local(str(path), b"hello")
