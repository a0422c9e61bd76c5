"""What a party that has only market information may make of the DERs of this node: nothing, but for its grants."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tierline.model.control import ControlGrant, FunctionName
    from tierline.model.identity import PartyId


def functions_granted(grants: Iterable[ControlGrant], now: datetime) -> frozenset[FunctionName]:
    """Give the functions that somebody may use now."""
    return frozenset(name for grant in grants if now < grant.until for name in grant.functions)


def grant_for(
    grants: Iterable[ControlGrant], party: PartyId, function: FunctionName, now: datetime
) -> ControlGrant | None:
    """Find the grant by which a party may use a function now; of several the one that allows most."""
    found = [grant for grant in grants if grant.party == party and function in grant.functions and now < grant.until]
    return max(found, key=lambda grant: (grant.power_w, grant.until), default=None)
