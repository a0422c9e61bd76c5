"""Who stands for which DER, counted as it changes, so that every question about it is one look-up.

A party stands for the DERs it manages, and a control point for those that nobody manages and its element of the grid can
feed, as some position of the switches has it: whoever may come to it is registered with it, and what it still holds of one
that has left is taken from it. Their assignments it is shown only while its element feeds them. A DER that is fed by the
element of a control point is shown its assignments here until that control point has read them and said that it keeps what
it read, and none from then on: it shows them by then, so there is never a moment in which nobody does. That it has read them
says nothing: the answer may be lost on the way, or its disk may refuse. One that never says it takes nothing over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.engine.connectivity import can_feed
from tierline.model.identity import GroupId

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from tierline.model.identity import DerId, PartyId
    from tierline.model.records import EndDeviceRecord, GroupRecord
    from tierline.model.topology import Grid
    from tierline.operations.serving.state import Serving

_NO_PARTIES: frozenset[PartyId] = frozenset()
_NO_GROUPS: frozenset[GroupId] = frozenset()
_NO_DERS: frozenset[DerId] = frozenset()


@dataclass(slots=True)
class Standing:
    """The index; it is told of every change of a DER, its memberships and groups."""

    handed_over: dict[DerId, set[PartyId]] = field(default_factory=dict)
    """DERs whose assignments a control point shows in this node's stead."""
    unsaved: set[DerId] = field(default_factory=set)
    """Those for whom that has changed since it was last written down."""
    _first_read: dict[DerId, dict[PartyId, datetime]] = field(default_factory=dict)
    """When a control point first read the assignments of a DER since it came under it; until it has said that it keeps them."""
    _parties: dict[DerId, frozenset[PartyId]] = field(default_factory=dict)
    _shown_to: dict[DerId, frozenset[PartyId]] = field(default_factory=dict)
    _counted_in: dict[DerId, frozenset[GroupId]] = field(default_factory=dict)
    _ders: dict[PartyId, set[DerId]] = field(default_factory=lambda: defaultdict(set))
    _members: Counter[tuple[GroupId, PartyId]] = field(default_factory=Counter)
    _peers: dict[PartyId, set[DerId]] = field(default_factory=lambda: defaultdict(set))
    _points: dict[GroupId, PartyId] = field(default_factory=dict)
    _may_come_to: Mapping[str, frozenset[PartyId]] | None = None
    """The control points that can feed each service point; the grid is read at the first question."""

    def parties(self, der: DerId) -> frozenset[PartyId]:
        """Give the parties that stand for a DER now: it is listed to them."""
        return self._parties.get(der, _NO_PARTIES)

    def shown_to(self, der: DerId) -> frozenset[PartyId]:
        """Give those of them that are shown its assignments now."""
        return self._shown_to.get(der, _NO_PARTIES)

    def ders(self, party: PartyId) -> AbstractSet[DerId]:
        """Give the DERs a party stands for now."""
        return self._ders.get(party, _NO_DERS)

    def peers(self, party: PartyId) -> AbstractSet[DerId]:
        """Give the enabled EndDevices that are a party's own."""
        return self._peers.get(party, _NO_DERS)

    def is_member(self, party: PartyId, group: GroupId) -> bool:
        """Tell whether any DER whose assignments a party is shown belongs to a group."""
        return (group, party) in self._members

    def control_points(self, serving: Serving, der: DerId) -> frozenset[PartyId]:
        """Give the control points whose element feeds a DER that nobody manages."""
        device = serving.devices.get(der)
        if not self._points or device is None or not _is_led(device) or device.managed_by is not None:
            return _NO_PARTIES
        return frozenset(self._points[group] for group in serving.groups_of.get(der, ()) if group in self._points)

    def groups_at(self, party: PartyId) -> list[GroupId]:
        """Give the groups of the elements that a party serves as a control point."""
        return [group for group, point in self._points.items() if point == party]

    def within_reach(self, serving: Serving, device: EndDeviceRecord) -> frozenset[PartyId]:
        """Give the control points whose element can feed the place of a DER that nobody manages, however the switches stand now."""
        if not serving.control_points or not _is_led(device) or device.managed_by is not None:
            return _NO_PARTIES
        if self._may_come_to is None:
            self._may_come_to = {} if serving.grid is None else _may_come_to(serving.grid, serving.control_points)
        return self._may_come_to.get(device.service_point, _NO_PARTIES)

    def read(self, serving: Serving, party: PartyId, der: DerId) -> None:
        """Note that the assignments of a DER were shown to a control point; whether they have reached it is not known."""
        if party in self.control_points(serving, der) and party not in self.handed_over.get(der, ()):
            self._first_read.setdefault(der, {}).setdefault(party, serving.clock.now())

    def hand_over(self, serving: Serving, party: PartyId, read_by: datetime) -> None:
        """Note that a control point keeps what it has read until then: from now on those DERs are shown none here."""
        for der, readers in self._first_read.items():
            if party in readers and readers[party] <= read_by:
                del readers[party]
                self.handed_over.setdefault(der, set()).add(party)
                self.unsaved.add(der)
                _raise_shown(serving, der)

    def take_device(self, serving: Serving, device: EndDeviceRecord) -> None:
        """Follow a change of an EndDevice."""
        if (party := device.aggregates) is not None:
            if device.enabled:
                self._peers[party].add(device.der_id)
            else:
                self._peers[party].discard(device.der_id)
                if not self._peers[party]:
                    self._take_back(serving, party)
        self.reckon(serving, device.der_id)

    def take_group(self, serving: Serving, record: GroupRecord) -> None:
        """Follow a new group: it may be that of the element of a control point."""
        group = GroupId(record.group.id)
        party = serving.control_points.get(record.group.element or "")
        if party is not None and self._points.get(group) != party:
            self._points[group] = party
            for der in list(serving.members_of.get(group, ())):
                self.reckon(serving, der)

    def take_identity(self, serving: Serving, der: DerId) -> None:
        """Follow a change of an LFDI, by which lists are ordered."""
        for party in self.parties(der):
            serving.versions[f"listed:{party}"] += 1

    def reckon(self, serving: Serving, der: DerId) -> None:
        """Count a DER anew for those who stand for it."""
        device = serving.devices.get(der)
        points = self.control_points(serving, der)
        shown_to, parties = points, points
        if device is not None and _is_led(device) and device.managed_by is not None:
            shown_to = parties = frozenset({device.managed_by})
        elif device is not None and (reach := self.within_reach(serving, device)):
            parties = points | reach
        was_shown_to, before = self.shown_to(der), self.parties(der)
        self._count(serving, der, was_shown_to, shown_to)
        if der in self._first_read:
            self._first_read[der] = {reader: at for reader, at in self._first_read[der].items() if reader in points}
        self._keep_handed_over(der, points)
        for party in was_shown_to ^ shown_to:
            serving.versions[f"heard:{party}"] += 1
        if parties != before:
            self._list(serving, der, before, parties)
        if (shown_to, parties) != (was_shown_to, before):
            _raise_shown(serving, der)

    def _count(self, serving: Serving, der: DerId, before: frozenset[PartyId], shown_to: frozenset[PartyId]) -> None:
        """Count the groups of a DER for those who are shown its assignments."""
        groups = frozenset(serving.groups_of.get(der, ())) if shown_to else _NO_GROUPS
        counted = self._counted_in.pop(der, _NO_GROUPS)
        self._members.subtract((group, party) for group in counted for party in before)
        self._members.update((group, party) for group in groups for party in shown_to)
        for key in [(group, party) for group in counted for party in before]:
            if self._members[key] <= 0:
                del self._members[key]
        if shown_to:
            self._shown_to[der], self._counted_in[der] = shown_to, groups
        else:
            self._shown_to.pop(der, None)

    def _keep_handed_over(self, der: DerId, points: frozenset[PartyId]) -> None:
        if (readers := self.handed_over.get(der)) is not None:
            self.unsaved.add(der)
            readers &= points
            if not readers:
                del self.handed_over[der]

    def _list(self, serving: Serving, der: DerId, before: frozenset[PartyId], after: frozenset[PartyId]) -> None:
        if after:
            self._parties[der] = after
        else:
            del self._parties[der]
        for party in before - after:
            self._ders[party].discard(der)
        for party in after - before:
            self._ders[party].add(der)
        for party in before ^ after:
            serving.versions[f"listed:{party}"] += 1
        serving.versions["devices"] += 1

    def _take_back(self, serving: Serving, party: PartyId) -> None:
        """Show their assignments again to those whose control point is shut out; what it read before it need not keep."""
        for readers in self._first_read.values():
            readers.pop(party, None)
        for der in [der for der, readers in self.handed_over.items() if party in readers]:
            self.handed_over[der].discard(party)
            self.unsaved.add(der)
            if not self.handed_over[der]:
                del self.handed_over[der]
            _raise_shown(serving, der)


def _is_led(device: EndDeviceRecord) -> bool:
    """Tell whether others may stand for it: it is let in, and is no peer that itself stands for others."""
    return device.enabled and device.aggregates is None


def _may_come_to(grid: Grid, points: Mapping[str, PartyId]) -> dict[str, frozenset[PartyId]]:
    found: dict[str, set[PartyId]] = defaultdict(set)
    for element, party in points.items():
        for point in can_feed(grid, element):
            found[point].add(party)
    return {point: frozenset(parties) for point, parties in found.items()}


def _raise_shown(serving: Serving, der: DerId) -> None:
    serving.versions[f"assigned:{der}"] += 1
    serving.versions[f"device:{der}"] += 1
