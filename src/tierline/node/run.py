"""Run nodes: one or many in one process, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

from tierline.node.compose import Databases, compose, prepare, self_principal
from tierline.node.config import load_config
from tierline.node.owner import serve_owner
from tierline.node.supervise import supervise
from tierline.operations.following.outbox import forget_posted
from tierline.operations.serving.retention import Retention, forget_old
from tierline.security import tls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tierline.node.compose import Node
    from tierline.node.config import NodeConfig
    from tierline.node.field import Field
    from tierline.node.notifying import Telling

log = structlog.get_logger(__name__)

_DAY_S = 86_400


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
        nodes = []
        for config in configs:
            if config.field is None:
                databases.hold(config.database, config.node.name)
                nodes.append(compose(config, databases))
        fields = _fields_of([config for config in configs if config.field is not None])
        for node in nodes:
            await prepare(node)
        await _until_stopped(nodes, fields, console)
    finally:
        databases.close()


def _fields_of(configs: Sequence[NodeConfig]) -> list[Field]:
    """Compose what is simulated; nobody else needs what that takes to import."""
    if not configs:
        return []
    from tierline.node.field import compose_field

    return [compose_field(config) for config in configs]


async def _until_stopped(nodes: Sequence[Node], fields: Sequence[Field], console: Console | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        # Before the group: what cannot listen is to be told as it is, not in an ExceptionGroup.
        for field in fields:
            await field.listen()
        for node in nodes:
            if node.serving is not None:
                await stack.enter_async_context(node.serving.http)
                for host, port in node.serving.listen:
                    await node.serving.http.listen(host, port)
            if node.listening is not None:
                await stack.enter_async_context(node.listening.http)
                await node.listening.http.listen(*node.listening.listen)
        await _work(nodes, fields, console, stop)


async def _work(nodes: Sequence[Node], fields: Sequence[Field], console: Console | None, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(field.run()) for field in fields]
        tasks += [group.create_task(node.follower.run()) for node in nodes if node.follower is not None]
        tasks += [group.create_task(serve_owner(node, node.follower)) for node in nodes if node.follower is not None]
        tasks += [group.create_task(node.relaying.run()) for node in nodes if node.relaying is not None]
        tasks += [group.create_task(node.pricing.run(self_principal(node.config))) for node in nodes]
        tasks += [group.create_task(_telling(node, node.serving.telling)) for node in nodes if node.serving is not None]
        tasks += [group.create_task(_tidying(node)) for node in nodes]
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


async def _telling(node: Node, telling: Telling) -> None:
    """Tell those who subscribed, as long as the node runs."""
    await supervise("notify", telling.task.run, node.clock, node.random, node=node.name)


async def _tidying(node: Node) -> None:
    """Forget once a day what is older than it must be kept."""
    part = node.config.store
    retention = Retention(
        readings=timedelta(days=part.keep_readings_days), controls=timedelta(days=part.keep_controls_days)
    )

    async def tidy() -> None:
        if node.serving is not None:
            await forget_old(self_principal(node.config), node.serving.state, retention)
        if node.pricing.followed is not None:
            await node.pricing.followed.forget(node.clock.now() - retention.controls)
        if node.follower is not None or node.relaying is not None:
            await forget_posted(node.store, node.clock.now() - retention.controls)
        await node.clock.sleep(_DAY_S)

    await supervise("tidy", tidy, node.clock, node.random, node=node.name)


def check_files(paths: Sequence[Path]) -> list[NodeConfig]:
    """Read configurations without running them.

    Raises: ConfigError naming what is wrong.
    """
    return [load_config(path) for path in paths]
