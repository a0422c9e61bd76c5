"""The names of hosts, looked up where this machine looks them up."""

from __future__ import annotations

import asyncio
import socket

from tierline.model.errors import LinkError

LOOK_UP_S = 5.0
"""Unscaled seconds a look-up may take."""


async def look_up(host: str) -> tuple[str, ...]:
    """Give the addresses a name stands for now, each once, in the order in which they are best tried.

    Raises: LinkError.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOK_UP_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError as failure:
        raise LinkError(f"{host} could not be looked up in {LOOK_UP_S:g} s") from failure
    except (OSError, UnicodeError) as failure:
        raise LinkError(f"{host} cannot be looked up: {failure}") from failure
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
