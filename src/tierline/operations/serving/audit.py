"""The audit of commands: an append-only chain in which every record carries the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.model.records import AuditRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from tierline.model.parties import Principal
    from tierline.operations.serving.state import Serving
    from tierline.ports import Store

ORIGIN = "0" * 64
"""What the first record of a chain names as its predecessor."""
_PAGE = 5_000


def entry(
    principal: Principal,
    serving: Serving,
    verb: str,
    resource: str,
    outcome: str,
    detail: Mapping[str, object],
    *,
    after: AuditRecord | None = None,
) -> AuditRecord:
    """Make the next link of the chain; it counts once it is committed. `after` is one of the same commit.

    The caller holds `serving.writing` until it has committed, else two records would claim the same place.
    """
    tail = after or serving.audit_tail
    bare = AuditRecord(
        party=principal.party,
        sequence=1 if tail is None else tail.sequence + 1,
        time=serving.clock.now(),
        principal=principal.name,
        verb=verb,
        resource=resource,
        outcome=outcome,
        detail=json.dumps(detail, sort_keys=True, separators=(",", ":"), default=str),
        previous_sha256=ORIGIN if tail is None else tail.sha256,
        sha256="",
    )
    return _sealed(bare)


@dataclass(slots=True)
class Chain:
    """The check of a chain, record by record from its beginning."""

    faults: list[str] = field(default_factory=list)
    """What is wrong, in order; empty while it is whole."""
    count: int = 0
    """Of the records that were checked."""
    sequence: int = 0
    """Of the last of them."""
    last: str = ORIGIN
    """Its hash."""

    def check(self, record: AuditRecord) -> None:
        """Check the next record."""
        self.count += 1
        if record.sequence != self.sequence + 1:
            self.faults.append(f"record {self.sequence + 1} is missing: {record.sequence} stands in its place")
        if record.previous_sha256 != self.last:
            self.faults.append(f"record {record.sequence} does not follow the one before it")
        if _sealed(record).sha256 != record.sha256:
            self.faults.append(f"record {record.sequence} was changed")
        self.sequence, self.last = record.sequence, record.sha256


def faults(records: Iterable[AuditRecord]) -> list[str]:
    """Check a chain from its beginning and say what is wrong, in order; an empty list means it is whole."""
    chain = Chain()
    for record in records:
        chain.check(record)
    return chain.faults


def lines_since(store: Store, time: datetime) -> Iterator[AuditRecord]:
    """Read the audit from a time on, oldest first, a page at a time."""
    size = _PAGE
    while True:
        page = store.load_since(AuditRecord, time, limit=size)
        if len(page) < size:
            yield from page
            return
        if page[-1].time == time:
            size *= 2  # all of one instant must fit, else the next page would begin with it again
            continue
        # The last instant may go on in the next page: leave it to that.
        yield from (record for record in page if record.time < page[-1].time)
        time, size = page[-1].time, _PAGE


def _sealed(record: AuditRecord) -> AuditRecord:
    text = json.dumps(
        [
            record.party,
            record.sequence,
            record.time.isoformat(),
            record.principal,
            record.verb,
            record.resource,
            record.outcome,
            record.detail,
            record.previous_sha256,
        ]
    )
    return AuditRecord(
        party=record.party,
        sequence=record.sequence,
        time=record.time,
        principal=record.principal,
        verb=record.verb,
        resource=record.resource,
        outcome=record.outcome,
        detail=record.detail,
        previous_sha256=record.previous_sha256,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
