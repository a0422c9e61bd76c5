"""What a party that has only market information may make of the DERs of this node: nothing, but for its grants."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.engine.access import Grants, Resource, ResourceKind, Verb, may
from tierline.engine.following.obey import OWNER
from tierline.engine.verdict import Deny
from tierline.model.errors import Unsupported
from tierline.model.parties import Principal, Role
from tierline.operations.serving.fleet_values import moved_w
from tierline.operations.serving.limits import allow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from tierline.engine.governor import Request
    from tierline.model.control import ControlGrant, FunctionName, Setpoints
    from tierline.model.identity import ChannelId, DerId, GroupId, Mrid, PartyId
    from tierline.operations.serving.members import Member
    from tierline.operations.serving.state import Serving
    from tierline.ports import Behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Who may want something of the DERs of this node."""

    me: Principal
    """The node, for the owner's standing limits."""
    parties: Mapping[ChannelId, PartyId]
    """Who speaks over which channel."""
    grants: tuple[ControlGrant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One event or default, and what is held because of it."""

    behind: Behind
    functions: tuple[FunctionName, ...]
    principal: Principal
    grant: ControlGrant | None = None
    """The one that allows least; None for what is this node's own."""
    granted_until: datetime | None = None


def functions_granted(grants: Iterable[ControlGrant], now: datetime) -> frozenset[FunctionName]:
    """Give the functions that somebody may use now."""
    return frozenset(name for grant in grants if now < grant.until for name in grant.functions)


def grant_for(
    grants: Iterable[ControlGrant], party: PartyId, function: FunctionName, now: datetime
) -> ControlGrant | None:
    """Find the grant by which a party may use a function now; of several the one that allows most."""
    found = [grant for grant in grants if grant.party == party and function in grant.functions and now < grant.until]
    return max(found, key=lambda grant: (grant.power_w, grant.until), default=None)


def sources_of(
    target: Setpoints, behind: Mapping[FunctionName, Behind], group_id: GroupId, claims: Claims, now: datetime
) -> list[Source]:
    """Say who wants what of a target, and by which grant.

    Raises: Unsupported for what nobody is known to want or was not granted; Forbidden.
    """
    by_source: dict[tuple[ChannelId, Mrid], list[FunctionName]] = {}
    for name in target:
        stands = behind.get(name)
        if stands is None:
            raise Unsupported(f"nobody is known who wants {name}, so nobody can have been granted it")
        by_source.setdefault((stands.channel, stands.mrid), []).append(name)
    return [_source(behind[names[0]], tuple(names), group_id, claims, now) for _, names in sorted(by_source.items())]


def allowed(
    serving: Serving,
    sources: Iterable[Source],
    target: Setpoints,
    held: Setpoints,
    members: Mapping[DerId, Member],
    *,
    counted: AbstractSet[Mrid] = frozenset(),
) -> dict[ChannelId, Request]:
    """Hold what would move against the grants and the governor; what is held already moves nothing.

    The events `counted` were held against the governor before, when they were told ahead.

    Raises: Unsupported for more than was granted; Forbidden for more than the governor lets through.
    """
    moved: dict[ChannelId, Decimal] = {}
    principals: dict[ChannelId, Principal] = {}
    for source in sources:
        new = [name for name in source.functions if held.get(name) != target[name]]
        if not new:
            continue
        power_w = max(moved_w(name, target[name], members.values()) for name in new)
        if source.grant is not None and power_w > source.grant.power_w:
            raise Unsupported(
                f"it would move up to {power_w:f} W; {source.grant.party} was granted {source.grant.power_w:f} W"
            )
        if source.behind.mrid in counted:
            continue
        channel = source.behind.channel
        principals[channel] = source.principal
        moved[channel] = max(power_w, moved.get(channel, Decimal(0)))
    ders = frozenset(members)
    return {channel: allow(principals[channel], serving, power_w, ders) for channel, power_w in moved.items()}


def principal_of(channel: ChannelId, party: PartyId) -> Principal:
    """Give the principal as which a server above acts here."""
    return Principal(party=party, role=Role.UPSTREAM, name=channel)


def _source(
    behind: Behind, names: tuple[FunctionName, ...], group_id: GroupId, claims: Claims, now: datetime
) -> Source:
    if behind.channel == OWNER:
        return Source(behind=behind, functions=names, principal=claims.me)
    party = claims.parties.get(behind.channel)
    if party is None:
        raise Unsupported(f"channel {behind.channel} is that of no party that could have a grant")
    grants = [(name, grant_for(claims.grants, party, name, now)) for name in names]
    lacking = [name for name, grant in grants if grant is None]
    held = [grant for _, grant in grants if grant is not None]
    principal = principal_of(behind.channel, party)
    scope = Grants() if lacking else Grants(groups=frozenset({group_id}))
    verdict = may(principal, Verb.CONTROL, Resource(kind=ResourceKind.GROUP, group=group_id), scope)
    if isinstance(verdict, Deny):
        raise Unsupported(f"{party} was not granted {', '.join(lacking)}; see [[grant]] ({verdict.reason})")
    return Source(
        behind=behind,
        functions=names,
        principal=principal,
        grant=min(held, key=lambda grant: grant.power_w),
        granted_until=min(grant.until for grant in held),
    )
