"""Routes: the node itself, the audit and the access tokens."""

from typing import Annotated

from fastapi import APIRouter, Query

from tierline.console.api import models
from tierline.console.api.access import Operator, Reader
from tierline.console.api.faults import NotThere
from tierline.console.api.shown import audit_shown
from tierline.engine.access import Verb
from tierline.model.errors import ConfigError
from tierline.model.parties import Role
from tierline.model.records import TokenRecord
from tierline.node.health import Health
from tierline.operations.serving import history, tokens
from tierline.operations.serving.access import require
from tierline.operations.serving.state import Serving


def node_routes(health: Health) -> APIRouter:
    """Make the routes of the node itself."""
    routes = APIRouter(tags=["node"])
    serving = health.serving

    @routes.get("/status")
    async def show_status(principal: Reader) -> models.Status:
        """Show the node at a glance."""
        require(principal, Verb.READ, "status")
        return models.Status(
            node=health.name,
            level=health.level,
            party=serving.party,
            now=serving.clock.now(),
            speed=health.speed,
            poll_s=health.poll_s,
            grid=None if serving.grid is None else serving.grid.name,
            devices=len(health.ders()),
            devices_seen=health.seen(),
            active_controls=[record.mrid for record in health.active()],
            ready=health.is_ready,
            unready=dict(health.unready),
            healthy=health.is_healthy,
            unhealthy=dict(health.unhealthy),
            clocks=health.differing_clocks,
            you=principal.name,
            role=principal.role.value,
        )

    return routes


def audit_routes(serving: Serving) -> APIRouter:
    """Make the routes of the audit."""
    routes = APIRouter(tags=["audit"])

    @routes.get("/audit")
    async def list_audit(
        principal: Reader,
        after: Annotated[int | None, Query(ge=0)] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> models.Audit:
        """List acts in their order: those after a sequence number, or the last ones."""
        lines = history.audit_lines(principal, serving, after, limit)
        return models.Audit(lines=[audit_shown(line) for line in lines])

    @routes.get("/audit/verify")
    async def verify_audit(principal: Reader) -> models.Verification:
        """Check that nothing in the audit was changed, removed or put in between."""
        count, faults = await history.verify_audit(principal, serving)
        tail = serving.audit_tail
        return models.Verification(
            whole=not faults, records=count, last_sha256=None if tail is None else tail.sha256, faults=faults
        )

    return routes


def token_routes(serving: Serving) -> APIRouter:
    """Make the routes of access tokens."""
    routes = APIRouter(tags=["tokens"])

    @routes.get("/tokens")
    async def list_tokens(principal: Operator) -> models.Tokens:
        """List the tokens that were made; never their secrets."""
        return models.Tokens(tokens=[_token(record) for record in tokens.list_tokens(principal, serving)])

    @routes.post("/tokens", status_code=201)
    async def create_token(principal: Operator, body: models.NewToken) -> models.Secret:
        """Make a token for one more person or program."""
        role = next((role for role in tokens.ROLES if role.value == body.role), None)
        if role is None:
            raise ConfigError(f"a token is for {' or '.join(sorted(tokens.ROLES))}, not for {body.role!r}")
        token = await tokens.create_token(principal, serving, body.name, role)
        return models.Secret(name=body.name, role=role.value, token=token)

    @routes.delete("/tokens/{name}")
    async def revoke_token(principal: Operator, name: str) -> models.Token:
        """Make a token useless from the next request on."""
        try:
            return _token(await tokens.revoke_token(principal, serving, name))
        except ConfigError as error:
            raise NotThere(str(error)) from error

    return routes


def _token(record: TokenRecord) -> models.Token:
    return models.Token(
        name=record.name, role=Role(record.role).value, created_at=record.created_at, revoked_at=record.revoked_at
    )
