"""Where each event wants its Responses: known before the event is known to anybody, and after every restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.errors import PeerError
from tierline.model.records import KnownRecord
from tierline.protocols.sep2.client import post
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.resources import exchange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId
    from tierline.model.programs import Response
    from tierline.ports import Store
    from tierline.protocols.sep2.client import Steps

_REPLY = "reply_to"
"""Prefix of the names under which the paths for Responses are remembered."""


class Answering:
    """The paths for Responses of one channel."""

    def __init__(self, store: Store, party: PartyId, channel: ChannelId) -> None:
        self._store = store
        self._party = party
        self._prefix = f"{_REPLY}/{channel}/"
        self._reply_to: dict[str, str] = {
            record.name: record.value for record in store.load(KnownRecord) if record.name.startswith(self._prefix)
        }

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
