"""The DERs of a group as one device: what is asked of the fleet becomes controls of this node for its members.

Two rules. The fleet can do what somebody was granted, and nothing else; who asks is the principal, so access, governor and
audit hold for a market as for an operator. And what is told above is a sum over enough members, never one of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.engine.disaggregate import Policy, Share, Shared, Tuning, correct, share
from tierline.engine.privacy import Relation, may_see_sum
from tierline.engine.rollup import Freshness, roll_up
from tierline.model.capability import Firmness, Refusal
from tierline.model.control import Setpoints
from tierline.model.errors import ConfigError, Forbidden, LinkError, Unsupported
from tierline.model.identity import PartyId
from tierline.model.points import POINTS, DerType
from tierline.model.telemetry import Quality
from tierline.operations.serving.audit import entry
from tierline.operations.serving.deriving import Pace, derive, outlived
from tierline.operations.serving.fleet_orders import CARRIED, SET, SHARED_OUT, Orders, Telling, audited
from tierline.operations.serving.fleet_programs import FleetPrograms
from tierline.operations.serving.fleet_values import (
    estimates_w,
    quality,
    resolution_w,
    set_w,
)
from tierline.operations.serving.grants import Claims, allowed, functions_granted, principal_of, sources_of
from tierline.operations.serving.groups import OF_PARTY, create_group
from tierline.operations.serving.offers import check_offers
from tierline.operations.serving.topology import find_group
from tierline.operations.serving.wording import worded
from tierline.ports import Behind, Coming, DeviceFacts, ReadBack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from tierline.engine.governor import Request
    from tierline.engine.rollup import Figure
    from tierline.model.control import ControlGrant, FunctionName, Value
    from tierline.model.identity import ChannelId, DerId, GroupId, Mrid
    from tierline.model.parties import Principal
    from tierline.model.telemetry import Alarm, PointName
    from tierline.operations.serving.grants import Source
    from tierline.operations.serving.members import Member, Members
    from tierline.operations.serving.state import Serving

_SUMMED = ("max_w", "max_va", "max_var", "max_var_neg", "max_charge_rate_w", "max_discharge_rate_w", "max_wh")
"""Ratings and settings of which the fleet has the sum."""
_ZERO = Decimal(0)
_SETTLING = timedelta(seconds=30)
"""How long the power of a DER may take to follow a limit. Source: IEEE 1547-2018 4.6.2."""
_ABOUT = timedelta(minutes=1)
"""How long an event that begins may take to be applied."""
_KEPT = timedelta(days=1)
"""How long a derived control is kept after its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRules:
    """Whose fleet it is, and for whom."""

    group: str
    """The group of its members, by name, id or element of the grid; made when missing, of a party (`party:NAME`) or of all."""
    grants: tuple[ControlGrant, ...]
    parties: Mapping[ChannelId, PartyId]
    """Who speaks over which channel."""
    policy: Policy = Policy.RATING
    min_cell: int = 5
    """A sum over fewer measured members is not told."""
    poll: timedelta = timedelta(minutes=10)
    """How often members come for what they are told."""
    post: timedelta = timedelta(minutes=5)
    """How often they say what they do."""
    tolerance: Decimal = Decimal("0.01")
    """The part of a target by which the sum may miss it without a correction."""

    @property
    def settled_after(self) -> timedelta:
        """How long after a change every member does what it was told: it has come for it, and its power has settled."""
        return self.poll + _SETTLING

    @property
    def max_age(self) -> timedelta:
        """How old a measurement may be."""
        return 3 * self.post


