"""Where each event wants its Responses: known before the event is known to anybody, and after every restart."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tierline.model.errors import PeerError
from tierline.model.identity import Mrid
from tierline.model.records import KnownRecord
from tierline.protocols.sep2.client import post
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.resources import exchange

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from tierline.model.identity import ChannelId, Lfdi, PartyId
    from tierline.model.programs import Response
    from tierline.ports import Store
    from tierline.protocols.sep2.client import Steps

_REPLY = "reply_to"
"""Prefix of the names under which the paths for Responses are remembered."""

KEPT_FOR = timedelta(days=7)
"""How long after an event was last listed its Responses may still be on their way."""


class Answering:
    """The paths for Responses of one channel."""

    def __init__(self, store: Store, party: PartyId, channel: ChannelId) -> None:
        self._store = store
        self._party = party
        self._prefix = f"{_REPLY}/{channel}/"
        self._reply_to: dict[str, str] = {
            record.name: record.value for record in store.each(KnownRecord, prefix=self._prefix)
        }
        self._missing_since: dict[str, datetime] = {}

    async def remember(self, reply_to: Mapping[Mrid, str]) -> None:
        """Keep where Responses go: they may be due after the server is out of reach.

        Raises: LinkError when the store refuses.
        """
        new = {self._name(mrid): href for mrid, href in reply_to.items()}
        new = {name: href for name, href in new.items() if self._reply_to.get(name) != href}
        if new:
            await self._store.commit(
                [KnownRecord(party=self._party, name=name, value=href) for name, href in new.items()]
            )
            self._reply_to |= new

    async def forget(self, mrids: Sequence[Mrid]) -> None:
        """Drop where events wanted their Responses, once the last one was posted.

        Raises: LinkError when the store refuses.
        """
        gone = [name for name in map(self._name, mrids) if name in self._reply_to]
        if gone:
            await self._store.commit(delete=[self._record(name) for name in gone])
            for name in gone:
                del self._reply_to[name]

    async def keep_only(self, listed: Collection[Mrid], now: datetime) -> None:
        """Forget of events what nobody will ask for any more: those that have not been listed for long.

        Raises: LinkError when the store refuses.
        """
        names = set(map(self._name, listed))
        self._missing_since = {name: self._missing_since.get(name, now) for name in self._reply_to if name not in names}
        old = [name for name, since in self._missing_since.items() if now - since >= KEPT_FOR]
        await self.forget([Mrid(name.removeprefix(self._prefix)) for name in old])

    def answer(self, response: Response, lfdi: Lfdi) -> Steps[None]:
        """Post one Response of the DER with this LFDI.

        Raises: LinkError (come again); PeerError or Forbidden (the server refuses it for good).
        """
        href = self._reply_to.get(self._name(response.mrid))
        if href is None:
            raise PeerError(f"event {response.mrid} has no replyTo", path="DERControl/@replyTo")
        document = exchange.DERControlResponse(
            created_date_time=int(response.created_at.timestamp()),
            end_device_lfdi=lfdi,
            status=response.status.value,
            subject=response.mrid,
        )
        yield from post(href, render(document))

    def _name(self, mrid: Mrid) -> str:
        return f"{self._prefix}{mrid}"

    def _record(self, name: str) -> KnownRecord:
        return KnownRecord(party=self._party, name=name, value=self._reply_to[name])
