"""Enrolling the DERs of a scenario at every station that commands them, as its operators would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.engine.connectivity import feeder_of, normal_positions, transformer_of
from tierline.scenario.hierarchy import Way

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tierline.client import AsyncClient
    from tierline.scenario.evidence import Steps
    from tierline.scenario.plan import Plan
    from tierline.scenario.script import Script
    from tierline.scenario.stations import Gateway, Station

_New = dict[str, object]


async def enrol_all(plan: Plan, script: Script, clients: Mapping[str, AsyncClient]) -> Mapping[str, frozenset[str]]:
    """Enrol everyone; gives the LFDIs of the members of the groups that the script names, and of all feeders.

    A group of another node than the head goes by `node/group`.
    """
    for station in plan.stations.values():
        if new := _of_station(plan, station):
            await clients[station.name].add_devices(new)
    for group in script.group:
        await clients[group.node].create_group(group.name)
        below = [node for node in _served(plan, plan.stations[group.node]) if group.of in {"", node.name}]
        members = [node.lfdi for node in below if _hangs(plan, node, group.element)]
        if members:
            await clients[group.node].add_members(group.name, members)
    head = plan.head
    if head is None:
        return _by_wires(plan, script)
    names = {(step.node or head.name, step.group) for step in script.control}
    names |= {(head.name, step.group) for step in script.cut if step.group}
    if head.is_utility:
        names |= {(head.name, feeder.id) for feeder in plan.site.grid.feeders}
    found: dict[str, frozenset[str]] = {}
    for node, name in sorted(names):
        listed = (await clients[node].members(name))["members"]
        lfdis = frozenset(member["lfdi"].upper() for member in listed if member["lfdi"] is not None)
        found[name if node == head.name else f"{node}/{name}"] = lfdis
    return found


def _by_wires(plan: Plan, script: Script) -> Mapping[str, frozenset[str]]:
    """Find whom the feeders, and what else limits are said for, feed as the switches normally stand: nobody keeps a register of that."""
    names = {step.element for step in script.limit} | {feeder.id for feeder in plan.site.grid.feeders}
    return {
        name: frozenset(
            one.lfdi.upper() for one in plan.gateways if _hangs(plan, one, "" if name == "system" else name)
        )
        for name in names
    }


def note_groups(steps: Steps, script: Script, members: Mapping[str, frozenset[str]], ready_at: datetime) -> None:
    """Write down who belongs to the groups that nodes other than the head have made."""
    for group in script.group:
        lfdis = members.get(f"{group.node}/{group.name}")
        if lfdis is not None:
            steps.note("group", ready_at, node=group.node, group=group.name, lfdis=sorted(lfdis))


def _of_station(plan: Plan, station: Station) -> list[_New]:
    """Say whom a station registers: its gateways, and those below that stand for others."""
    if station.is_market:
        return [{"lfdi": below.lfdi, "pin": below.pin} for below in _below(plan, station)]
    if station.is_aggregator:
        return [_customer(gateway) for gateway in plan.gateways if gateway.aggregator == station.name]
    if not station.is_utility:
        return []  # a substation takes over whom the utility has registered
    standing: list[_New] = [
        {"lfdi": below.lfdi, "pin": below.pin, "aggregates": below.name} for below in _below(plan, station)
    ]
    return standing + [_of_utility(gateway) for gateway in plan.gateways]


def _customer(gateway: Gateway) -> _New:
    return {"lfdi": gateway.lfdi, "pin": gateway.pin}


def _of_utility(gateway: Gateway) -> _New:
    """Give what the utility knows of a gateway from its interconnection; who is its aggregator's alone is reached through it."""
    new: _New = {"lfdi": gateway.lfdi, "service_point": gateway.service_point, "pin": gateway.pin}
    return new | ({"managed_by": gateway.aggregator} if gateway.way is Way.AGGREGATOR else {})


def _served(plan: Plan, station: Station) -> list[Station | Gateway]:
    """Give those a station serves itself."""
    nodes: list[Station | Gateway] = [*plan.stations.values(), *plan.gateways]
    return [node for node in nodes if any(uplink.server.name == station.name for uplink in node.uplinks)]


def _hangs(plan: Plan, node: Station | Gateway, element: str) -> bool:
    """Tell whether a node hangs on an element of the grid as its switches normally stand."""
    if not element:
        return True
    grid = plan.site.grid
    switches = normal_positions(grid)
    point = getattr(node, "service_point", "")  # only a gateway has one
    return element in {feeder_of(grid, switches).get(point), transformer_of(grid, switches).get(point)}


def _below(plan: Plan, station: Station) -> list[Station]:
    return [
        below for below in plan.stations.values() if any(uplink.server.name == station.name for uplink in below.uplinks)
    ]
