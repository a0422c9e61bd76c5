"""What a serving node holds in memory: a mirror of its records, rebuilt from the store at start.

Two rules. Nothing is changed here before the store has it (`Serving.commit`). Every change raises the version of the shards
it touches, so that a rendered answer is valid exactly as long as its shard's version.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.engine.connectivity import normal_positions
from tierline.model.errors import LinkError
from tierline.model.identity import DerId, GroupId, sfdi_of
from tierline.model.records import (
    AuditRecord,
    BufferedReadingRecord,
    ControlRecord,
    CurveRecord,
    DefaultRecord,
    DerInfoKind,
    DerInfoRecord,
    EndDeviceRecord,
    GroupRecord,
    IdentityRecord,
    KnownRecord,
    MembershipRecord,
    MirrorUsagePointRecord,
    NoticeRecord,
    OutboxRecord,
    PriceRecord,
    ProgramRecord,
    ReadingRecord,
    ResponseRecord,
    SubscriptionRecord,
    SwitchRecord,
    TariffRecord,
    TokenRecord,
)
from tierline.operations.serving.standing import Standing
from tierline.operations.serving.tails import Tails

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from tierline.engine.governor import Budget, Request
    from tierline.model.control import Setpoints
    from tierline.model.identity import Lfdi, Mrid, PartyId, Sfdi
    from tierline.model.programs import ResponseStatus
    from tierline.model.records import Record
    from tierline.model.topology import Grid
    from tierline.ports import Clock, Random, Store


Carrier = Callable[["Setpoints", "Decimal | None"], str]
"""Says why a south face cannot carry setpoints with a ramp time in seconds; empty when it can."""

Lacking = Callable[[bytes, "Iterable[str]"], tuple[str, ...]]
"""Says which of some functions a DER lacks by the capability it put, as it was received."""

Consequence = Callable[["Sequence[Record]", "Sequence[Record]"], "Iterable[Record]"]
"""Says what else must become durable together with what is put and deleted: notices, Responses and readings to hand on."""

Observer = Callable[["Sequence[Record]", "Sequence[Record]"], None]
"""Is told what was put and deleted, once it is durable and taken over; neither waits nor fails."""


NOT_OF_SERVING = (OutboxRecord, BufferedReadingRecord, KnownRecord)
"""What a relay keeps for itself and the way up: written with a change of this half, held by the other."""


@dataclass(slots=True)
class Served:
    """One program with all that hangs on it."""

    record: ProgramRecord
    controls: dict[Mrid, ControlRecord] = field(default_factory=dict)
    default: DefaultRecord | None = None
    curves: dict[Mrid, CurveRecord] = field(default_factory=dict)


@dataclass(slots=True)
class Serving:
    """The serving half of a node."""

    party: PartyId
    """Whose node this is; the party of every record it makes."""
    store: Store
    clock: Clock
    random: Random
    pen: int
    """Private enterprise number in the mRIDs this node makes."""
    grid: Grid | None = None
    control_points: dict[str, PartyId] = field(default_factory=dict)
    """Elements of the grid that a party serves in this node's stead; given before anything is loaded."""
    devices: dict[DerId, EndDeviceRecord] = field(default_factory=dict)
    identities: dict[Lfdi, IdentityRecord] = field(default_factory=dict)
    lfdi_of: dict[DerId, Lfdi] = field(default_factory=dict)
    """The LFDI now valid of each DER that has one."""
    lfdi_of_sfdi: dict[Sfdi, Lfdi] = field(default_factory=dict)
    """Whose an SFDI is or was last."""
    standing: Standing = field(default_factory=Standing)
    """Who stands for which DER."""
    groups: dict[GroupId, GroupRecord] = field(default_factory=dict)
    memberships: dict[tuple[DerId, GroupId], MembershipRecord] = field(default_factory=dict)
    """Those that hold now."""
    left: dict[tuple[DerId, GroupId], datetime] = field(default_factory=dict)
    """When those that held once ended last, as it was written down."""
    groups_of: dict[DerId, set[GroupId]] = field(default_factory=lambda: defaultdict(set))
    members_of: dict[GroupId, set[DerId]] = field(default_factory=lambda: defaultdict(set))
    programs: dict[Mrid, Served] = field(default_factory=dict)
    programs_of: dict[GroupId, list[Mrid]] = field(default_factory=lambda: defaultdict(list))
    program_of_control: dict[Mrid, Mrid] = field(default_factory=dict)
    program_of_curve: dict[Mrid, Mrid] = field(default_factory=dict)
    responses: dict[Mrid, dict[tuple[DerId, ResponseStatus], ResponseRecord]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    arriving: dict[tuple[Mrid, DerId, ResponseStatus], asyncio.Event] = field(default_factory=dict)
    """Responses that are being written down: a repetition that overtakes the commit waits for it."""
    infos: dict[tuple[DerId, DerInfoKind], DerInfoRecord] = field(default_factory=dict)
    responses_of: dict[DerId, dict[tuple[Mrid, ResponseStatus], ResponseRecord]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    mirrors: dict[str, MirrorUsagePointRecord] = field(default_factory=dict)
    """By mup_id."""
    mirrors_of: dict[DerId, dict[str, MirrorUsagePointRecord]] = field(default_factory=lambda: defaultdict(dict))
    mirror_of: dict[Mrid, MirrorUsagePointRecord] = field(default_factory=dict)
    mirror_claims: dict[Mrid, tuple[DerId, str]] = field(default_factory=dict)
    """Whose a MirrorUsagePoint is and its mup_id, from before it is durable."""
    latest: dict[tuple[DerId, str, int], ReadingRecord] = field(default_factory=dict)
    """The newest reading by DER, point and phase."""
    tails: Tails = field(default_factory=Tails)
    """The last readings of every series."""
    switches: dict[int, bool] = field(default_factory=dict)
    """Confirmed positions that differ from, or confirm, the normal ones."""
    last_seen: dict[DerId, float] = field(default_factory=dict)
    """Civil epoch seconds of the last request of each DER; not kept across restarts."""
    audit_tail: AuditRecord | None = None
    trouble: str = ""
    """Why the store refused the last change; empty while it takes them."""
    secrets: Random | None = None
    """Where access tokens come from when `random` is seeded and so can be guessed."""
    budget: Budget = ()
    """How much may be moved at once."""
    granted: list[Request] = field(default_factory=list)
    """What was moved within the longest window of the budget."""
    tokens: dict[str, TokenRecord] = field(default_factory=dict)
    """Access tokens of operators by name, revoked ones included."""
    carriers: list[Carrier] = field(default_factory=list)
    """One for each south face."""
    lacking: Lacking | None = None
    """Given by the south face that knows the form of what DERs put."""
    consequences: list[Consequence] = field(default_factory=list)
    """Asked before every change, each once, about what the caller changes."""
    observers: list[Observer] = field(default_factory=list)
    """Told after every change, each once."""
    subscriptions: dict[str, SubscriptionRecord] = field(default_factory=dict)
    """By subscription_id."""
    subscriptions_of: dict[DerId, dict[str, SubscriptionRecord]] = field(default_factory=lambda: defaultdict(dict))
    notices: dict[str, NoticeRecord] = field(default_factory=dict)
    """Notices still to be sent, by subscription_id."""
    tariffs: dict[Mrid, TariffRecord] = field(default_factory=dict)
    prices: dict[Mrid, dict[Mrid, PriceRecord]] = field(default_factory=lambda: defaultdict(dict))
    """By tariff and mRID."""
    versions: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    """Transactions since this node started."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by use cases that compute a change from the state and commit it: operator actions and topology."""

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Write durably, then take over into memory.

        Raises: LinkError when the store refuses; nothing changed then.
        """
        following = [record for consequence in self.consequences for record in consequence(put, delete)]
        put = [*put, *following]
        try:
            await self.store.commit(put, delete)
        except LinkError as error:
            self.trouble = str(error)
            raise
        self.trouble = ""
        self.commits += 1
        for record in put:
            if not isinstance(record, NOT_OF_SERVING):
                self._take(record)
        for record in delete:
            if not isinstance(record, NOT_OF_SERVING):
                self._drop(record)
        for observer in self.observers:
            observer(put, delete)

    def load(self) -> None:
        """Rebuild from the store."""
        kinds: tuple[type[Record], ...] = (
            EndDeviceRecord,
            IdentityRecord,
            GroupRecord,
            ProgramRecord,
            DefaultRecord,
            CurveRecord,
            ControlRecord,
            ResponseRecord,
            DerInfoRecord,
            MirrorUsagePointRecord,
            TokenRecord,
            SubscriptionRecord,
            NoticeRecord,
            TariffRecord,
            PriceRecord,
        )
        for kind in kinds:
            self._take_all(self.store.load(kind))
        memberships = self.store.load(MembershipRecord)
        self._take_all(_open_memberships(memberships))
        for record in memberships:
            self._note_end(record)
        if self.grid is not None:
            self.switches = normal_positions(self.grid)
        for switch in sorted(self.store.load(SwitchRecord), key=lambda record: record.recorded_at):
            self._take(switch)
        self.audit_tail = next(self.store.each(AuditRecord, newest_first=True), None)
        self.tails.recall(self.store, self.clock.now())

    def program(self, mrid: Mrid) -> Served | None:
        """Find a program."""
        return self.programs.get(mrid)

    def programs_for(self, der_id: DerId) -> list[Served]:
        """Give the programs a DER is assigned to now: primacy ascending, then mRID descending.

        Source: IEEE 2030.5-2018, list order of DERProgramList; CSIP 2.1 P23.
        """
        found = [
            self.programs[mrid] for group in self.groups_of.get(der_id, ()) for mrid in self.programs_of.get(group, ())
        ]
        found.sort(key=lambda served: served.record.mrid, reverse=True)
        found.sort(key=lambda served: served.record.primacy)
        return found

    def control(self, mrid: Mrid) -> ControlRecord | None:
        """Find a control in whatever program it is."""
        program = self.program_of_control.get(mrid)
        return None if program is None else self.programs[program].controls.get(mrid)

    def _take_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        match record:
            case EndDeviceRecord():
                self.devices[record.der_id] = record
                self.versions[f"device:{record.der_id}"] += 1
                self.versions["devices"] += 1
                self.standing.take_device(self, record)
                if not record.enabled:
                    self.tails.forget(record.der_id)
            case IdentityRecord():
                self._take_identity(record)
            case GroupRecord():
                self.groups[GroupId(record.group.id)] = record
                self.standing.take_group(self, record)
            case MembershipRecord():
                self._take_membership(record)
            case ProgramRecord():
                if record.mrid in self.programs:
                    self.programs[record.mrid].record = record
                else:
                    self.programs[record.mrid] = Served(record)
                    self.programs_of[record.group_id].append(record.mrid)
                self.versions[f"program:{record.mrid}"] += 1
                for der_id in self.members_of.get(record.group_id, ()):
                    self.versions[f"assigned:{der_id}"] += 1
            case DefaultRecord():
                self.programs[record.program].default = record
                self.versions[f"program:{record.program}"] += 1
            case CurveRecord():
                self.programs[record.program].curves[record.mrid] = record
                self.program_of_curve[record.mrid] = record.program
                self.versions[f"program:{record.program}"] += 1
            case ControlRecord():
                self.programs[record.program].controls[record.mrid] = record
                self.program_of_control[record.mrid] = record.program
                self.versions[f"program:{record.program}"] += 1
            case ResponseRecord():
                self.responses[record.mrid][record.der_id, record.status] = record
                self.responses_of[record.der_id][record.mrid, record.status] = record
                self.versions["responses"] += 1
            case DerInfoRecord():
                self.infos[record.der_id, record.kind] = record
                self.versions[f"device:{record.der_id}"] += 1
            case MirrorUsagePointRecord():
                self.mirrors[record.mup_id] = record
                self.mirrors_of[record.der_id][record.mup_id] = record
                self.mirror_of[record.mrid] = record
                self.mirror_claims[record.mrid] = (record.der_id, record.mup_id)
                self.versions[f"device:{record.der_id}"] += 1
                self.versions["mirrors"] += 1
            case ReadingRecord():
                key = (record.reading.der_id, record.reading.point, int(record.reading.phase))
                known = self.latest.get(key)
                if known is None or known.reading.time <= record.reading.time:
                    self.latest[key] = record
                self.tails.take(record)
            case SwitchRecord():
                self.switches[record.switch_id] = record.closed
            case AuditRecord():
                self.audit_tail = record
            case TokenRecord():
                self.tokens[record.name] = record
            case SubscriptionRecord():
                self.subscriptions[record.subscription_id] = record
                self.subscriptions_of[record.der_id][record.subscription_id] = record
                self.versions[f"device:{record.der_id}"] += 1
            case NoticeRecord():
                self.notices[record.subscription_id] = record
            case TariffRecord():
                self.tariffs[record.mrid] = record
                self.versions["tariffs"] += 1
                self.versions[f"tariff:{record.mrid}"] += 1
            case PriceRecord():
                self.prices[record.tariff][record.mrid] = record
                self.versions[f"tariff:{record.tariff}"] += 1
            case _:
                raise AssertionError(f"{type(record).__name__} is not a record of the serving half")

    def _take_identity(self, record: IdentityRecord) -> None:
        if _is_last_of_its_lfdi(self.identities.get(record.lfdi), record):
            self.identities[record.lfdi] = record
        if record.valid_to is None or sfdi_of(record.lfdi) not in self.lfdi_of_sfdi:
            self.lfdi_of_sfdi[sfdi_of(record.lfdi)] = record.lfdi
        if record.valid_to is None:
            self.lfdi_of[record.der_id] = record.lfdi
        elif self.lfdi_of.get(record.der_id) == record.lfdi:
            del self.lfdi_of[record.der_id]
        self.versions[f"device:{record.der_id}"] += 1
        self.versions["devices"] += 1
        self.standing.take_identity(self, record.der_id)

    def _take_membership(self, record: MembershipRecord) -> None:
        membership = record.membership
        der_id, group_id = DerId(membership.der_id), GroupId(membership.group_id)
        if membership.valid_to is None:
            self.memberships[der_id, group_id] = record
            self.groups_of[der_id].add(group_id)
            self.members_of[group_id].add(der_id)
        elif (current := self.memberships.get((der_id, group_id))) is not None and (
            current.membership.valid_from == membership.valid_from
        ):
            self._note_end(record)
            del self.memberships[der_id, group_id]
            self.groups_of[der_id].discard(group_id)
            self.members_of[group_id].discard(der_id)
        self.versions[f"assigned:{der_id}"] += 1
        self.standing.reckon(self, der_id)

    def _note_end(self, record: MembershipRecord) -> None:
        membership = record.membership
        key = DerId(membership.der_id), GroupId(membership.group_id)
        if membership.valid_to is not None:
            self.left[key] = max(membership.recorded_at, self.left.get(key, membership.recorded_at))

    def _drop(self, record: Record) -> None:
        match record:
            case MirrorUsagePointRecord():
                self.mirrors.pop(record.mup_id, None)
                self.mirrors_of[record.der_id].pop(record.mup_id, None)
                self.mirror_of.pop(record.mrid, None)
                self.mirror_claims.pop(record.mrid, None)
                self.versions[f"device:{record.der_id}"] += 1
                self.versions["mirrors"] += 1
            case ControlRecord():
                self.programs[record.program].controls.pop(record.mrid, None)
                self.program_of_control.pop(record.mrid, None)
                for der_id, status in self.responses.pop(record.mrid, {}):
                    self.responses_of[der_id].pop((record.mrid, status), None)
                self.versions["responses"] += 1
                self.versions[f"program:{record.program}"] += 1
            case ResponseRecord():
                self.responses.get(record.mrid, {}).pop((record.der_id, record.status), None)
                self.responses_of.get(record.der_id, {}).pop((record.mrid, record.status), None)
                self.versions["responses"] += 1
            case CurveRecord():
                self.programs[record.program].curves.pop(record.mrid, None)
                self.program_of_curve.pop(record.mrid, None)
                self.versions[f"program:{record.program}"] += 1
            case DefaultRecord():
                self.programs[record.program].default = None
                self.versions[f"program:{record.program}"] += 1
            case ProgramRecord():
                self.programs.pop(record.mrid, None)
                self.programs_of[record.group_id].remove(record.mrid)
                self.versions[f"program:{record.mrid}"] += 1
                for der_id in self.members_of.get(record.group_id, ()):
                    self.versions[f"assigned:{der_id}"] += 1
            case GroupRecord():
                self.groups.pop(GroupId(record.group.id), None)
                self.members_of.pop(GroupId(record.group.id), None)
                self.programs_of.pop(GroupId(record.group.id), None)
                self.left = {key: at for key, at in self.left.items() if key[1] != record.group.id}
            case SubscriptionRecord():
                self.subscriptions.pop(record.subscription_id, None)
                self.subscriptions_of[record.der_id].pop(record.subscription_id, None)
                self.versions[f"device:{record.der_id}"] += 1
            case NoticeRecord():
                self.notices.pop(record.subscription_id, None)
            case PriceRecord():
                self.prices[record.tariff].pop(record.mrid, None)
                self.versions[f"tariff:{record.tariff}"] += 1
            case TariffRecord():
                self.tariffs.pop(record.mrid, None)
                self.prices.pop(record.mrid, None)
                self.versions["tariffs"] += 1
                self.versions[f"tariff:{record.mrid}"] += 1
            case _:
                raise AssertionError(f"{type(record).__name__} records are never deleted")


def _is_last_of_its_lfdi(known: IdentityRecord | None, record: IdentityRecord) -> bool:
    """Tell whether a record takes the place of a known one: an LFDI may have passed to another DER, and the store has no order."""
    if known is None or known.der_id == record.der_id or record.valid_to is None:
        return True
    return known.valid_to is not None and known.valid_to <= record.valid_to


def _open_memberships(records: Iterable[MembershipRecord]) -> list[MembershipRecord]:
    """Give the memberships that hold, by what is known of each last; not by the times, which a clock may have set back."""
    last: dict[tuple[str, str, datetime], MembershipRecord] = {}
    for record in records:  # in order of their key: what was recorded last comes last
        membership = record.membership
        last[membership.der_id, membership.group_id, membership.valid_from] = record
    return [record for record in last.values() if record.membership.valid_to is None]
