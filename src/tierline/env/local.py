"""Lines between processes of one machine and one user, over a Unix socket that only that user may open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from tierline.model.errors import ConfigError, LinkError, PeerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

LINE_MAX = 1 << 20
"""Bytes in one line."""
IDLE_S = 10.0
"""Unscaled seconds after which a caller that says nothing is let go."""


async def serve_local(path: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
    """Answer each line with a line until cancelled; the socket is there from then on and gone afterwards.

    Raises: ConfigError when there can be no socket at that path.
    """
    with _bound(path) as bound:
        async with asyncio.TaskGroup() as group:

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(_converse(reader, writer, answer))

            server = await asyncio.start_unix_server(connected, sock=bound, limit=LINE_MAX)
            try:
                await asyncio.Event().wait()
            finally:
                server.close()


async def ask_local(path: str, line: bytes, *, patience_s: float = 30.0) -> bytes:
    """Send one line and give the line that comes back.

    Raises: LinkError when nobody answers there; PeerError when the answer is no line.
    """
    try:
        async with asyncio.timeout(patience_s):
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_MAX)
            try:
                writer.write(line + b"\n")
                await writer.drain()
                answer = await reader.readline()
            finally:
                writer.close()
    except TimeoutError as failure:
        raise LinkError(f"{path}: no answer in {patience_s:g} s; is the node busy, or stopped?") from failure
    except OSError as failure:
        raise LinkError(f"{path}: {failure.strerror or failure}; does the node run, as this user?") from failure
    except ValueError as failure:
        raise PeerError(f"{path}: an answer of more than {LINE_MAX} bytes") from failure
    if not answer.endswith(b"\n"):
        raise PeerError(f"{path}: the answer breaks off after {len(answer)} bytes")
    return answer[:-1]


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[bytes], Awaitable[bytes]]
) -> None:
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                line = await reader.readline()
            if not line.endswith(b"\n"):
                return
            writer.write(await answer(line[:-1]) + b"\n")
            async with asyncio.timeout(IDLE_S):
                await writer.drain()
    except (OSError, ValueError):  # it went, said nothing, or said too much
        return
    finally:
        writer.close()


@contextlib.contextmanager
def _bound(path: str) -> Iterator[socket.socket]:
    """Make a socket at a path that only this user can open, from its first instant on."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            _remove(path)  # left by a process that was killed
            before = os.umask(0o177)
            try:
                bound.bind(path)
            finally:
                os.umask(before)
        except OSError as failure:
            raise ConfigError(
                f"cannot listen at {path}: {failure.strerror or failure}; a shorter state folder may help"
            ) from failure
        try:
            yield bound
        finally:
            _remove(path)
    finally:
        bound.close()


def _remove(path: str) -> None:
    """Remove a socket; whatever else has that name stays."""
    if Path(path).is_socket():
        Path(path).unlink()
