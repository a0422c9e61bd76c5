"""Up through a relay: what those below answer, measure and say of themselves goes on to the servers above.

What is handed on becomes durable in the transaction that keeps it here, so nothing that was acknowledged below is ever
forgotten, and a repetition, which writes nothing here, is not handed on twice: also of a DER that has moved to another server
meanwhile. Of what a DER says of itself only the newest document counts; it waits for as long as it is not the one that was
handed on, and where another serves the DER now that is for the other to say.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from tierline.model.records import (
    BufferedReadingRecord,
    DerInfoKind,
    DerInfoRecord,
    OutboxRecord,
    ReadingRecord,
    ResponseRecord,
)
from tierline.operations.relay.relayed import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid
    from tierline.model.records import Record
    from tierline.operations.following.buffer import ReadingBuffer
    from tierline.operations.following.outbox import Outbox
    from tierline.operations.relay.relayed import Handed, Relayed
    from tierline.operations.serving.state import Serving


class Upward:
    """The way up of one node, over all channels it relays."""

    def __init__(
        self,
        serving: Serving,
        channels: Sequence[Relayed],
        outbox: Outbox,
        buffer: ReadingBuffer,
        wake: Callable[[ChannelId], None],
    ) -> None:
        """Watch a serving half; `wake` is called when something new waits for a channel."""
        self._serving = serving
        self._channels = {relayed.channel: relayed for relayed in channels}
        self._outbox = outbox
        self._buffer = buffer
        self._wake = wake
        self._told: dict[ChannelId, dict[Handed, None]] = {relayed.channel: {} for relayed in channels}
        """What was said since it was last looked at everything."""
        self._looked_at: dict[ChannelId, Mapping[Lfdi, DerId]] = {}
        """The members of that time."""
        serving.consequences.append(self.consequences)
        serving.observers.append(self.observe)

    def consequences(self, put: Sequence[Record], delete: Sequence[Record]) -> Iterator[Record]:
        """Say what must be handed on of what is about to be kept."""
        del delete
        for record in put:
            match record:
                case ResponseRecord():
                    channel = self._channel_of(record.mrid)
                    if channel is not None:
                        yield OutboxRecord(
                            party=self._serving.party,
                            channel=channel,
                            der_id=record.der_id,
                            mrid=record.mrid,
                            status=record.status,
                            lfdi=record.lfdi,
                            created_at=record.created_at,
                        )
                case ReadingRecord():
                    channels = self._channels_for(record.reading.der_id)
                    channels = [channel for channel in channels if self._channels[channel].readings]
                    if channels:
                        yield from self._buffer.numbered(channels, record.reading)
                case _:
                    pass

    def observe(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        """Take over what has become durable."""
        del delete
        awake: set[ChannelId] = set()
        for record in put:
            match record:
                case OutboxRecord():
                    self._outbox.add([record])
                    awake.add(record.channel)
                case BufferedReadingRecord():
                    self._buffer.take([record])
                case DerInfoRecord():
                    for channel in self._channels_for(record.der_id):
                        self._told[channel][record.der_id, record.kind] = None
                        awake.add(channel)
                case _:
                    pass
        for channel in awake:
            self._wake(channel)

    def infos(self, relayed: Relayed) -> list[tuple[Lfdi, DerInfoRecord]]:
        """Give the documents that a channel's server does not have yet, member by member."""
        told = self._told[relayed.channel]
        if self._looked_at.get(relayed.channel) is not relayed.members:
            # Others than before: what they said earlier counts too.
            self._looked_at[relayed.channel] = relayed.members
            told.update(dict.fromkeys(product(relayed.ders, DerInfoKind)))
        found = []
        for handed in list(told):
            info, lfdi = self._serving.infos.get(handed), relayed.lfdi_of(handed[0])
            is_ours = lfdi is not None and relayed.speaks_for(handed[0])
            if info is None or lfdi is None or not is_ours or relayed.handed_on.get(handed) == digest_of(info.document):
                del told[handed]
            else:
                found.append((lfdi, info))
        return found

    async def handed_on(self, relayed: Relayed, info: DerInfoRecord) -> None:
        """Write down that a server has a document.

        Raises: LinkError when the store refuses; the document is handed on again then, which changes nothing.
        """
        handed: Handed = (info.der_id, info.kind)
        digest = digest_of(info.document)
        record = relayed.handed_record(self._serving.party, handed, digest)
        await self._serving.store.commit([record])
        if relayed.speaks_for(info.der_id):
            relayed.handed_on[handed] = digest
        else:
            # It left meanwhile: its server forgets what it said.
            await self._serving.store.commit(delete=[record])

    async def forget_handed_on(self, relayed: Relayed) -> None:
        """Take it that a server has lost what was handed on to it.

        Raises: LinkError when the store refuses.
        """
        if relayed.handed_on:
            party = self._serving.party
            gone = [relayed.handed_record(party, handed, digest) for handed, digest in relayed.handed_on.items()]
            await self._serving.store.commit(delete=gone)
            relayed.handed_on.clear()
        self._looked_at.pop(relayed.channel, None)

    def _channel_of(self, mrid: Mrid) -> ChannelId | None:
        """Give the channel that an event came by, None for one of this node's own."""
        program = self._serving.program_of_control.get(mrid)
        channel = None if program is None else self._serving.programs[program].record.channel
        return channel if channel in self._channels else None

    def _channels_for(self, der: DerId) -> list[ChannelId]:
        """Give the channels whose servers list a DER as one that this node stands for."""
        return [channel for channel, relayed in self._channels.items() if der in relayed.ders]
