"""Routes: groups and who belongs to them."""

from fastapi import APIRouter

from tierline.console.api import models
from tierline.console.api.access import Operator, Reader
from tierline.console.api.finding import device_named, group_named
from tierline.console.api.shown import Shows
from tierline.engine.access import Verb
from tierline.model.identity import GroupId, PartyId
from tierline.operations.serving import groups
from tierline.operations.serving.access import require
from tierline.operations.serving.state import Serving


def group_routes(serving: Serving) -> APIRouter:
    """Make the routes of groups."""
    routes = APIRouter(tags=["groups"])
    shows = Shows(serving)

    def shown(group_id: GroupId) -> models.Members:
        members = sorted(serving.members_of.get(group_id, ()))
        return models.Members(group=shows.group_name(group_id), members=shows.members(group_id, members))

    @routes.get("/groups")
    async def list_groups(principal: Reader, *, of_fleets: bool = False) -> models.Groups:
        """List all groups with their programs; those of single DERs of a fleet only when asked for."""
        require(principal, Verb.READ, "groups")
        found = [
            shows.group(record)
            for group_id, record in serving.groups.items()
            if not groups.is_of_tariff(record) and (of_fleets or not groups.is_of_one(serving, group_id))
        ]
        return models.Groups(groups=sorted(found, key=lambda group: (-group.primacy, group.name)))

    @routes.post("/groups", status_code=201)
    async def create_group(principal: Operator, body: models.NewGroup) -> models.Group:
        """Make a group: an empty one, or one of everybody or of all DERs of a party, whose members follow by themselves."""
        party = None if body.party is None else PartyId(body.party)
        record = await groups.create_group(principal, serving, body.name, everybody=body.everybody, party=party)
        return shows.group(record)

    @routes.get("/groups/{name}")
    async def show_group(principal: Reader, name: str) -> models.Group:
        """Show a group by its name, id or element of the grid."""
        require(principal, Verb.READ, "groups")
        return shows.group(serving.groups[group_named(serving, name)])

    @routes.put("/groups/{name}")
    async def rename_group(principal: Operator, name: str, body: models.GroupName) -> models.Group:
        """Give a group another name; it stays the same group."""
        return shows.group(await groups.rename_group(principal, serving, group_named(serving, name), body.name))

    @routes.delete("/groups/{name}")
    async def delete_group(principal: Operator, name: str) -> models.Group:
        """Let a group go, with its program and what is over in it; shows what it was."""
        group_id = group_named(serving, name)
        before = shows.group(serving.groups[group_id])
        await groups.delete_group(principal, serving, group_id)
        return before

    @routes.get("/groups/{name}/members")
    async def list_members(principal: Reader, name: str) -> models.Members:
        """List who belongs to a group now, since when and why."""
        require(principal, Verb.READ, "groups")
        return shown(group_named(serving, name))

    @routes.post("/groups/{name}/members")
    async def add_members(principal: Operator, name: str, body: models.DeviceNames) -> models.Members:
        """Take DERs into a group."""
        group_id = group_named(serving, name)
        ders = [device_named(serving, one).der_id for one in body.devices]
        await groups.add_members(principal, serving, group_id, ders, cause=body.reason or "operator")
        return shown(group_id)

    @routes.post("/groups/{name}/members/remove")
    async def remove_members(principal: Operator, name: str, body: models.DeviceNames) -> models.Members:
        """Take DERs out of a group."""
        group_id = group_named(serving, name)
        ders = [device_named(serving, one).der_id for one in body.devices]
        await groups.remove_members(principal, serving, group_id, ders, cause=body.reason or "operator")
        return shown(group_id)

    return routes
