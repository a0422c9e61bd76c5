"""Routes: the network and its switches."""

from fastapi import APIRouter

from tierline.console.api import models
from tierline.console.api.access import Operator, Reader
from tierline.console.api.shown import Shows
from tierline.engine.access import Verb
from tierline.model.errors import ConfigError
from tierline.model.topology import Grid
from tierline.operations.serving.access import require
from tierline.operations.serving.state import Serving
from tierline.operations.serving.topology import confirm_switching, preview_switching


def grid_routes(serving: Serving) -> APIRouter:
    """Make the routes of the network."""
    routes = APIRouter(tags=["grid"])
    shows = Shows(serving)

    @routes.get("/grid")
    async def show_grid(principal: Reader) -> models.GridShown:
        """Show the network of this node and who hangs where."""
        require(principal, Verb.READ, "grid")
        grid = _grid_of(serving)
        by_element = {record.group.element: record.group.id for record in serving.groups.values()}
        feeders = []
        for feeder in grid.feeders:
            members = serving.members_of.get(by_element[feeder.id], set())
            feeders.append(
                models.Feeder(
                    id=feeder.id,
                    transformer=feeder.transformer,
                    members=len(members),
                    rating_w=shows.ratings(members),
                )
            )
        return models.GridShown(
            name=grid.name,
            source=grid.source,
            licence=grid.licence,
            nodes=len(grid.nodes),
            lines=len(grid.lines),
            service_points=len(grid.service_points),
            transformers=[transformer.id for transformer in grid.transformers],
            feeders=feeders,
            switches=shows.switches(),
        )

    @routes.get("/switches")
    async def list_switches(principal: Reader) -> models.Switches:
        """List all switches and how they stand."""
        require(principal, Verb.READ, "grid")
        return models.Switches(switches=shows.switches())

    @routes.post("/switches/preview")
    async def preview_switches(principal: Reader, body: models.Positions) -> models.Moves:
        """Show who would move if switches stood so."""
        _grid_of(serving)
        return shows.moves(preview_switching(principal, serving, body.closed), done=False)

    @routes.post("/switches")
    async def confirm_switches(principal: Operator, body: models.Positions) -> models.Moves:
        """Take over switch positions confirmed from the field; membership follows at once."""
        _grid_of(serving)
        return shows.moves(await confirm_switching(principal, serving, body.closed), done=True)

    return routes


def _grid_of(serving: Serving) -> Grid:
    if serving.grid is None:
        raise ConfigError("this node has no grid; name a grid file under [grid] in its configuration")
    return serving.grid
