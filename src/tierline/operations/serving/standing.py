"""Who stands for which DER, counted as it changes, so that every question about it is one look-up.

A party stands for the DERs it manages, and a control point for those that its element of the grid feeds now and nobody
manages. A DER that is fed by the element of a control point is shown its assignments here until that control point has read
them a second time, and none from then on: when it comes again it shows what it read first, so there is never a moment in
which nobody shows them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tierline.model.identity import GroupId

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from tierline.model.identity import DerId, PartyId
    from tierline.model.records import EndDeviceRecord, GroupRecord
    from tierline.operations.serving.state import Serving

MIRRORED_AFTER = timedelta(minutes=2)
"""How long after a first reading a second one is taken to be another, made by who has kept the first."""
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
    """When a control point first read the assignments of a DER since it came under it."""
    _parties: dict[DerId, frozenset[PartyId]] = field(default_factory=dict)
    _counted_in: dict[DerId, frozenset[GroupId]] = field(default_factory=dict)
    _ders: dict[PartyId, set[DerId]] = field(default_factory=lambda: defaultdict(set))
    _members: Counter[tuple[GroupId, PartyId]] = field(default_factory=Counter)
    _peers: dict[PartyId, set[DerId]] = field(default_factory=lambda: defaultdict(set))
    _points: dict[GroupId, PartyId] = field(default_factory=dict)

    def parties(self, der: DerId) -> frozenset[PartyId]:
        """Give the parties that stand for a DER now."""
        return self._parties.get(der, _NO_PARTIES)

    def ders(self, party: PartyId) -> AbstractSet[DerId]:
        """Give the DERs a party stands for now."""
        return self._ders.get(party, _NO_DERS)

    def peers(self, party: PartyId) -> AbstractSet[DerId]:
        """Give the enabled EndDevices that are a party's own."""
        return self._peers.get(party, _NO_DERS)

    def is_member(self, party: PartyId, group: GroupId) -> bool:
        """Tell whether any DER that a party stands for belongs to a group."""
        return (group, party) in self._members

    def control_points(self, serving: Serving, der: DerId) -> frozenset[PartyId]:
        """Give the control points whose element feeds a DER that nobody manages."""
        device = serving.devices.get(der)
        if not self._points or device is None or not _is_led(device) or device.managed_by is not None:
            return _NO_PARTIES
        return frozenset(self._points[group] for group in serving.groups_of.get(der, ()) if group in self._points)

    def hand_over(self, serving: Serving, party: PartyId, der: DerId) -> None:
        """Note that a control point has read the assignments of a DER: from the second time on the DER itself is shown none."""
        if party not in self.control_points(serving, der) or party in self.handed_over.get(der, ()):
            return
        now = serving.clock.now()
        if now - self._first_read.setdefault(der, {}).setdefault(party, now) >= MIRRORED_AFTER:
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
        parties = points
        if device is not None and _is_led(device) and device.managed_by is not None:
            parties = frozenset({device.managed_by})
        groups = frozenset(serving.groups_of.get(der, ())) if parties else _NO_GROUPS
        before, counted = self.parties(der), self._counted_in.pop(der, _NO_GROUPS)
        self._members.subtract((group, party) for group in counted for party in before)
        self._members.update((group, party) for group in groups for party in parties)
        for key in [(group, party) for group in counted for party in before]:
            if self._members[key] <= 0:
                del self._members[key]
        if parties:
            self._parties[der], self._counted_in[der] = parties, groups
        else:
            self._parties.pop(der, None)
        if der in self._first_read:
            self._first_read[der] = {reader: at for reader, at in self._first_read[der].items() if reader in points}
        self._keep_handed_over(der, points)
        if parties != before:
            self._move(serving, der, before, parties)

    def _keep_handed_over(self, der: DerId, points: frozenset[PartyId]) -> None:
        if (readers := self.handed_over.get(der)) is not None:
            self.unsaved.add(der)
            readers &= points
            if not readers:
                del self.handed_over[der]

    def _move(self, serving: Serving, der: DerId, before: frozenset[PartyId], after: frozenset[PartyId]) -> None:
        for party in before - after:
            self._ders[party].discard(der)
        for party in after - before:
            self._ders[party].add(der)
        for party in before ^ after:
            serving.versions[f"listed:{party}"] += 1
        serving.versions["devices"] += 1
        _raise_shown(serving, der)

    def _take_back(self, serving: Serving, party: PartyId) -> None:
        """Show their assignments again to those whose control point is shut out."""
        for der in [der for der, readers in self.handed_over.items() if party in readers]:
            self.handed_over[der].discard(party)
            self.unsaved.add(der)
            if not self.handed_over[der]:
                del self.handed_over[der]
            _raise_shown(serving, der)


def _is_led(device: EndDeviceRecord) -> bool:
    """Tell whether others may stand for it: it is let in, and is no peer that itself stands for others."""
    return device.enabled and device.aggregates is None


def _raise_shown(serving: Serving, der: DerId) -> None:
    serving.versions[f"assigned:{der}"] += 1
    serving.versions[f"device:{der}"] += 1
