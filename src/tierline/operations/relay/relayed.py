"""What a relay remembers of one channel: for whom it stands there, what it refused, what it handed on.

All of it is kept under names (`KnownRecord`), each written with the change it belongs to, so that a restart without a link
goes on with what was known last.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tierline.model.identity import ChannelId, DerId, Lfdi
from tierline.model.records import DerInfoKind, KnownRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from tierline.model.identity import PartyId
    from tierline.ports import Store

Enrol = Literal["none", "take", "offer"]
"""take: those the server lists are registered here; offer: those registered here are registered there."""

Handed = tuple[DerId, DerInfoKind]
"""Which document of which DER."""


@dataclass(slots=True, kw_only=True)
class Relayed:
    """One channel of a relay."""

    channel: ChannelId
    enrol: Enrol = "none"
    readings: bool = True
    """Whether what the members measure is handed on."""
    members: dict[Lfdi, DerId] = field(default_factory=dict)
    """Those registered here that the server above lists."""
    refused: dict[str, str] = field(default_factory=dict)
    """What could not be passed on, and why: it is told once."""
    handed_on: dict[Handed, str] = field(default_factory=dict)
    """The document of each kind that the server has, by its digest."""
    elsewhere: frozenset[DerId] = frozenset()
    """Members that another serves now, as of the last walk: the server lists them with no assignments. What they say of
    themselves is that other's to hand on."""
    _lfdi_of: dict[DerId, Lfdi] = field(default_factory=dict, init=False, repr=False)

    @property
    def ders(self) -> AbstractSet[DerId]:
        """The members, by the key they have here."""
        return self._lfdi_of.keys()

    def lfdi_of(self, der: DerId) -> Lfdi | None:
        """Tell under which LFDI the server above lists a DER; None when it does not."""
        return self._lfdi_of.get(der)

    def __post_init__(self) -> None:
        self._lfdi_of = {der: lfdi for lfdi, der in self.members.items()}

    @classmethod
    def load(cls, store: Store, channel: ChannelId, enrol: Enrol = "none", *, readings: bool = True) -> Relayed:
        """Take up what was known last.

        Raises: LinkError when the store cannot be read.
        """
        relayed = cls(channel=channel, enrol=enrol, readings=readings)

        def known(what: str) -> Iterator[tuple[str, str]]:
            prefix = f"{what}/{channel}/"
            return (
                (record.name.removeprefix(prefix), record.value) for record in store.each(KnownRecord, prefix=prefix)
            )

        relayed.refused = dict(known("refused"))
        for name, digest in known("info"):
            der, _, kind = name.partition("/")
            relayed.handed_on[DerId(der), DerInfoKind(kind)] = digest
        members = {Lfdi(lfdi): DerId(der) for lfdi, der in known("member")}
        relayed.take_members(members, {DerId(der) for der, _ in known("elsewhere")})
        return relayed

    def member_record(self, party: PartyId, lfdi: Lfdi, der: DerId) -> KnownRecord:
        """Write down that this node stands for a DER."""
        return KnownRecord(party=party, name=f"member/{self.channel}/{lfdi}", value=der)

    def elsewhere_record(self, party: PartyId, der: DerId) -> KnownRecord:
        """Write down that another serves a member now."""
        return KnownRecord(party=party, name=f"elsewhere/{self.channel}/{der}", value="")

    def refused_record(self, party: PartyId, what: str, why: str) -> KnownRecord:
        """Write down that something was refused."""
        return KnownRecord(party=party, name=f"refused/{self.channel}/{what}", value=why)

    def handed_record(self, party: PartyId, handed: Handed, digest: str) -> KnownRecord:
        """Write down that a document was handed on."""
        der, kind = handed
        return KnownRecord(party=party, name=f"info/{self.channel}/{der}/{kind}", value=digest)

    def forgotten_records(self, party: PartyId, gone: Mapping[Lfdi, DerId]) -> list[KnownRecord]:
        """Give what is to be deleted when this node no longer stands for some: the server forgets what they said."""
        members = [self.member_record(party, lfdi, der) for lfdi, der in gone.items()]
        return members + self.unsaid_records(party, set(gone.values()))

    def unsaid_records(self, party: PartyId, ders: AbstractSet[DerId]) -> list[KnownRecord]:
        """Give what is to be deleted when it is no longer known of some what the server has last heard of them."""
        if ders.isdisjoint(der for der, _ in self.handed_on):
            return []
        return [
            self.handed_record(party, handed, digest) for handed, digest in self.handed_on.items() if handed[0] in ders
        ]

    def take_members(self, members: Mapping[Lfdi, DerId], elsewhere: AbstractSet[DerId] = frozenset()) -> None:
        """Take over who the members are, and who of them is served by another, once that is durable."""
        self.members = dict(members)
        self.elsewhere = frozenset(elsewhere)
        self._lfdi_of = {der: lfdi for lfdi, der in members.items()}
        self.handed_on = {handed: digest for handed, digest in self.handed_on.items() if self.speaks_for(handed[0])}

    def speaks_for(self, der: DerId) -> bool:
        """Tell whether it is this node that hands on what a DER says of itself."""
        return der in self._lfdi_of and der not in self.elsewhere


def digest_of(document: bytes) -> str:
    """Tell one document from another."""
    return hashlib.sha256(document).hexdigest()[:32]
