"""The outbox of notices: which are due, and what becomes of one that arrived, was refused or did not get through.

Two rules. A notice is taken out only when nothing has changed since it was written: what changed meanwhile is told again.
Whoever cannot be told for a day loses the subscription rather than a notice, so that its absence can be seen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tierline.operations.serving.registry import device_of

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.model.identity import Lfdi
    from tierline.model.parties import Principal
    from tierline.model.records import EndDeviceRecord, NoticeRecord, SubscriptionRecord
    from tierline.operations.serving.state import Serving
    from tierline.operations.serving.subscriptions import Subscriptions

FIRST_PAUSE_S: Final = 10
LAST_PAUSE_S: Final = 300
"""Civil seconds until a notice is tried again: doubled from the first to the last."""
GIVEN_UP_AFTER: Final = timedelta(days=1)
"""Counted from the change that could not be told."""
REFUSALS: Final = 3
"""So many refusals in a row end a subscription."""


class Outbox:
    """The notices that a serving node still has to send; they outlive it."""

    def __init__(self, principal: Principal, serving: Serving, subscriptions: Subscriptions) -> None:
        """Act as a principal, the node itself."""
        self._principal = principal
        self._serving = serving
        self._subscriptions = subscriptions
        self._refusals: Counter[str] = Counter()

    def find(self, subscription_id: str) -> tuple[NoticeRecord, SubscriptionRecord] | None:
        """Give the notice that waits for a subscriber, None when there is none or the subscription ended."""
        notice = self._serving.notices.get(subscription_id)
        record = self._serving.subscriptions.get(subscription_id)
        return None if notice is None or record is None else (notice, record)

    def recipient(self, record: SubscriptionRecord) -> EndDeviceRecord | None:
        """Give the EndDevice that subscribed, None when it is not let in any more."""
        lfdi = self._serving.lfdi_of.get(record.der_id)
        return None if lfdi is None else device_of(self._serving, lfdi)

    def may_hear(self, record: SubscriptionRecord, lfdi: Lfdi) -> bool:
        """Tell whether a listener's certificate is the subscriber's, or that of one the same party stands for."""
        listener, subscriber = device_of(self._serving, lfdi), self.recipient(record)
        if listener is None or subscriber is None:
            return False
        if listener.der_id == subscriber.der_id:
            return True
        party = subscriber.aggregates
        return party is not None and party in {listener.aggregates, listener.managed_by}

    async def delivered(self, sent: NoticeRecord) -> None:
        """Take out a notice that arrived.

        Raises: LinkError when the store refuses; it is then sent once more.
        """
        self._refusals.pop(sent.subscription_id, None)
        await self._done(sent)

    async def refused(self, sent: NoticeRecord, why: str) -> bool:
        """Take out a notice its listener does not want; tells whether the subscription ends with it.

        Raises: LinkError when the store refuses.
        """
        self._refusals[sent.subscription_id] += 1
        if self._refusals[sent.subscription_id] >= REFUSALS:
            await self.end(sent, f"{REFUSALS} notices in a row were refused: {why}")
            return True
        await self._done(sent)
        return False

    async def failed(self, sent: NoticeRecord, why: str) -> datetime | None:
        """Put off a notice that did not get through; gives when to try again, None when its subscription ended.

        Raises: LinkError when the store refuses.
        """
        now = self._serving.clock.now()
        if now - sent.since > GIVEN_UP_AFTER:
            await self.end(sent, f"its listener could not be told for a day: {why}")
            return None
        pause_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(sent.attempts, 10))
        later = now + timedelta(seconds=pause_s)
        await self._put(replace(sent, attempts=sent.attempts + 1, next_at=later))
        return later

    async def end(self, notice: NoticeRecord, why: str) -> None:
        """End the subscription of a notice, and the notice with it.

        Raises: LinkError when the store refuses.
        """
        record = self._serving.subscriptions.get(notice.subscription_id)
        if record is not None:
            await self._subscriptions.drop(self._principal, [record], why)
        self._refusals.pop(notice.subscription_id, None)

    async def tidy(self) -> None:
        """Drop subscriptions that were not renewed, and notices whose subscription is gone.

        Raises: LinkError when the store refuses.
        """
        expired = self._subscriptions.expired(self._serving.clock.now())
        if expired:
            await self._subscriptions.drop(self._principal, expired, "not renewed in time")
        known = self._serving.subscriptions
        orphans = [notice for key, notice in self._serving.notices.items() if key not in known]
        if orphans:
            await self._serving.commit(delete=orphans)

    async def _done(self, sent: NoticeRecord) -> None:
        key = sent.subscription_id
        newest = self._subscriptions.newest
        # The very same notice: one with equal values is another change, of which the listener has not heard.
        if self._serving.notices.get(key) is sent and newest.get(key, sent) is sent:
            await self._serving.commit(delete=[sent])
            if newest.get(key) is sent:
                del newest[key]
        elif key in self._serving.subscriptions:
            now = self._serving.clock.now()
            await self._put(replace(sent, since=now, attempts=0, next_at=now))

    async def _put(self, notice: NoticeRecord) -> None:
        self._subscriptions.newest[notice.subscription_id] = notice
        await self._serving.commit([notice])
