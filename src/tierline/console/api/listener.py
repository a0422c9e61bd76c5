"""The listener of the operator API: uvicorn, inside the loop of the node and without hands on its signals."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
import uvicorn

from tierline.console.api.app import make_app
from tierline.model.errors import ConfigError
from tierline.node.config import Address
from tierline.node.health import Health
from tierline.operations.serving.tokens import ensure_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

    from tierline.node.compose import Node

log = structlog.get_logger(__name__)

TOKEN_FILE = "operator.token"  # noqa: S105 - a file's name, not a secret
GRACE_S = 5
"""How long answers under way may take when the node stops. Units: seconds of the wall."""


class _Server(uvicorn.Server):
    """Leaves the signals to the node."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


URL_FILE = "operator.url"
"""Where the API listens now, in the state folder."""


async def run_console(node: Node) -> None:
    """Serve the operator of a node until cancelled; draws the first access token when there is none.

    Raises: ConfigError when it cannot listen or write the token.
    """
    part, half = node.config.operator, node.serving
    if part is None or half is None:
        raise AssertionError("only a node that serves and has an [operator] part has a console")
    token_file = node.config.state / TOKEN_FILE
    if await ensure_token(half.state, node.files, str(token_file)):
        log.info("operator_token_written", node=node.name, file=str(token_file))
    folder = node.config.folder
    serve_part = node.config.serve
    upward = [part.waiting_responses for part in (node.follower, node.relaying) if part is not None]
    health = Health(
        name=node.name,
        level=node.config.node.level,
        serving=half.state,
        speed=1.0 if node.config.clock is None else node.config.clock.speed,
        poll_s=600 if serve_part is None else serve_part.sep2.poll_rate_s,
        requests=half.handler.requests,
        outbox=None if not upward else lambda: sum(waiting() for waiting in upward),
        unwalked=None if node.relaying is None else node.relaying.unwalked,
        clocks=None if node.relaying is None else node.relaying.clocks,
        refused=None if node.follower is None else node.follower.refused,
    )
    scheme = "http" if part.certificate is None else "https"

    def listens(port: int) -> None:
        at = f"{scheme}://{Address(host=part.listen.host, port=port)}"
        # Beside the token, so that the command line finds both.
        node.files.write(str(node.config.state / URL_FILE), f"{at}\n".encode())
        log.info("operator_api_listens", node=node.name, url=at)

    await serve(
        make_app(health),
        part.listen.host,
        part.listen.port,
        certfile=None if part.certificate is None else str(folder / part.certificate),
        keyfile=None if part.key is None else str(folder / part.key),
        on_ready=listens,
    )


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    certfile: str | None = None,
    keyfile: str | None = None,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serve an app on one address until cancelled; `on_ready` is told the port.

    Raises: ConfigError when the address cannot be had or the certificate cannot be used.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"the operator API cannot use the certificate {certfile} with the key {keyfile}: {error}; "
            "check [operator] certificate and key"
        ) from error
    server = _Server(config)
    try:
        async with asyncio.TaskGroup() as group:
            announcing = group.create_task(_announce(server, on_ready))
            await server.serve()
            announcing.cancel()
    except SystemExit as error:  # how uvicorn says that it could not start
        raise ConfigError(
            f"the operator API cannot listen on {host} port {port}; "
            "is the address one of this machine, and does nothing else use the port?"
        ) from error
    finally:
        if server.started and server.servers:
            server.should_exit = True
            await server.shutdown()


async def _announce(server: uvicorn.Server, on_ready: Callable[[int], None] | None) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.02)
    if on_ready is not None:
        on_ready(int(server.servers[0].sockets[0].getsockname()[1]))
