"""What a peer may see: itself, those its party stands for, and the programs that any of them is assigned to now.

Of one that its element could feed but does not, a control point sees neither assignments nor programs, and nothing that it
measured, answered or said of itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from tierline.model.identity import DerId, sfdi_of
from tierline.protocols.sep2.lists import end_device_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierline.model.identity import GroupId, PartyId
    from tierline.model.records import EndDeviceRecord
    from tierline.operations.serving.state import Serving

_sfdi = lru_cache(maxsize=65_536)(sfdi_of)


class Sight:
    """Decides it; every question but that for a whole list is a look-up or two."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._ordered: dict[DerId, tuple[object, tuple[DerId, ...]]] = {}

    def subject(self, peer: EndDeviceRecord, der: str) -> EndDeviceRecord | None:
        """Find another EndDevice that a peer stands for; one without an LFDI has no place in IEEE 2030.5."""
        party = peer.aggregates
        if party is None or party not in self._serving.standing.parties(DerId(der)) or der not in self._serving.lfdi_of:
            return None
        return self._serving.devices[DerId(der)]

    def reads(self, peer: EndDeviceRecord, group: GroupId) -> bool:
        """Tell whether a peer, or one whose assignments it is shown, belongs to a group."""
        if peer.aggregates is not None:
            return self._serving.standing.is_member(peer.aggregates, group)
        return group in self._serving.groups_of.get(peer.der_id, ()) and self.has_assignments(peer)

    def has_assignments(self, peer: EndDeviceRecord) -> bool:
        """Tell whether a DER itself is shown its assignments here; not while a control point shows them in this node's stead."""
        return peer.der_id not in self._serving.standing.handed_over

    def sees_assignments(self, peer: EndDeviceRecord, der: DerId) -> bool:
        """Tell whether a peer is shown the assignments of another EndDevice that it stands for."""
        return peer.aggregates is not None and peer.aggregates in self._serving.standing.shown_to(der)

    def ordered(self, peer: EndDeviceRecord) -> tuple[DerId, ...]:
        """Give the EndDevices a peer sees, itself among them, in the order of their list."""
        if peer.aggregates is None:
            return (peer.der_id,)
        version = self.version(peer, peer.aggregates)
        known = self._ordered.get(peer.der_id)
        if known is None or known[0] != version:
            ders = {peer.der_id, *self._serving.standing.ders(peer.aggregates)} & self._serving.lfdi_of.keys()
            known = self._ordered[peer.der_id] = version, tuple(sorted(ders, key=self._key))
        return known[1]

    def version(self, peer: EndDeviceRecord, party: PartyId) -> object:
        """Give what changes when the list of EndDevices that a peer sees does."""
        return self._serving.versions[f"listed:{party}"], self._serving.lfdi_of.get(peer.der_id)

    def all(self, peer: EndDeviceRecord) -> Iterable[DerId]:
        """Give the EndDevices a peer speaks for, in no order."""
        if peer.aggregates is None:
            return (peer.der_id,)
        return (peer.der_id, *self._serving.standing.ders(peer.aggregates))

    def speaks_for(self, peer: EndDeviceRecord, der: DerId) -> bool:
        """Tell whether a peer speaks for an EndDevice: its own, or one its party stands for."""
        if der == peer.der_id:
            return True
        return peer.aggregates is not None and peer.aggregates in self._serving.standing.parties(der)

    def hears(self, peer: EndDeviceRecord, der: DerId) -> bool:
        """Tell whether a peer may read what an EndDevice measured, answered and said: its own, or one whose assignments it is shown."""
        return der == peer.der_id or self.sees_assignments(peer, der)

    def heard(self, peer: EndDeviceRecord) -> Iterable[DerId]:
        """Give the EndDevices of which a peer may read that, in no order."""
        return (der for der in self.all(peer) if self.hears(peer, der))

    def heard_version(self, peer: EndDeviceRecord, party: PartyId) -> object:
        """Give what changes when those do that a peer sees, or may read that of."""
        return self.version(peer, party), self._serving.versions[f"heard:{party}"]

    def _key(self, der: DerId) -> tuple[int | str, ...]:
        return end_device_key(sfdi=_sfdi(self._serving.lfdi_of[der]), href=der)
