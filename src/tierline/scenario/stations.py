"""The nodes of a scenario and how they hang together: stations serve, gateways obey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierline.scenario.configuration import MARKET, UTILITY
from tierline.scenario.hierarchy import Way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tierline.model.identity import Lfdi
    from tierline.scenario.hierarchy import Enrolled, Hierarchy


@dataclass(frozen=True, slots=True)
class Uplink:
    """A way from a node to a server above it."""

    server: Station
    port: int
    """Where the relay listens that leads there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A node that serves others, in a process of its own."""

    name: str
    level: int
    party: str
    lfdi: Lfdi
    pin: int
    port: int
    operator_port: int
    listener_port: int = 0
    """Where it wants to be told of changes; 0 when it is below nobody."""
    element: str = ""
    """What a substation serves of the grid."""
    uplinks: tuple[Uplink, ...] = ()

    @property
    def is_market(self) -> bool:
        """Whether it is the market."""
        return self.level == 5

    @property
    def is_utility(self) -> bool:
        """Whether it is the head of the grid's operator."""
        return self.level == 4 and not self.element

    @property
    def relays(self) -> bool:
        """Whether it passes on what those above it say."""
        return any(not uplink.server.is_market for uplink in self.uplinks)

    @property
    def is_aggregator(self) -> bool:
        """Whether it stands for its own customers."""
        return self.level == 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway and the inverter it speaks to."""

    name: str
    service_point: str
    process: str
    modbus_port: int
    uplinks: tuple[Uplink, ...]
    way: Way
    aggregator: str
    """Its aggregator, empty for none."""
    pin: int
    lfdi: Lfdi
    rating_w: float


def make_stations(
    hierarchy: Hierarchy,
    identify: Callable[[str], Lfdi],
    draw_pin: Callable[[], int],
    take_port: Callable[[], int],
    head_operator_port: int,
) -> Mapping[str, Station]:
    """Make the nodes that serve, from the top down, with their ways up."""
    found: dict[str, Station] = {}

    def add(name: str, level: int, party: str, *above: str, element: str = "") -> None:
        is_head = not any(station.level == 4 for station in found.values()) and level <= 4
        found[name] = Station(
            name=name,
            level=level,
            party=party,
            lfdi=identify(name),
            pin=draw_pin(),
            port=take_port(),
            operator_port=head_operator_port if is_head and head_operator_port else take_port(),
            listener_port=take_port() if above else 0,
            element=element,
            uplinks=tuple(Uplink(found[server], take_port()) for server in above if server),
        )

    market, utility = hierarchy.market, hierarchy.utility
    if market:
        add(market, 5, MARKET)
    if utility:
        add(utility, 4, UTILITY, *([market] if market else []))
    for substation in hierarchy.substation:
        add(substation.name, 4, UTILITY, utility, element=substation.element)
    for aggregator in hierarchy.aggregator:
        above = [utility] if utility else []
        add(aggregator.name, 3, aggregator.name, *above, *([market] if market and aggregator.market else []))
    return found


def servers_of(stations: Mapping[str, Station], enrolled: Enrolled) -> list[Station]:
    """Say at which stations a gateway is registered: all control points of its utility, its aggregator."""
    of_utility = [station for station in stations.values() if station.level == 4]
    servers = [] if enrolled.way is Way.AGGREGATOR else of_utility
    return servers + ([stations[enrolled.aggregator]] if enrolled.aggregator else [])
