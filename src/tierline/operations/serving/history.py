"""What has been: readings, Responses and the audit, by time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.model.records import AuditRecord, ReadingRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import Chain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tierline.model.identity import DerId, Mrid
    from tierline.model.parties import Principal
    from tierline.model.records import ResponseRecord
    from tierline.operations.serving.state import Serving
    from tierline.ports import Store

_AT_ONCE = 500
"""Records of the audit that are checked before others have their turn: some milliseconds."""
_MICROSECOND = timedelta(microseconds=1)
"""The resolution of the store."""


def readings_since(principal: Principal, serving: Serving, der: DerId, since: datetime) -> Iterator[ReadingRecord]:
    """Give the readings of a DER from a time on, oldest first, one by one."""
    require(principal, Verb.READ, f"device {der}")
    store = serving.store
    each = [
        store.each(ReadingRecord, of=(der, series), after=(since - _MICROSECOND,)) for series in _series_of(store, der)
    ]
    return merge(*each, key=lambda record: (record.reading.time, record.meter_reading))


def _series_of(store: Store, der: DerId) -> Iterator[Mrid]:
    """Find the series of a DER of which there are readings, by a look for the next one after each."""
    first = next(store.each(ReadingRecord, of=(der,)), None)
    while first is not None:
        yield first.meter_reading
        first = next(store.each(ReadingRecord, of=(der,), after=(first.meter_reading,)), None)


def responses_since(principal: Principal, serving: Serving, since: datetime | None, limit: int) -> list[ResponseRecord]:
    """Give the Responses received from a time on, oldest first, at most `limit`."""
    require(principal, Verb.READ, "responses")
    found = [
        record
        for answers in serving.responses.values()
        for record in answers.values()
        if since is None or record.received_at >= since
    ]
    found.sort(key=lambda record: (record.received_at, record.mrid, record.der_id, record.status))
    return found[:limit]


def audit_lines(principal: Principal, serving: Serving, after: int | None, limit: int) -> list[AuditRecord]:
    """Give lines of the audit in their order: those after a sequence number, or the last ones."""
    require(principal, Verb.AUDIT, "audit")
    store = serving.store
    if after is None:
        return [*islice(store.each(AuditRecord, newest_first=True), limit)][::-1]
    return [*islice(store.each(AuditRecord, after=(after,)), limit)]


async def verify_audit(principal: Principal, serving: Serving) -> tuple[int, list[str]]:
    """Check the whole audit; gives the number of its records and what is wrong. Others go on meanwhile."""
    require(principal, Verb.AUDIT, "audit")
    chain = Chain()
    for record in serving.store.each(AuditRecord):
        chain.check(record)
        if not chain.count % _AT_ONCE:
            await asyncio.sleep(0)
    async with serving.writing:  # so that nobody is about to add to it
        for record in serving.store.each(AuditRecord, after=(chain.sequence,)):
            chain.check(record)
        tail = serving.audit_tail
        if tail is not None and chain.last != tail.sha256:
            chain.faults.append(f"the store does not end with record {tail.sequence}, which this node wrote last")
    return chain.count, chain.faults
