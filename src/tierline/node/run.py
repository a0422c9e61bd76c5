"""Run nodes: one or many in one process, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

import structlog

from tierline.node.compose import Databases, compose, prepare
from tierline.node.config import load_config
from tierline.node.field import Field, compose_field
from tierline.security import tls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tierline.node.compose import Node
    from tierline.node.config import NodeConfig

log = structlog.get_logger(__name__)


class Console(Protocol):
    """What adds an operator's listener to a node that serves."""

    async def __call__(self, node: Node) -> None:
        """Serve the operator of a node until cancelled."""
        ...


async def run_files(paths: Sequence[Path], console: Console | None = None) -> None:
    """Run the nodes of some configuration files until SIGINT or SIGTERM.

    Raises: ConfigError when one of them cannot be started: then none is.
    """
    configs = [load_config(path) for path in paths]
    if any(config.tls is not None for config in configs):
        tls.self_test()
    databases = Databases()
    try:
        nodes = [compose(config, databases) for config in configs if config.field is None]
        fields = [compose_field(config) for config in configs if config.field is not None]
        for node in nodes:
            await prepare(node)
        await _until_stopped(nodes, fields, console)
    finally:
        databases.close()


async def _until_stopped(nodes: Sequence[Node], fields: Sequence[Field], console: Console | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for field in fields:
            await field.listen()
        for node in nodes:
            if node.serving is not None:
                await stack.enter_async_context(node.serving.http)
                for host, port in node.serving.listen:
                    await node.serving.http.listen(host, port)
        tasks = [group.create_task(field.run()) for field in fields]
        tasks += [group.create_task(node.follower.run()) for node in nodes if node.follower is not None]
        if console is not None:
            tasks += [
                group.create_task(console(node))
                for node in nodes
                if node.serving is not None and node.config.operator is not None
            ]
        log.info("ready", nodes=[node.name for node in nodes], fields=len(fields))
        waiting = group.create_task(stop.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        for task in [*tasks, waiting]:
            task.cancel()


def check_files(paths: Sequence[Path]) -> list[NodeConfig]:
    """Read configurations without running them.

    Raises: ConfigError naming what is wrong.
    """
    return [load_config(path) for path in paths]
