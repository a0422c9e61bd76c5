"""The audit of commands: an append-only chain in which every record carries the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from tierline.model.records import AuditRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierline.model.parties import Principal
    from tierline.operations.serving.state import Serving

ORIGIN = "0" * 64
"""What the first record of a chain names as its predecessor."""


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


def faults(records: Iterable[AuditRecord]) -> list[str]:
    """Check a chain from its beginning and say what is wrong, in order; an empty list means it is whole."""
    found = []
    previous, sequence = ORIGIN, 0
    for record in records:
        sequence += 1
        if record.sequence != sequence:
            found.append(f"record {sequence} is missing: {record.sequence} stands in its place")
            sequence = record.sequence
        if record.previous_sha256 != previous:
            found.append(f"record {record.sequence} does not follow the one before it")
        if _sealed(record).sha256 != record.sha256:
            found.append(f"record {record.sequence} was changed")
        previous = record.sha256
    return found


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
