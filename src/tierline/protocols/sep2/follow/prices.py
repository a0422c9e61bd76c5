"""The walk of tariffs: a list of them, and one tariff with the prices that are not over.

Apart from the walk of programs, which no price may hold up. A peer makes us keep no more than `MOST_TARIFFS` tariffs with
`MOST_PRICES` prices each, the next ones first. What says more than this node keeps is refused, and nothing else with it. A
server may price both flows of energy in one tariff, and give every day a rate component: here each flow is a tariff.

Source: IEEE 2030.5-2018, Pricing function set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from tierline.model.errors import Forbidden, PeerError, Unsupported
from tierline.model.records import Flow
from tierline.protocols.sep2.client import get, read_list, same_origin
from tierline.protocols.sep2.follow.fleet import Watched
from tierline.protocols.sep2.mapping.tariffs import read_price, read_tariff, received_mrid
from tierline.protocols.sep2.resources import der, metering, objects, pricing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierline.model.identity import Mrid
    from tierline.model.prices import Price, Tariff
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.follow.walk import Entry
    from tierline.protocols.sep2.resources.rows import Value

MOST_TARIFFS = 50
"""A site has a handful of tariffs; a party that stands for many has one for each kind of contract."""

MOST_PRICES = 600
"""Of one tariff, at once: two days of five minutes, six of quarters of an hour."""

_COMPONENTS = 200
"""Some servers have one for each day and flow."""

_CONDITIONLESS = frozenset({1, 3})
"""SubscribableType: without conditions, with and without. Source: IEEE 2030.5-2018, SubscribableType."""


@dataclass(frozen=True, slots=True)
class Costed:
    """What an interval was found to cost, or why it is not kept."""

    said: pricing.TimeTariffInterval
    """The interval without its status; while that is the same, its price is."""
    costs: tuple[pricing.ConsumptionTariffInterval, ...] = ()
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What need not be asked for at every poll: how a tariff counts, and what its intervals cost."""

    profile: pricing.TariffProfile
    """As it was listed then; a component that comes or goes changes the count in its link."""
    parts: tuple[tuple[Tariff, tuple[str, ...]], ...]
    """A tariff without its prices for each flow that can be kept, and where its intervals are listed."""
    refused: Mapping[str, str]
    """Components that cannot be kept, and why."""
    costs: Mapping[tuple[Mrid, Mrid], Costed] = field(default_factory=dict)
    """By tariff and interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffList:
    """One TariffProfileList."""

    tariffs: tuple[pricing.TariffProfile, ...]
    poll_s: int | None
    watched: Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffRead:
    """One tariff."""

    tariffs: tuple[Tariff, ...]
    """One for each flow; none where it cannot be kept."""
    known: Known
    watched: tuple[Watched, ...]
    """Its lists of intervals."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """What of it cannot be kept, and why."""


def read_tariff_list(entry: Entry, href: str) -> Steps[TariffList]:
    """Read which tariffs a list has.

    Raises: Forbidden, LinkError, PeerError.
    """
    listed = yield from read_list(objects.Link(href=href), pricing.TariffProfileList, MOST_TARIFFS)
    return TariffList(
        tariffs=tuple(item for item in listed.items if isinstance(item, pricing.TariffProfile)),
        poll_s=listed.poll_s,
        watched=Watched(same_origin(href, entry.server), listed.subscribable in _CONDITIONLESS),
    )


def read_prices(entry: Entry, profile: pricing.TariffProfile, known: Known | None, time: int) -> Steps[TariffRead]:
    """Read one tariff with its prices that are not over; what is known is not asked for again.

    Units: time in seconds since 1970, of the server.
    Raises: Forbidden, LinkError, PeerError.
    """
    if known is None or known.profile != profile:
        known = yield from _resolve(profile, {} if known is None else known.costs)
    tariffs: list[Tariff] = []
    watched: list[Watched] = []
    costs: dict[tuple[Mrid, Mrid], Costed] = {}
    refused = dict(known.refused)
    for tariff, hrefs in known.parts:
        items: list[Value] = []
        for href in hrefs:
            listed = yield from read_list(objects.Link(href=href), pricing.TimeTariffIntervalList)
            watched.append(Watched(same_origin(href, entry.server), listed.subscribable in _CONDITIONLESS))
            items += listed.items
        prices: list[Price] = []
        for interval in _next(items, time):
            said = _without_status(interval)
            one = known.costs.get((tariff.mrid, interval.mrid))
            if one is None or one.said != said:
                one = yield from _cost(said)
            costs[tariff.mrid, interval.mrid] = one
            try:
                prices.append(read_price(interval, one.costs))
            except (PeerError, Unsupported) as error:
                # Of many that cannot be kept the first tells enough.
                refused.setdefault(f"a price of tariff {tariff.mrid}", one.why_not or str(error))
        tariffs.append(replace(tariff, prices=tuple(prices)))
    return TariffRead(
        tariffs=tuple(tariffs), known=replace(known, costs=costs), watched=tuple(watched), refused=refused
    )


def _resolve(profile: pricing.TariffProfile, costs: Mapping[tuple[Mrid, Mrid], Costed]) -> Steps[Known]:
    """Find the components that can be kept: of each flow those that count as its first does."""
    listed = yield from read_list(profile.rate_component_list_link, pricing.RateComponentList, _COMPONENTS)
    components = [item for item in listed.items if isinstance(item, pricing.RateComponent)]
    units: dict[str, metering.ReadingType] = {}
    refused: dict[str, str] = {} if components else {f"tariff {profile.mrid}": "it has no rate component"}
    parts: dict[Flow, tuple[Tariff, tuple[str, ...]]] = {}
    for component in components:
        at = component.reading_type_link.href
        if at not in units:
            units[at] = yield from get(at, metering.ReadingType)
        try:
            tariff = read_tariff(profile, component, units[at])
        except Unsupported as error:
            refused.setdefault(f"a rate component of tariff {profile.mrid}", str(error))
            continue
        first, hrefs = parts.get(tariff.flow, (tariff, ()))
        if first.price_power_of_ten == tariff.price_power_of_ten:
            parts[tariff.flow] = first, (*hrefs, component.time_tariff_interval_list_link.href)
        else:
            refused.setdefault(
                f"a rate component of tariff {profile.mrid}", "it counts in other steps than the first of its flow"
            )
    if len(parts) > 1:
        first, hrefs = parts[Flow.RECEIVED]
        parts[Flow.RECEIVED] = replace(first, mrid=received_mrid(profile.mrid)), hrefs
    return Known(profile=profile, parts=tuple(parts.values()), refused=refused, costs=costs)


def _next(items: Iterable[Value], time: int) -> list[pricing.TimeTariffInterval]:
    """Give the intervals that are not over, each once, the next ones first; no more than are kept."""
    found: dict[Mrid, pricing.TimeTariffInterval] = {}
    for item in items:
        if isinstance(item, pricing.TimeTariffInterval) and item.interval.start + item.interval.duration > time:
            found.setdefault(item.mrid, item)
    return sorted(found.values(), key=lambda item: (item.interval.start, item.mrid))[:MOST_PRICES]


def _cost(said: pricing.TimeTariffInterval) -> Steps[Costed]:
    """Read what an interval costs; one that cannot be had spoils no other.

    Raises: LinkError.
    """
    link = said.consumption_tariff_interval_list_link
    try:
        listed = yield from read_list(
            None if link is None else objects.Link(href=link.href), pricing.ConsumptionTariffIntervalList
        )
    except (Forbidden, PeerError):
        # Without where: it is told once, however many there are.
        return Costed(said, why_not="what it costs cannot be read")
    costs = tuple(item for item in listed.items if isinstance(item, pricing.ConsumptionTariffInterval))
    return Costed(said, costs[:2])


_NO_STATUS = der.EventStatus(current_status=0, date_time=0, potentially_superseded=False)


def _without_status(interval: pricing.TimeTariffInterval) -> pricing.TimeTariffInterval:
    """Take out what changes of an interval while its price does not."""
    return msgspec.structs.replace(interval, event_status=_NO_STATUS)
