"""Ports for a scenario: a block of them next to each other, taken by one scenario at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierline.model.errors import ConfigError
from tierline.scenario.configuration import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.ports import Network, Server

BLOCKS: Final = range(15_000, 32_000, 500)
"""Where blocks begin: below the ports that systems give to outgoing connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Ports that were free, and stay this scenario's until it closes the block."""

    ports: tuple[int, ...]
    mark: Server
    """A listener in front of the ports; whoever cannot listen there looks for another block."""

    def close(self) -> None:
        """Leave the block to others."""
        self.mark.close()


async def reserve(network: Network, count: int) -> Block:
    """Take a block of ports that nothing listens on.

    Raises: ConfigError when there is none.
    """
    for first in BLOCKS:
        try:
            mark = await network.serve(_refuse, HOST, first)
        except ConfigError:
            continue
        ports = tuple(range(first + 1, first + 1 + count))
        if await are_free(network, ports):
            return Block(ports=ports, mark=mark)
        mark.close()
    raise ConfigError(f"no {count} free ports next to each other were found from {BLOCKS.start} on")


async def are_free(network: Network, ports: Sequence[int]) -> bool:
    """Tell whether nothing listens on any of the ports."""
    servers: list[Server] = []
    try:
        for port in ports:
            servers.append(await network.serve(_refuse, HOST, port))  # noqa: PERF401 - those before a failure count
    except ConfigError:
        return False
    finally:
        for server in servers:
            server.close()
    return True


def _refuse() -> asyncio.Protocol:
    return asyncio.Protocol()
