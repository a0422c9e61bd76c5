"""Which subscriptions a change touches: an index of what is watched, and the reading of records against it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tierline.engine import price_status
from tierline.engine.serving_status import earliest_start, listed_until
from tierline.model.identity import DerId, GroupId, Mrid
from tierline.model.records import (
    ControlRecord,
    CurveRecord,
    DefaultRecord,
    EndDeviceRecord,
    IdentityRecord,
    MembershipRecord,
    MirrorUsagePointRecord,
    PriceRecord,
    ProgramRecord,
    TariffRecord,
)
from tierline.operations.serving.series_watched import SeriesWatched, is_beyond

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from tierline.model.identity import PartyId
    from tierline.model.records import Record
    from tierline.operations.serving.series_watched import Thresholds
    from tierline.operations.serving.state import Serving


class Watched(StrEnum):
    """What a subscription can be to."""

    END_DEVICES = "end_devices"
    """The list of EndDevices, as the subscriber sees it."""
    END_DEVICE = "end_device"
    ASSIGNMENTS = "assignments"
    """The function set assignments of one EndDevice."""
    PROGRAMS = "programs"
    """The programs one EndDevice is assigned to."""
    PROGRAM = "program"
    CONTROLS = "controls"
    """The controls of one program."""
    ACTIVE_CONTROLS = "active_controls"
    """Those of them that are active."""
    DEFAULT = "default"
    READING = "reading"
    """The latest reading of one series."""
    READINGS = "readings"
    """The last readings of one series."""
    TARIFFS = "tariffs"
    """The tariffs that concern everybody, or one EndDevice."""
    PRICES = "prices"
    """The prices of one tariff."""
    ACTIVE_PRICES = "active_prices"
    """Those of them that are active."""


_TOUCHING = (
    EndDeviceRecord,
    IdentityRecord,
    MembershipRecord,
    ProgramRecord,
    ControlRecord,
    DefaultRecord,
    CurveRecord,
    MirrorUsagePointRecord,
    TariffRecord,
    PriceRecord,
)
"""What can be watched besides readings; Responses and most readings, which are most of what is written, are not."""

_OF_PROGRAM = (Watched.PROGRAM, Watched.CONTROLS, Watched.ACTIVE_CONTROLS, Watched.DEFAULT)
OF_SERIES = (Watched.READING, Watched.READINGS)
"""What has values, so that thresholds make sense."""
_OF_TARIFF = (Watched.PRICES, Watched.ACTIVE_PRICES)
LISTED_BY_TIME = (Watched.CONTROLS, Watched.PRICES)
ACTIVE_BY_TIME = (Watched.ACTIVE_CONTROLS, Watched.ACTIVE_PRICES)
BY_TIME = LISTED_BY_TIME + ACTIVE_BY_TIME
"""What time alone changes: lists of events, and of those that are active."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One thing that is watched."""

    kind: Watched
    of: str = ""
    """The DerId or the mRID of the program or tariff; empty for the lists of EndDevices and of everybody's tariffs."""
    mup: str = ""
    """Of a series: the usage point it belongs to."""
    series: str = ""
    """Of a series: its mRID."""

    @property
    def der(self) -> DerId:
        """The EndDevice it is of."""
        return DerId(self.of)

    @property
    def program(self) -> Mrid:
        """The program or tariff it is of."""
        return Mrid(self.of)

    @property
    def is_latest(self) -> bool:
        """Whether it is the latest reading of a series."""
        return self.kind is Watched.READING


class _Leavers:
    """Who leaves which group, or those who are shown its assignments, with one change."""

    def __init__(self, serving: Serving, put: Iterable[Record], delete: Iterable[Record]) -> None:
        self._serving = serving
        self._of_group: dict[GroupId, set[DerId]] = defaultdict(set)
        self._answers: dict[tuple[PartyId, GroupId], bool] = {}
        for record in put:
            if isinstance(record, MembershipRecord) and record.membership.valid_to is not None:
                self._of_group[GroupId(record.membership.group_id)].add(DerId(record.membership.der_id))
            elif isinstance(record, EndDeviceRecord) and self.changes_hands(record):
                self._leaves_all(record.der_id)
        for record in delete:
            if isinstance(record, EndDeviceRecord):
                self._leaves_all(record.der_id)

    def changes_hands(self, record: EndDeviceRecord) -> bool:
        """Tell whether others stand for an EndDevice from now on, or nobody."""
        before = self._serving.devices.get(record.der_id)
        return before is not None and (before.managed_by, before.enabled) != (record.managed_by, record.enabled)

    def _leaves_all(self, der: DerId) -> None:
        for group in self._serving.groups_of.get(der, ()):
            self._of_group[group].add(der)

    def stands_for_others(self, party: PartyId, group: GroupId) -> bool:
        """Tell whether a party is shown the assignments of a member of a group that stays in it."""
        if (party, group) not in self._answers:
            left, shown_to = self._of_group[group], self._serving.standing.shown_to
            members = self._serving.members_of.get(group, ())
            self._answers[party, group] = any(member not in left and party in shown_to(member) for member in members)
        return self._answers[party, group]


