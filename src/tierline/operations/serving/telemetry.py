"""What DERs send up: Responses, readings, their own description. Kept before it is acknowledged, and kept once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.model.errors import Conflict, Forbidden, PeerError
from tierline.model.identity import DerId, der_id
from tierline.model.records import DerInfoRecord, MirrorUsagePointRecord, ReadingRecord, ResponseRecord
from tierline.operations.serving.access import require_der
from tierline.operations.serving.audit import entry
from tierline.operations.serving.handing_on import require_answer, require_newest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierline.model.identity import Lfdi, Mrid
    from tierline.model.parties import Principal
    from tierline.model.programs import ResponseStatus
    from tierline.model.records import DerInfoKind, EndDeviceRecord
    from tierline.model.telemetry import Reading
    from tierline.operations.serving.state import Serving

TERMINAL = frozenset({3, 6, 7, 13, 14, 252, 253, 254})
"""The statuses after which a DER has nothing more to say about an event."""


async def record_response(
    principal: Principal,
    serving: Serving,
    der: DerId,
    mrid: Mrid,
    status: ResponseStatus,
    created_at: datetime,
) -> ResponseRecord:
    """Keep a Response; the same one again is acknowledged and changes nothing.

    Who handed it on is written down where that is in doubt (docs/rules.md R8).
    Raises: PeerError for an event this node does not know, or that this DER cannot know; Forbidden for another's DER, and
    for a control point that cannot have shown it the event.
    """
    device = require_der(principal, serving, Verb.RESPOND, der)
    control = serving.control(mrid)
    if control is None:
        raise PeerError(f"there is no event {mrid}", path="Response/subject")
    left = require_answer(principal, serving, device, control)
    key = (mrid, device.der_id, status)
    while (arriving := serving.arriving.get(key)) is not None:
        await arriving.wait()  # the same one is being written down, which may fail yet
    known = serving.responses.get(mrid, {}).get((device.der_id, status))
    if known is not None:
        return known
    record = ResponseRecord(
        party=serving.party,
        mrid=mrid,
        der_id=device.der_id,
        status=status,
        lfdi=_lfdi_for(principal, serving, device),
        created_at=created_at,
        received_at=serving.clock.now(),
    )
    written = serving.arriving[key] = asyncio.Event()
    try:
        if left is None:
            await serving.commit([record])
        else:
            await _commit_in_doubt(principal, serving, record, left)
    finally:
        del serving.arriving[key]
        written.set()
    return record


async def _commit_in_doubt(principal: Principal, serving: Serving, record: ResponseRecord, left: datetime) -> None:
    """Keep a Response together with who handed it on."""
    detail = {"by": principal.party, "left_at": left.isoformat(), "mrid": record.mrid, "status": int(record.status)}
    async with serving.writing:
        said = entry(principal, serving, "respond", f"device {record.der_id}", "taken in doubt", detail)
        await serving.commit([record, said])


def _lfdi_for(principal: Principal, serving: Serving, device: EndDeviceRecord) -> Lfdi | None:
    return serving.lfdi_of.get(device.der_id, principal.lfdi)


async def record_readings(
    principal: Principal, serving: Serving, der: DerId, readings: Sequence[tuple[Mrid, Reading]]
) -> None:
    """Keep readings of a DER, each once: the same meter reading at the same time replaces itself.

    Raises: Forbidden for another's DER.
    """
    device = require_der(principal, serving, Verb.REPORT, der)
    now = serving.clock.now()
    await serving.commit(
        [
            ReadingRecord(party=device.party, meter_reading=mrid, reading=reading, received_at=now)
            for mrid, reading in readings
        ]
    )


async def put_info(principal: Principal, serving: Serving, der: DerId, kind: DerInfoKind, document: bytes) -> None:
    """Keep what a DER says of itself.

    Raises: Forbidden for another's DER, and for a control point that it has left and has said something new since.
    """
    device = require_der(principal, serving, Verb.REPORT, der)
    require_newest(principal, serving, device, kind)
    await serving.commit(
        [
            DerInfoRecord(
                party=device.party,
                der_id=device.der_id,
                kind=kind,
                document=document,
                changed_at=serving.clock.now(),
            )
        ]
    )


async def put_mirror(
    principal: Principal, serving: Serving, der: DerId, mrid: Mrid, document: bytes
) -> tuple[MirrorUsagePointRecord, bool]:
    """Create a MirrorUsagePoint, or replace the one with the same mRID; tells whether it is new.

    Raises: Forbidden for another's DER; Conflict when the mRID belongs to another DER.
    """
    device = require_der(principal, serving, Verb.REPORT, der)
    is_new = serving.mirror_of.get(mrid) is None
    # Claimed before the wait: the same request again, while this one is not durable yet, gets the same place.
    if mrid not in serving.mirror_claims:
        serving.mirror_claims[mrid] = (device.der_id, _new_mup_id(serving))
    owner, mup_id = serving.mirror_claims[mrid]
    if owner != device.der_id:
        raise Conflict(f"the MirrorUsagePoint mRID {mrid} is taken; make another one")
    record = MirrorUsagePointRecord(
        party=device.party,
        mrid=mrid,
        der_id=device.der_id,
        mup_id=mup_id,
        document=document,
        changed_at=serving.clock.now(),
    )
    await serving.commit([record])
    return record, is_new


def _new_mup_id(serving: Serving) -> str:
    while (drawn := der_id(serving.random.bits(64))) in serving.mirrors:
        pass
    return drawn


async def drop_mirror(principal: Principal, serving: Serving, mup_id: str) -> None:
    """Delete a MirrorUsagePoint; its readings stay.

    Raises: Forbidden for another's DER or an unknown one.
    """
    mirror = serving.mirrors.get(mup_id)
    if mirror is None:
        raise Forbidden(f"there is no MirrorUsagePoint {mup_id} of {principal.name}")
    require_der(principal, serving, Verb.REPORT, mirror.der_id)
    await serving.commit(delete=[mirror])
