"""The operator API of one node, put together."""

from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response

from tierline.console.api.access import Gate
from tierline.console.api.controls import control_routes, program_routes
from tierline.console.api.devices import device_routes
from tierline.console.api.faults import install
from tierline.console.api.grid import grid_routes
from tierline.console.api.groups import group_routes
from tierline.console.api.models import Refusal
from tierline.console.api.prices import price_routes
from tierline.console.api.records import audit_routes, node_routes, token_routes
from tierline.node.health import Health, metrics_of

OPEN = frozenset({"/livez", "/readyz"})
"""What answers without a token: it tells nothing but whether the node works."""
METRICS = "/metrics"


def make_app(health: Health, *, open_metrics: bool = True) -> FastAPI:
    """Make the operator API of a node; `open_metrics` lets Prometheus read without a token."""
    serving = health.serving
    app = FastAPI(
        title="tierline operator API",
        version=version("tierline"),
        # The pages that come with FastAPI load scripts from elsewhere; utilities work without the internet.
        docs_url=None,
        redoc_url=None,
        responses={status: {"model": Refusal} for status in (401, 403, 404, 409, 422)},
    )
    install(app)

    @app.get("/livez", tags=["health"], response_class=PlainTextResponse)
    async def live() -> PlainTextResponse:
        """Say that the process answers."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz", tags=["health"], response_class=PlainTextResponse)
    async def ready() -> PlainTextResponse:
        """Say whether the node does its work, and what is missing."""
        if health.is_ready:
            return PlainTextResponse("ok\n")
        return PlainTextResponse("".join(f"{what} is not ready\n" for what in sorted(health.unready)), status_code=503)

    @app.get(METRICS, tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Give the numbers of the node to Prometheus."""
        return Response(metrics_of(health), media_type="text/plain; version=0.0.4; charset=utf-8")

    for routes in (
        node_routes(health),
        device_routes(serving),
        group_routes(serving),
        program_routes(serving),
        control_routes(serving),
        grid_routes(serving),
        price_routes(serving),
        audit_routes(serving),
        token_routes(serving),
    ):
        app.include_router(routes)
    app.add_middleware(Gate, serving=serving, open_paths=OPEN | {METRICS} if open_metrics else OPEN)
    return app