class Fleet:
    """A device made of devices, as the ports `Southbound` and `Heeding`."""

    def __init__(self, serving: Serving, rules: FleetRules, members: Members, me: Principal) -> None:
        self._serving = serving
        self._rules = rules
        self._members = members
        self._me = me
        self._pace = Pace.of_poll(rules.poll)
        self._claims = Claims(me=me, parties=rules.parties, grants=rules.grants)
        self._lock = asyncio.Lock()
        self._target = Setpoints()
        self._behind: dict[FunctionName, Behind] = {}
        self._shared: Shared | None = None
        """How the active power that is set is shared out; None while none is."""
        self._shared_at: datetime | None = None
        self._facts: DeviceFacts | None = None
        self._changed: DeviceFacts | None = None
        self._in_doubt = False
        """Whether what is held may no longer be."""
        self._coming: tuple[Coming, ...] = ()
        self._is_told_ahead = False
        """Whether there may be controls of what comes."""
        self._counted: set[Mrid] = set()
        """Events that were held against the governor when they were told ahead."""
        self._shared_ahead: dict[Mrid, Shared] = {}
        """How what comes was shared out, so that it is the same when it begins."""
        self._quality: dict[PointName, Quality] = {}
        self._refused: Setpoints | None = None
        """What was refused last, so that it is written down once."""

    # --- the port ---------------------------------------------------------------------------------------------------

    async def discover(self) -> DeviceFacts:
        """Say what the members are together, and which functions are granted.

        Raises: LinkError when the store refuses.
        """
        async with self._lock:
            group_id = await self._group()
            self._facts = self._described(group_id)
            return self._facts

    async def apply(
        self,
        target: Setpoints,
        *,
        ramp_time_s: Decimal | None = None,
        behind: Mapping[FunctionName, Behind] | None = None,
    ) -> ReadBack:
        """Make the members hold `target` together; what is absent is released.

        An event of which something is not granted, or that is more than is granted or the governor allows, is refused in the
        answer and nothing of it is changed; what others want goes on.
        Raises: Unsupported for a ramp time; LinkError when the store refuses.
        """
        if ramp_time_s is not None:
            raise Unsupported(f"a fleet keeps to no ramp time; {ramp_time_s} s cannot be kept to")
        async with self._lock:
            group_id = await self._group()
            members = self._of(group_id)
            held = self._target
            wanted, stands = target, {name: one for name, one in (behind or {}).items() if name in target}
            accepted = target
            refused: dict[FunctionName, Refusal] = {}
            try:
                sources, requests = self._asked_for(wanted, stands, group_id, members)
            except (Forbidden, Unsupported):
                accepted, refused = self._sorted_out(target, stands, group_id, members)
                gone = {name: one for name, one in stands.items() if name in refused}
                await self._refuse(group_id, target, gone, "; ".join(dict.fromkeys(r.reason for r in refused.values())))
                mrids = {one.mrid for one in gone.values()}
                self._coming = tuple(one for one in self._coming if one.mrid not in mrids)
                kept, stood = self._still(target, gone, group_id)
                wanted = Setpoints.of({**kept, **accepted})
                stands = stood | {name: stands[name] for name in accepted}
                sources = self._sources(wanted, stands, group_id)
                _, requests = self._asked_for(accepted, {name: stands[name] for name in accepted}, group_id, members)
            is_new = set_w(wanted, members.values()) is not None and not _alike(held, wanted)
            self._target, self._behind = wanted, stands
            try:
                self._share_anew(members, is_new=is_new)
                writes = await self._write(group_id, members, sources, requests, "derived")
            except LinkError:
                self._target = held  # so that all of it is new when it is tried again
                raise
            if not refused:
                self._refused = None
            return ReadBack(setpoints=accepted, writes=writes, refused=refused)

    def _asked_for(
        self,
        target: Setpoints,
        stands: Mapping[FunctionName, Behind],
        group_id: GroupId,
        members: Mapping[DerId, Member],
    ) -> tuple[list[Source], dict[ChannelId, Request]]:
        """Say who wants what of a target, and what of it the governor counts.

        Raises: Unsupported, Forbidden for what may not be.
        """
        sources = self._sources(target, stands, group_id)
        self._check_offers(target, members)
        return sources, allowed(self._serving, sources, target, self._target, members, counted=self._counted)

    def _sorted_out(
        self,
        target: Setpoints,
        stands: Mapping[FunctionName, Behind],
        group_id: GroupId,
        members: Mapping[DerId, Member],
    ) -> tuple[Setpoints, dict[FunctionName, Refusal]]:
        """Tell what of a target may be from what may not, event by event: one that may not be changes nothing of the others."""
        by_source: dict[tuple[str, ...], list[FunctionName]] = {}
        for name in target:
            one = stands.get(name)
            by_source.setdefault((name,) if one is None else (one.channel, one.mrid), []).append(name)
        accepted: dict[FunctionName, Value] = {}
        refused: dict[FunctionName, Refusal] = {}
        for _, names in sorted(by_source.items()):
            tried = Setpoints.of({**accepted, **{name: target[name] for name in names}})
            try:
                self._asked_for(tried, {name: one for name, one in stands.items() if name in tried}, group_id, members)
            except (Forbidden, Unsupported) as error:
                # A grant or an offer that is missing says something of what is wanted; the governor only of this hour.
                firmness = Firmness.NEVER if isinstance(error, Unsupported) else Firmness.DECLINED
                refused |= dict.fromkeys(names, Refusal(reason=str(error), firmness=firmness))
            else:
                accepted = dict(tried)
        return Setpoints.of(accepted), refused

    def _still(
        self, target: Setpoints, stands: Mapping[FunctionName, Behind], group_id: GroupId
    ) -> tuple[Setpoints, dict[FunctionName, Behind]]:
        """Give what of the held target goes on beside one that was refused: what is still wanted and granted."""
        kept: dict[FunctionName, Value] = {}
        for name, value in self._target.items():
            if _is_same(name, self._target, target, self._behind, stands):
                try:
                    self._sources(Setpoints.of({name: value}), self._behind, group_id)
                except (Forbidden, Unsupported):
                    continue
                kept[name] = value
        return Setpoints.of(kept), {name: self._behind[name] for name in kept}

    def heed(self, behind: Mapping[FunctionName, Behind], coming: Sequence[Coming] = ()) -> None:
        """Take over who stands behind each function now, and what comes; `measure` makes of it what is due."""
        self._behind |= {name: stands for name, stands in behind.items() if name in self._target}
        now = self._serving.clock.now()
        # What has just begun is about to be applied; until then it is not let go.
        begun = [one for one in self._coming if one.starts_at <= now < one.starts_at + _ABOUT]
        self._coming = (*coming, *begun)

    def quality_of(self, point: PointName) -> Quality:
        """Say what is to be thought of a sum that `measure` gave last."""
        return self._quality.get(point, Quality.VALID)

    def changed(self) -> DeviceFacts | None:
        """Give what the fleet is now, once, when its members, their ratings or the grants have changed."""
        found, self._changed = self._changed, None
        return found

    async def measure(self) -> tuple[Sequence[tuple[str, int, int, int]], Sequence[Alarm]]:
        """Sum up what enough members measure; then keep the controls in force going, and correct the shares.

        Raises: LinkError when the store refuses.
        """
        async with self._lock:
            group_id = await self._group()
            members = self._of(group_id)
            now = self._serving.clock.now()
            figures = {point: self._figure(point, members, now) for point in ("w", "var")}
            await self._keep(group_id, members, figures["w"], now)
            if self._facts is not None and ((found := self._described(group_id)) != self._facts or self._in_doubt):
                self._facts = self._changed = found
                self._in_doubt = False
            return self._told(figures, members, now), []

    async def close(self) -> None:
        """Leave the members as they are: what they were told has an end."""

    def _told(
        self, figures: Mapping[PointName, Figure], members: Mapping[DerId, Member], now: datetime
    ) -> list[tuple[str, int, int, int]]:
        """Give what may be told above: sums over enough members, each with its quality kept for `quality_of`."""
        relation = Relation.GRANTED if functions_granted(self._rules.grants, now) else Relation.NONE

        def may_tell(point: PointName, count: int) -> bool:
            return may_see_sum(POINTS[point].label, relation, members=count, min_cell=self._rules.min_cell)

        told = {
            point: figure.total
            for point, figure in figures.items()
            if figure.total is not None and may_tell(point, figure.measured)
        }
        self._quality = {point: quality(figures[point]) for point in told}
        known = [member for member in members.values() if member.measured_w is not None]
        available = [member.available_w for member in known if member.available_w is not None]
        # What a part of those that are heard could do says nothing of the fleet.
        if available and len(available) == len(known) and may_tell("stat_w_avail", len(available)):
            told["stat_w_avail"] = float(sum(available, _ZERO))
        return [(point, 0, round(total), 0) for point, total in told.items()]

    # --- who and what -----------------------------------------------------------------------------------------------

    async def _group(self) -> GroupId:
        try:
            return find_group(self._serving, self._rules.group).group.id
        except ConfigError:
            name = self._rules.group
            party = PartyId(name.removeprefix(OF_PARTY)) if name.startswith(OF_PARTY) else None
            record = await create_group(
                self._me, self._serving, name if party is None else str(party), everybody=party is None, party=party
            )
            return record.group.id

    def _of(self, group_id: GroupId) -> dict[DerId, Member]:
        return self._members.of(group_id, self._serving.clock.now(), self._rules.max_age)

    def _described(self, group_id: GroupId) -> DeviceFacts:
        members = self._of(group_id).values()
        nameplate: dict[str, Decimal | int] = {"der_type": DerType.VIRTUAL, "rtg_max_w": _ZERO}
        settings: dict[str, Decimal | int] = {"set_max_w": _ZERO}
        for name in _SUMMED:
            for prefix, other, summed in (("rtg", "set", nameplate), ("set", "rtg", settings)):
                values = [
                    member.values.get(f"{prefix}_{name}", member.values.get(f"{other}_{name}")) for member in members
                ]
                if known := [value for value in values if value is not None]:
                    summed[f"{prefix}_{name}"] = sum(known, _ZERO)
        granted = functions_granted(self._rules.grants, self._serving.clock.now()) & CARRIED
        is_able = settings["set_max_w"] > 0
        return DeviceFacts(
            manufacturer="tierline",
            model="fleet",
            serial=group_id,
            version="1",
            nameplate=nameplate,
            settings=settings,
            functions=granted if is_able else frozenset(),
        )

    def _sources(self, target: Setpoints, behind: Mapping[FunctionName, Behind], group_id: GroupId) -> list[Source]:
        """Say who wants what, and by which grant.

        Raises: Unsupported, Forbidden.
        """
        unknown = sorted(set(target) - CARRIED)
        if unknown:
            raise Unsupported(f"a fleet cannot carry out {', '.join(unknown)}")
        return sources_of(target, behind, group_id, self._claims, self._serving.clock.now())

    def _check_offers(self, wanted: Setpoints, members: Mapping[DerId, Member]) -> None:
        """Refuse a total that is to be shared out by price while a member has made no offer.

        Raises: Unsupported.
        """
        if self._rules.policy is Policy.PRICE and SHARED_OUT & set(wanted):
            check_offers(self._serving, members.values())

    # --- how much ---------------------------------------------------------------------------------------------------

    def _share_anew(self, members: Mapping[DerId, Member], *, is_new: bool) -> None:
        total_w = set_w(self._target, members.values())
        if total_w is None:
            self._shared = None
            return
        last = None if is_new else self._shared
        stands = next((self._behind[name] for name in SET if name in self._behind), None)
        ahead = None if stands is None else self._shared_ahead.pop(stands.mrid, None)
        if last is None and ahead is not None and ahead.total_w + ahead.rest_w == total_w:
            last = ahead
        if last is None:
            step = resolution_w(members.values())
            self._shared = share(total_w, _shares(members), self._rules.policy, resolution_w=step)
        else:
            self._shared = self._corrected(total_w, total_w, last, members)
        if is_new or self._shared is not last:
            self._shared_at = self._serving.clock.now()

    def _corrected(
        self, total_w: Decimal, measured_w: Decimal, last: Shared, members: Mapping[DerId, Member]
    ) -> Shared:
        """Give the shares that follow the last ones: those themselves while nothing speaks against them."""
        step = resolution_w(members.values())
        # At least what rounding may leave is left alone.
        tuning = Tuning(dead_band_w=max(abs(total_w) * self._rules.tolerance, len(members) * step))
        return correct(total_w, measured_w, last, _shares(members), self._rules.policy, tuning, resolution_w=step)

    async def _keep(self, group_id: GroupId, members: Mapping[DerId, Member], figure: Figure, now: datetime) -> None:
        """Renew what is about to end, follow who came and went, and correct the shares when they miss the target.

        What is no longer granted is left to end, and to be decided again. Raises: LinkError.
        """
        if not len(self._target) and not self._coming and not self._is_told_ahead:
            return
        try:
            sources = self._sources(self._target, self._behind, group_id)
        except (Unsupported, Forbidden):
            self._in_doubt = True
            return
        total_w = set_w(self._target, members.values())
        verb = "kept"
        if total_w is not None and self._shared is not None and self._shared_at is not None:
            # What was measured before all could follow says nothing of these shares, however late it arrives.
            is_settled = figure.oldest is not None and figure.oldest - self._shared_at >= self._rules.settled_after
            is_measured = figure.measured > 0 and figure.total is not None
            measured_w = Decimal(round(figure.total or 0.0)) if is_settled and is_measured else total_w
            corrected = self._corrected(total_w, measured_w, self._shared, members)
            if corrected is not self._shared:
                self._shared, self._shared_at, verb = corrected, now, "corrected"
        await self._write(group_id, members, sources, {}, verb)

    # --- what is written --------------------------------------------------------------------------------------------

    async def _write(
        self,
        group_id: GroupId,
        members: Mapping[DerId, Member],
        sources: Sequence[Source],
        requests: Mapping[ChannelId, Request],
        outcome: str,
    ) -> int:
        """Bring the controls of the fleet's programs in line with the target; gives how many were written.

        Raises: LinkError.
        """
        programs = FleetPrograms(self._serving, group_id)
        now = self._serving.clock.now()
        orders = Orders(self._target, self._shared, members, self._rules.policy)
        ahead = self._ahead(group_id, members, now)
        wanted = set(self._target).union(*(later.target for later, *_ in ahead))
        await programs.make(members if SHARED_OUT & wanted else (), in_common=bool(wanted))
        async with self._serving.writing:
            wishes = [wish for source in sources for wish in orders.wishes(source, programs)]
            wishes += [wish for later, source, _ in ahead for wish in later.wishes(source, programs)]
            self._is_told_ahead |= bool(ahead)
            derived = derive(self._serving, programs.all(), wishes, now, self._pace)
            if not derived.records:
                self._is_told_ahead = bool(ahead)
                return 0
            old = outlived(self._serving, programs.all(), now - _KEPT)
            told = Telling(f"fleet {group_id}", outcome, self._me)
            made = {record.control.provenance.derived_from for record in derived.made if record.control.provenance}
            details = orders.details(sources, requests)
            moved = list(requests.values())
            for later, source, asked in ahead:
                is_first = source.behind.mrid in made and source.behind.mrid not in self._counted
                details += later.details([source], asked if is_first else {})
                moved += asked.values() if is_first else ()
            audit = audited(self._serving, derived, details, told)
            await self._serving.commit([*derived.records, *audit], old)
            self._counted |= {source.behind.mrid for _, source, _ in ahead} & made
            self._serving.granted.extend(moved)
        return len(derived.records)

    def _ahead(
        self, group_id: GroupId, members: Mapping[DerId, Member], now: datetime
    ) -> list[tuple[Orders, Source, Mapping[ChannelId, Request]]]:
        """Give what members must be told now, because they come again only after it has begun: so it begins in time."""
        held = {stands.mrid for stands in self._behind.values()}
        found: list[tuple[Orders, Source, Mapping[ChannelId, Request]]] = []
        for one in self._coming:
            if one.mrid in held or one.starts_at - now > 2 * self._rules.poll or self._stands_in_the_way(one):
                continue
            stands = Behind(channel=one.channel, mrid=one.mrid, until=one.ends_at)
            try:
                (source,) = self._sources(one.setpoints, dict.fromkeys(one.setpoints, stands), group_id)
                self._check_offers(one.setpoints, members)
                asked = allowed(self._serving, [source], one.setpoints, self._target, members, counted=self._counted)
            except (Unsupported, Forbidden):
                continue  # it is refused, and that is written down, when it begins
            if source.granted_until is not None and source.granted_until <= one.starts_at:
                continue
            total_w, shared = set_w(one.setpoints, members.values()), None
            if total_w is not None:
                last = self._shared_ahead.get(one.mrid)
                if last is None:
                    step = resolution_w(members.values())
                    shared = share(total_w, _shares(members), self._rules.policy, resolution_w=step)
                else:
                    shared = self._corrected(total_w, total_w, last, members)
                self._shared_ahead[one.mrid] = shared
            found.append((Orders(one.setpoints, shared, members, self._rules.policy, one.starts_at), source, asked))
        known = held | {one.mrid for one in self._coming}
        self._counted &= known
        self._shared_ahead = {mrid: shared for mrid, shared in self._shared_ahead.items() if mrid in known}
        return found

    def _stands_in_the_way(self, one: Coming) -> bool:
        """Tell whether something else is wanted of the same when it begins: then it is decided at that time, not ahead."""
        lanes = _lanes(one.setpoints)
        held = [
            stands
            for name, stands in self._behind.items()
            if lanes & _lanes([name]) and (stands.until is None or stands.until > one.starts_at)
        ]
        others = [
            other
            for other in self._coming
            if other.mrid != one.mrid
            and lanes & _lanes(other.setpoints)
            and max(one.starts_at, other.starts_at) < min(one.ends_at, other.ends_at)
        ]
        return bool(held or others)

    async def _refuse(
        self, group_id: GroupId, target: Setpoints, behind: Mapping[FunctionName, Behind], why: str
    ) -> None:
        """Write down once that a target was refused.

        Raises: LinkError.
        """
        if self._refused == target:
            return
        speaking = ((one.channel, self._rules.parties.get(one.channel)) for one in behind.values())
        principal = next((principal_of(channel, party) for channel, party in speaking if party is not None), self._me)
        detail = {
            "setpoints": worded(target),
            "why": why,
            "parents": sorted({stands.mrid for stands in behind.values()}),
        }
        async with self._serving.writing:
            await self._serving.commit(
                [entry(principal, self._serving, "control", f"fleet {group_id}", "refused", detail)]
            )
        self._refused = target

    def _figure(self, point: PointName, members: Mapping[DerId, Member], now: datetime) -> Figure:
        readings = {
            der_id: reading for der_id in members if (reading := self._members.reading(der_id, point)) is not None
        }
        told = None if self._shared is None else self._shared.watts
        estimates = estimates_w(members.values(), told) if point == "w" else {}
        return roll_up(point, members, readings, now, Freshness(max_age=self._rules.max_age), estimates.get)


def _shares(members: Mapping[DerId, Member]) -> list[Share]:
    return [member.share() for member in members.values() if member.can_be_set]


def _lanes(names: Iterable[FunctionName]) -> set[str]:
    """Give what functions come to at a member: it has one set point and one limit of active power."""
    return {"set" if name in SET else "limit" if name in {"gen_lim_w", "max_lim_w_pct"} else name for name in names}


def _is_same(
    name: FunctionName,
    held: Setpoints,
    target: Setpoints,
    stood: Mapping[FunctionName, Behind],
    stands: Mapping[FunctionName, Behind],
) -> bool:
    """Tell whether a function is still wanted as it is held, by the same."""
    if target.get(name) != held[name] or name not in stands or name not in stood:
        return False
    return (stands[name].channel, stands[name].mrid) == (stood[name].channel, stood[name].mrid)


def _alike(held: Setpoints, wanted: Setpoints) -> bool:
    return all(held.get(name) == wanted.get(name) for name in ("target_w", "fixed_w_pct"))
