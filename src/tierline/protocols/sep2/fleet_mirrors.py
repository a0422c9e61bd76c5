"""The mirrors of a fleet's meters at one server: one MirrorUsagePoint per member, made when needed, found after a restart.

Source: IEEE 2030.5-2018 10.11.3; CSIP 2.1 P41, P42.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.errors import Forbidden
from tierline.model.identity import Lfdi
from tierline.model.records import KnownRecord
from tierline.protocols.sep2.follow.mirror import create_mirror, post_readings, series_of

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from tierline.model.telemetry import Reading
    from tierline.ports import Store
    from tierline.protocols.sep2.courier import Carrier
    from tierline.protocols.sep2.follow.walk import Entry
    from tierline.protocols.sep2.resources.objects import Link


class FleetMirrors:
    """Where the readings of each member go."""

    def __init__(self, *, carrier: Carrier, store: Store, entry: Entry, pen: int) -> None:
        self._carrier = carrier
        self._store = store
        self._party = entry.party
        self._pen = pen
        self._prefix = f"mirror/{entry.channel}/{entry.server}/"
        self._at = {
            Lfdi(record.name.removeprefix(self._prefix)): record.value
            for record in store.each(KnownRecord, prefix=self._prefix)
        }
        self.post_s: int | None = None
        """postRate of the last mirror that was made."""

    async def report(self, link: Link | None, lfdi: Lfdi, readings: Sequence[Reading]) -> None:
        """Deliver readings of one member that can be mirrored.

        Raises: LinkError, PeerError, Forbidden.
        """
        if not series_of(readings):
            return
        if lfdi in self._at:
            try:
                await self._carrier.carry(post_readings(self._at[lfdi], lfdi, readings, self._pen))
            except Forbidden:
                # The server has forgotten the mirror; it is made anew, and what was posted is posted again as the same.
                await self._forget([lfdi])
            else:
                return
        mirror = await self._carrier.carry(create_mirror(link, lfdi, series_of(readings), self._pen))
        self.post_s = mirror.post_rate
        href = mirror.href or ""
        await self._carrier.carry(post_readings(href, lfdi, readings, self._pen))
        await self._store.commit([self._record(lfdi, href)])
        self._at[lfdi] = href

    async def keep_only(self, lfdis: Container[Lfdi]) -> None:
        """Forget the mirrors of those who are no members any more.

        Raises: LinkError when the store refuses.
        """
        await self._forget([lfdi for lfdi in self._at if lfdi not in lfdis])

    async def _forget(self, lfdis: Sequence[Lfdi]) -> None:
        if lfdis:
            await self._store.commit(delete=[self._record(lfdi, self._at[lfdi]) for lfdi in lfdis])
            for lfdi in lfdis:
                self._at.pop(lfdi, None)

    def _record(self, lfdi: Lfdi, href: str) -> KnownRecord:
        return KnownRecord(party=self._party, name=f"{self._prefix}{lfdi}", value=href)
