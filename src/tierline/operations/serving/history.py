"""What has been: readings, Responses and the audit, by time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.model.records import AuditRecord, ReadingRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import faults

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.model.identity import DerId
    from tierline.model.parties import Principal
    from tierline.model.records import ResponseRecord
    from tierline.operations.serving.state import Serving

_CHUNK = 10_000
_MICROSECOND = timedelta(microseconds=1)
"""The resolution of the store."""


def readings_since(
    principal: Principal, serving: Serving, der: DerId, since: datetime, limit: int
) -> list[ReadingRecord]:
    """Give the readings of a DER from a time on, oldest first, at most `limit`."""
    require(principal, Verb.READ, f"device {der}")
    found: list[ReadingRecord] = []
    while len(found) < limit:
        size = _CHUNK
        chunk = serving.store.load_since(ReadingRecord, since, limit=size)
        while len(chunk) == size and chunk[0].reading.time == chunk[-1].reading.time:
            size *= 2  # all of one instant must fit, else the next chunk would begin with them again
            chunk = serving.store.load_since(ReadingRecord, since, limit=size)
        is_last = len(chunk) < size
        if not is_last:
            # The last instant of the chunk may go on in the next one: leave it to that.
            chunk = [record for record in chunk if record.reading.time < chunk[-1].reading.time]
        found += [record for record in chunk if record.reading.der_id == der]
        if is_last:
            break
        since = chunk[-1].reading.time + _MICROSECOND
    return found[:limit]


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
    lines = serving.store.load(AuditRecord)
    if after is None:
        return lines[-limit:]
    return [line for line in lines if line.sequence > after][:limit]


def verify_audit(principal: Principal, serving: Serving) -> tuple[int, list[str]]:
    """Check the whole audit; gives the number of its records and what is wrong."""
    require(principal, Verb.AUDIT, "audit")
    lines = serving.store.load(AuditRecord)
    found = faults(lines)
    tail = serving.audit_tail
    if tail is not None and (not lines or lines[-1].sha256 != tail.sha256):
        found.append(f"the store does not end with record {tail.sequence}, which this node wrote last")
    return len(lines), found
