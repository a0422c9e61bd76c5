"""The north face: one server above, as the port `Northbound`; it drives the sans-IO steps over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tierline.model.errors import Forbidden, PeerError
from tierline.model.identity import ChannelId
from tierline.protocols.sep2.answering import Answering
from tierline.protocols.sep2.courier import Carrier
from tierline.protocols.sep2.follow.describe import Sent, describe
from tierline.protocols.sep2.follow.mirror import create_mirror, post_readings, series_of
from tierline.protocols.sep2.follow.walk import DEFAULT_POLL_S, walk
from tierline.protocols.sep2.tariffs import Offer, Sep2Tariffs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from tierline.model.identity import Lfdi, Mrid
    from tierline.model.programs import ProgramsSeen, Response
    from tierline.model.telemetry import Reading
    from tierline.ports import Clock, DeviceFacts, Store
    from tierline.protocols.sep2.courier import Courier
    from tierline.protocols.sep2.follow.walk import Entry, Tree


class Sep2North:
    """One server above one DER."""

    def __init__(
        self,
        *,
        courier: Courier,
        entry: Entry,
        clock: Clock,
        store: Store,
        lfdi: Lfdi,
        pen: int,
        is_one_of: bool = False,
        tells_serial: bool = False,
    ) -> None:
        """Begin at an entry.

        `is_one_of` says that the channel has other servers too, so paths are this one's alone; `tells_serial` that the
        server may know the serial number of the device.
        """
        self._tells_serial = tells_serial
        self._carrier = Carrier(courier, clock, entry.server)
        memory = ChannelId(f"{entry.channel}@{entry.server}") if is_one_of else entry.channel
        self._answering = Answering(store, entry.party, memory)
        self._entry = entry
        self._lfdi = lfdi
        self._pen = pen
        self._tree: Tree | None = None
        self._sent = Sent()
        self._mirror = ""
        self.tariffs = Sep2Tariffs(self._carrier, entry, clock)
        """What the server shows of tariffs, once it was walked."""
        self.poll_s = DEFAULT_POLL_S
        """How long the server wants us to wait between walks; as of the last one."""
        self.post_s: int | None = None
        """postRate of our mirror, once it is known."""

    async def walk(self) -> ProgramsSeen:
        """Read the whole tree once.

        Raises: LinkError, PeerError, Forbidden.
        """
        try:
            tree = await self._carrier.carry(walk(self._entry))
        except Forbidden:
            # A server that let us go knows nothing of us when it takes us back.
            self._sent, self._mirror = Sent(), ""
            raise
        await self._answering.remember(tree.reply_to)
        self._tree = tree
        self.poll_s = tree.poll_s
        self.tariffs.offer(
            Offer(
                everybody=tree.tariff_list,
                assigned=dict.fromkeys(tree.tariffs_assigned, frozenset()),
                offset_s=tree.seen.clock_offset_s,
            )
        )
        return tree.seen

    async def respond(self, response: Response) -> None:
        """Deliver one Response; returns when the server has acknowledged it.

        Raises: LinkError (come again); PeerError or Forbidden (the server refuses it for good).
        """
        await self._carrier.carry(self._answering.answer(response, response.lfdi or self._lfdi))

    async def report(self, readings: Sequence[Reading]) -> None:
        """Deliver readings of points that can be mirrored; returns when the server has acknowledged all.

        Raises: LinkError, PeerError, Forbidden.
        """
        tree = self._known_tree()
        series = series_of(readings)
        if not series:
            return
        if not self._mirror:
            mirror = await self._carrier.carry(create_mirror(tree.mirror_list, self._lfdi, series, self._pen))
            self._mirror = mirror.href or ""
            self.post_s = mirror.post_rate
        try:
            await self._carrier.carry(post_readings(self._mirror, self._lfdi, readings, self._pen))
        except Forbidden:
            self._mirror = ""
            raise

    async def describe(self, facts: DeviceFacts, status: Mapping[str, Decimal | int], now: datetime) -> None:
        """Put capability, settings, status and availability where they changed.

        Raises: LinkError, PeerError, Forbidden.
        """
        tree = self._known_tree()
        time = int(now.timestamp())
        if not self._tells_serial:
            facts = replace(facts, serial="")
        self._sent = await self._carrier.carry(describe(tree, self._lfdi, facts, status, time, self._sent))

    async def close(self) -> None:
        """Let go of the link."""
        await self._carrier.close()

    async def forget(self, mrids: Sequence[Mrid]) -> None:
        """Drop where events wanted their Responses, once the last one was posted."""
        await self._answering.forget(mrids)

    def _known_tree(self) -> Tree:
        if self._tree is None:
            raise PeerError("the server was not walked yet")
        return self._tree
