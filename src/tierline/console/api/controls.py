"""Routes: controls, defaults, curves, programs and Responses."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from tierline.console.api import models
from tierline.console.api.access import Operator, Reader
from tierline.console.api.finding import control_named, group_named
from tierline.console.api.shown import Shows, response_shown
from tierline.console.api.values import read_setpoints
from tierline.engine.access import Verb
from tierline.model.errors import ConfigError
from tierline.operations.serving import dispatch, history
from tierline.operations.serving.access import require
from tierline.operations.serving.groups import is_of_one
from tierline.operations.serving.preview import preview_control
from tierline.operations.serving.programs import set_default
from tierline.operations.serving.state import Serving


def control_routes(serving: Serving) -> APIRouter:
    """Make the routes of controls."""
    routes = APIRouter(tags=["controls"])
    shows = Shows(serving)

    @routes.post("/controls", status_code=201)
    async def create_control(principal: Operator, body: models.NewControl) -> models.Created:
        """Create a control for a group; its members see it from their next walk on."""
        order = _order(serving, body)
        record = await dispatch.create_control(principal, serving, order)
        members = sorted(serving.members_of.get(order.group_id, ()))
        return models.Created(control=shows.control(record), members=list(members))

    @routes.post("/controls/preview")
    async def preview(principal: Reader, body: models.NewControl) -> models.Preview:
        """Show what a control would do, without sending it."""
        order = _order(serving, body)
        return shows.preview(order, preview_control(principal, serving, order))

    @routes.get("/controls")
    async def list_controls(
        principal: Reader,
        group: str | None = None,
        state: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> models.Controls:
        """List controls, the newest first; of one group or in one state."""
        require(principal, Verb.READ, "controls")
        wanted = None if group is None else group_named(serving, group)
        found = [
            shows.control(record)
            for served in serving.programs.values()
            if wanted is None or served.record.group_id == wanted
            for record in served.controls.values()
        ]
        found.sort(key=lambda control: (control.start, control.created_at, control.mrid), reverse=True)
        shown = [control for control in found if state is None or control.state == state]
        return models.Controls(controls=shown[:limit])

    @routes.get("/controls/{mrid}")
    async def show_control(principal: Reader, mrid: str) -> models.ControlDetail:
        """Show a control and how far every DER has come with it."""
        record = control_named(serving, mrid)
        return shows.control_detail(record, dispatch.progress(principal, serving, record.mrid))

    @routes.post("/controls/{mrid}/cancel")
    async def cancel_control(principal: Operator, mrid: str, body: models.Cancel) -> models.Control:
        """Cancel a control."""
        record = control_named(serving, mrid)
        cancelled = await dispatch.cancel_control(
            principal, serving, record.mrid, randomized=body.randomized, reason=body.reason
        )
        return shows.control(cancelled)

    @routes.get("/responses")
    async def list_responses(principal: Reader, span: Annotated[models.Since, Query()]) -> models.Responses:
        """List what DERs answered, from a time on or all."""
        found = history.responses_since(principal, serving, span.since, span.limit)
        return models.Responses(responses=[response_shown(record) for record in found])

    return routes


def program_routes(serving: Serving) -> APIRouter:
    """Make the routes of programs, defaults and curves."""
    routes = APIRouter(tags=["programs"])
    shows = Shows(serving)

    @routes.get("/programs")
    async def list_programs(principal: Reader, *, of_fleets: bool = False) -> models.Programs:
        """List all programs, the strongest first; those of single DERs of a fleet only when asked for."""
        require(principal, Verb.READ, "programs")
        found = [
            shows.program(served)
            for served in serving.programs.values()
            if of_fleets or not is_of_one(serving, served.record.group_id)
        ]
        return models.Programs(programs=sorted(found, key=lambda program: (program.primacy, program.group)))

    @routes.get("/curves")
    async def list_curves(principal: Reader) -> models.Curves:
        """List the curves that controls and defaults use."""
        require(principal, Verb.READ, "programs")
        return models.Curves(
            curves=[
                shows.curve(served, record) for served in serving.programs.values() for record in served.curves.values()
            ]
        )

    @routes.get("/groups/{name}/default")
    async def show_default(principal: Reader, name: str) -> models.Default:
        """Show what holds for a group while no control does."""
        require(principal, Verb.READ, "programs")
        return shows.default(group_named(serving, name))

    @routes.put("/groups/{name}/default")
    async def put_default(principal: Operator, name: str, body: models.NewDefault) -> models.Default:
        """Set what holds for a group while no control does; it is replaced as a whole."""
        group_id = group_named(serving, name)
        await set_default(principal, serving, group_id, read_setpoints(body.setpoints))
        return shows.default(group_id)

    return routes


def _order(serving: Serving, body: models.NewControl) -> dispatch.Order:
    """Read what an operator asks for.

    Raises: ConfigError; NotThere for an unknown group.
    """
    if body.start is not None and body.start_in_s is not None:
        raise ConfigError("start and start_in_s are both given; give one of them, or none to begin now")
    now = serving.clock.now()
    start = now + timedelta(seconds=body.start_in_s or 0) if body.start is None else body.start
    return dispatch.Order(
        group_id=group_named(serving, body.group),
        setpoints=read_setpoints(body.setpoints),
        start=start,
        duration_s=body.duration_s,
        randomize_start_s=body.randomize_start_s,
        randomize_duration_s=body.randomize_duration_s,
        ramp_time_s=body.ramp_time_s,
        reason=body.reason,
    )