class Watching:
    """The index: by what is watched, then by who watches."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._watchers: dict[Watch, dict[DerId, set[str]]] = {}
        self._watch_of: dict[str, tuple[Watch, DerId]] = {}
        self._series = SeriesWatched()
        self._thresholds: dict[str, Thresholds] = {}

    def add(self, subscription_id: str, watcher: DerId, watch: Watch, thresholds: Thresholds | None = None) -> None:
        """Take in a subscription; once more changes its thresholds at most."""
        self._watch_of[subscription_id] = watch, watcher
        self._watchers.setdefault(watch, defaultdict(set))[watcher].add(subscription_id)
        if watch.kind in OF_SERIES:
            self._series.add(watch)
        if thresholds is None:
            self._thresholds.pop(subscription_id, None)
        else:
            self._thresholds[subscription_id] = thresholds

    def remove(self, subscription_id: str) -> None:
        """Take out a subscription."""
        if subscription_id not in self._watch_of:
            return
        watch, watcher = self._watch_of.pop(subscription_id)
        self._thresholds.pop(subscription_id, None)
        watchers = self._watchers[watch]
        watchers[watcher].discard(subscription_id)
        if not watchers[watcher]:
            del watchers[watcher]
        if not watchers:
            del self._watchers[watch]
            if watch.kind in OF_SERIES:
                self._series.remove(watch)

    def of(self, watch: Watch, watcher: DerId) -> frozenset[str]:
        """Give the subscriptions of one EndDevice to one thing."""
        return frozenset(self._watchers.get(watch, {}).get(watcher, ()))

    def to(self, watch: Watch) -> list[str]:
        """Give all subscriptions to one thing."""
        return [*self._all(watch)]

    def touched(self, put: Sequence[Record], delete: Sequence[Record], now: datetime) -> set[str]:
        """Give the subscriptions that a change touches; the state is still that of before."""
        found: set[str] = set()
        if self._series:
            found.update(self._by_readings(put))
        touching: list[Record] = [record for record in put if isinstance(record, _TOUCHING)]
        if not self._watch_of or not (touching or delete):
            return found
        leavers = _Leavers(self._serving, touching, delete)
        for record in touching:
            found.update(self._by_put(record, leavers, now))
        for record in delete:
            found.update(self._by_delete(record, leavers, now))
        return found

    def leaving(self, put: Iterable[Record], delete: Iterable[Record]) -> list[DerId]:
        """Give the EndDevices that are shut out or taken out by a change: whatever they watch ends."""
        shut = [record.der_id for record in put if isinstance(record, EndDeviceRecord) and not record.enabled]
        return shut + [record.der_id for record in delete if isinstance(record, EndDeviceRecord)]

    def _by_readings(self, put: Iterable[Record]) -> Iterator[str]:
        for watch, values in self._series.changed(put, self._serving.tails).items():
            for subscription_id in self._all(watch):
                thresholds = self._thresholds.get(subscription_id)
                if any(is_beyond(value, thresholds) for value in values):
                    yield subscription_id

    def _by_put(self, record: Record, leavers: _Leavers, now: datetime) -> Iterator[str]:
        serving = self._serving
        match record:
            case EndDeviceRecord():
                yield from self._by_device(record, leavers)
            case IdentityRecord():
                yield from self._all(Watch(Watched.END_DEVICE, record.der_id))
                yield from self._lists({record.der_id}, serving.standing.parties(record.der_id))
            case MembershipRecord():
                yield from self._by_membership(record, leavers)
            case ProgramRecord() if (
                record.mrid not in serving.programs or serving.programs[record.mrid].record != record
            ):
                yield from self._all(Watch(Watched.PROGRAM, record.mrid))
                yield from self._members(record.group_id, assignments=True)
            case ControlRecord() if serving.control(record.mrid) != record:
                yield from self._all(Watch(Watched.CONTROLS, record.program))
                if earliest_start(record.control) <= now:
                    yield from self._all(Watch(Watched.ACTIVE_CONTROLS, record.program))
            case MirrorUsagePointRecord():
                yield from self._of_mirror(record, unless_in=record.document)
            case DefaultRecord():
                yield from self._by_default(record)
            case CurveRecord() if record.mrid in serving.program_of_curve:
                # A new one comes with the control or default that refers to it.
                for kind in (Watched.CONTROLS, Watched.ACTIVE_CONTROLS, Watched.DEFAULT):
                    yield from self._all(Watch(kind, record.program))
            case TariffRecord() | PriceRecord():
                yield from self._by_price(record, now)
            case _:
                pass

    def _by_price(self, record: TariffRecord | PriceRecord, now: datetime) -> Iterator[str]:
        """Follow that a tariff or a price came or changed."""
        serving = self._serving
        if isinstance(record, PriceRecord):
            if serving.prices.get(record.tariff, {}).get(record.mrid) != record:
                yield from self._all(Watch(Watched.PRICES, record.tariff))
                if record.start <= now:
                    yield from self._all(Watch(Watched.ACTIVE_PRICES, record.tariff))
            return
        before = serving.tariffs.get(record.mrid)
        if before == record:
            return
        yield from self._concerned(record)
        if before is not None and before.group != record.group:
            yield from self._concerned(before)
            for kind in _OF_TARIFF:
                yield from self._all(Watch(kind, record.mrid))

    def _concerned(self, tariff: TariffRecord) -> Iterator[str]:
        """Find who watches a list that a tariff stands in, or an assignment that counts those in it."""
        serving = self._serving
        ders: Iterable[DerId] = serving.devices if tariff.group is None else serving.members_of.get(tariff.group, ())
        if tariff.group is None:
            yield from self._all(Watch(Watched.TARIFFS))
        for der in ders:
            yield from self._assigned(der, serving.standing.shown_to(der), (Watched.TARIFFS, Watched.ASSIGNMENTS))

    def _by_delete(self, record: Record, leavers: _Leavers, now: datetime) -> Iterator[str]:
        match record:
            case EndDeviceRecord():
                yield from self._by_device(record, leavers, is_gone=True)
            case ProgramRecord():
                for kind in _OF_PROGRAM:
                    yield from self._all(Watch(kind, record.mrid))
                yield from self._members(record.group_id, assignments=True)
            case ControlRecord() if listed_until(record.control) > now:
                # What has left its list already is only forgotten.
                for kind in (Watched.CONTROLS, Watched.ACTIVE_CONTROLS):
                    yield from self._all(Watch(kind, record.program))
            case PriceRecord() if price_status.listed_until(record) > now:
                for kind in _OF_TARIFF:
                    yield from self._all(Watch(kind, record.tariff))
            case TariffRecord():
                yield from self._concerned(record)
                for kind in _OF_TARIFF:
                    yield from self._all(Watch(kind, record.mrid))
            case MirrorUsagePointRecord():
                yield from self._of_mirror(record, unless_in=b"")
            case DefaultRecord():
                yield from self._all(Watch(Watched.DEFAULT, record.program))
                yield from self._by_existence(record.program)
            case _:
                pass

    def _by_device(self, record: EndDeviceRecord, leavers: _Leavers, *, is_gone: bool = False) -> Iterator[str]:
        serving, der = self._serving, record.der_id
        before = serving.devices.get(der)
        if record == before and not is_gone:
            return
        parties = set(serving.standing.parties(der))
        if record.managed_by is not None:
            parties.add(record.managed_by)
        groups = serving.groups_of.get(der, ())
        parties |= {point for group in groups if (point := self._control_point(group)) is not None}
        parties |= serving.standing.within_reach(serving, record)
        yield from self._all(Watch(Watched.END_DEVICE, der))
        yield from self._lists({der}, parties)
        if not is_gone and not leavers.changes_hands(record):
            return
        for kind in (Watched.ASSIGNMENTS, Watched.PROGRAMS, Watched.TARIFFS):
            yield from self._all(Watch(kind, der))
        yield from self._of_series(der, parties)
        for group in groups:
            yield from self._of_programs(group, self._losing(der, parties, group, leavers))

    def _by_membership(self, record: MembershipRecord, leavers: _Leavers) -> Iterator[str]:
        serving = self._serving
        der, group = DerId(record.membership.der_id), GroupId(record.membership.group_id)
        shown_to = set(serving.standing.shown_to(der))
        kinds = [Watched.ASSIGNMENTS, Watched.PROGRAMS]
        if any(tariff.group == group for tariff in serving.tariffs.values()):
            kinds.append(Watched.TARIFFS)
        point = self._control_point(group)
        if point is not None:
            # Its entry counts its assignments, so that and the list it stands in say something else now.
            shown_to.add(point)
            kinds.append(Watched.END_DEVICE)
            yield from self._lists(set(), {point})
        yield from self._assigned(der, shown_to, kinds)
        if record.membership.valid_to is not None:
            yield from self._of_programs(group, self._losing(der, shown_to, group, leavers))
            if point is not None:
                yield from self._of_series(der, {point})

    def _losing(self, der: DerId, parties: Iterable[PartyId], group: GroupId, leavers: _Leavers) -> set[DerId]:
        """Give who does not see the programs of a group any more when one of its members goes."""
        return {der} | self._peers(party for party in parties if not leavers.stands_for_others(party, group))

    def _by_default(self, record: DefaultRecord) -> Iterator[str]:
        served = self._serving.programs.get(record.program)
        before = None if served is None else served.default
        if before == record:
            return
        yield from self._all(Watch(Watched.DEFAULT, record.program))
        if before is None:
            yield from self._by_existence(record.program)

    def _by_existence(self, program: Mrid) -> Iterator[str]:
        """Follow that a program has a default from now on, or none: it is linked in the program."""
        served = self._serving.programs.get(program)
        yield from self._all(Watch(Watched.PROGRAM, program))
        if served is not None:
            yield from self._members(served.record.group_id, assignments=False)

    def _control_point(self, group: GroupId) -> PartyId | None:
        record = self._serving.groups.get(group)
        return None if record is None else self._serving.control_points.get(record.group.element or "")

    def _peers(self, parties: Iterable[PartyId]) -> set[DerId]:
        return {peer for party in parties for peer in self._serving.standing.peers(party)}

    def _all(self, watch: Watch) -> Iterator[str]:
        for found in self._watchers.get(watch, {}).values():
            yield from found

    def _by(self, watch: Watch, watchers: Iterable[DerId]) -> Iterator[str]:
        found = self._watchers.get(watch)
        if found:
            for watcher in watchers:
                yield from found.get(watcher, ())

    def _lists(self, ders: set[DerId], parties: Iterable[PartyId]) -> Iterator[str]:
        """Find who watches a list of EndDevices that these belong to: themselves, and those who stand for them."""
        yield from self._by(Watch(Watched.END_DEVICES), ders | self._peers(parties))

    def _assigned(self, der: DerId, shown_to: Iterable[PartyId], kinds: Iterable[Watched]) -> Iterator[str]:
        """Find who watches the assignments of a DER and is shown them; to other control points they stay an empty list."""
        watchers: set[DerId] | None = None
        for kind in kinds:
            watch = Watch(kind, der)
            if watch in self._watchers:
                watchers = {der} | self._peers(shown_to) if watchers is None else watchers
                yield from self._by(watch, watchers)

    def _members(self, group: GroupId, *, assignments: bool) -> Iterator[str]:
        kinds = (Watched.PROGRAMS, Watched.ASSIGNMENTS) if assignments else (Watched.PROGRAMS,)
        for member in self._serving.members_of.get(group, ()):
            yield from self._assigned(member, self._serving.standing.shown_to(member), kinds)

    def _of_programs(self, group: GroupId, watchers: Iterable[DerId]) -> Iterator[str]:
        for mrid in self._serving.programs_of.get(group, ()):
            for kind in _OF_PROGRAM:
                yield from self._by(Watch(kind, mrid), watchers)
        for tariff in self._serving.tariffs.values():
            if tariff.group == group:
                for kind in _OF_TARIFF:
                    yield from self._by(Watch(kind, tariff.mrid), watchers)

    def _of_mirror(self, record: MirrorUsagePointRecord, *, unless_in: bytes) -> Iterator[str]:
        """Find who watches series of a usage point, except those that a document still names."""
        for watch in self._series.of(record.der_id):
            if watch.mup == record.mup_id and watch.series.encode() not in unless_in:
                yield from self._all(watch)

    def _of_series(self, der: DerId, parties: Iterable[PartyId]) -> Iterator[str]:
        """Find who watches readings of a DER for which it stands, maybe no longer."""
        for watch in self._series.of(der):
            yield from self._by(watch, self._peers(parties))
