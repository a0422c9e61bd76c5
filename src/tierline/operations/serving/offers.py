"""What each DER asks for what it delivers, as agreed by contract: the source of the policy that uses the cheapest first.

One rule: an offer ranks the members of a fleet that somebody moves under a grant. It moves nothing by itself, and the prices
that a node publishes or reads are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from tierline.model.identity import DerId
    from tierline.operations.serving.members import Member, Offer
    from tierline.operations.serving.state import Serving

_NAMED = 3
"""How many of those without an offer a message names."""


def offer_of(serving: Serving, offers: Mapping[str, Decimal]) -> Offer:
    """Make the look-up of offers given by service point or by group, by name, id or element of the grid; a DER's own comes before those of its groups.

    Of several groups with an offer the cheapest counts. Units: any one currency per kWh.
    """

    def offer(der_id: DerId) -> Decimal | None:
        own = offers.get(serving.devices[der_id].service_point)
        if own is not None:
            return own
        groups = (serving.groups[group_id].group for group_id in serving.groups_of.get(der_id, ()))
        names = (name for group in groups for name in (group.name, group.id, group.element))
        return min((offers[name] for name in names if name is not None and name in offers), default=None)

    return offer


def check_offers(serving: Serving, members: Iterable[Member]) -> None:
    """Refuse to rank members by what they ask while some of them ask nothing known.

    Raises: Unsupported.
    """
    silent = [one.der_id for one in members if one.can_be_set and one.price is None]
    if silent:
        names = sorted(serving.devices[der_id].service_point or der_id for der_id in silent)
        more = "" if len(names) <= _NAMED else f" and {len(names) - _NAMED} more"
        raise Unsupported(
            f'policy "price" needs an offer of every member; {", ".join(names[:_NAMED])}{more} made none: '
            "name service point or group in [fleet.offers]"
        )
