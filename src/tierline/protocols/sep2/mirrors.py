"""Mirror metering at the server: what a device may create, and that nobody writes into another's series.

Two rules. A mRID belongs to whoever used it first, that of a meter reading as well as that of a usage point, until that DER
is taken out. What changes a usage point is done one after the other, because it is computed from what was there.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from tierline.model.errors import Conflict, PeerError, TierlineError
from tierline.model.identity import Mrid
from tierline.operations.serving import telemetry
from tierline.operations.serving.registry import is_removed
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.mapping.telemetry import read_readings
from tierline.protocols.sep2.resources import metering

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tierline.model.identity import DerId
    from tierline.model.parties import Principal
    from tierline.model.records import MirrorUsagePointRecord
    from tierline.model.telemetry import Reading
    from tierline.operations.serving.state import Serving

MIRRORS_PER_DEVICE: Final = 16
METERS_PER_MIRROR: Final = 256
"""A device with a meter per phase and quantity needs some 30 of the latter."""

_MRID: Final = re.compile(rb"<mRID>([0-9A-F]{32})</mRID>")
"""In documents that were rendered here."""


class TooMany(Conflict):
    """A device has as many of something as it may have."""


class Mirrors:
    """The usage points of all devices."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._owners: dict[Mrid, DerId] | None = None
        self._at_work: WeakValueDictionary[Mrid, asyncio.Lock] = WeakValueDictionary()

    async def put(
        self, principal: Principal, der: DerId, mirror: metering.MirrorUsagePoint
    ) -> tuple[MirrorUsagePointRecord, bool]:
        """Create a usage point or replace the one with its mRID, and keep the readings in it; tells whether it is new.

        Raises: PeerError, Forbidden, Conflict; LinkError when the store refuses.
        """
        async with self._lock(mirror.mrid):
            known = self._own(der, mirror.mrid)
            readings, meters = _read(mirror.mirror_meter_readings, _meters(known), der)
            if known is None and len(self._serving.mirrors_of.get(der, ())) >= MIRRORS_PER_DEVICE:
                raise TooMany(f"a device has at most {MIRRORS_PER_DEVICE} MirrorUsagePoints")
            document = render(_with_meters(mirror, meters.values()))
            with self._claimed(der, meters):
                record, is_new = await telemetry.put_mirror(principal, self._serving, der, mirror.mrid, document)
        await self._keep(principal, der, readings)
        return record, is_new

    async def post(
        self,
        principal: Principal,
        der: DerId,
        mrid: Mrid,
        found: Sequence[metering.MirrorMeterReading],
    ) -> bool:
        """Keep meter readings of a usage point; tells whether any of them is new there.

        Raises: PeerError, Forbidden, Conflict; LinkError when the store refuses.
        """
        async with self._lock(mrid):
            record = self._own(der, mrid)
            if record is None:
                raise PeerError("the MirrorUsagePoint was deleted meanwhile", path="MirrorUsagePoint")
            mirror, known = parse(record.document, metering.MirrorUsagePoint), _meters(record)
            readings, meters = _read(found, known, der)
            changed = known | meters
            if changed != known:
                document = render(_with_meters(mirror, changed.values()))
                with self._claimed(der, changed):
                    await telemetry.put_mirror(principal, self._serving, der, mirror.mrid, document)
        await self._keep(principal, der, readings)
        return bool(meters.keys() - known.keys())

    async def drop(self, principal: Principal, record: MirrorUsagePointRecord) -> None:
        """Delete a usage point; its mRIDs stay its device's.

        Raises: Forbidden; LinkError when the store refuses.
        """
        async with self._lock(record.mrid):
            if record.mup_id in self._serving.mirrors:
                self._known_owners()
                await telemetry.drop_mirror(principal, self._serving, record.mup_id)

    async def _keep(self, principal: Principal, der: DerId, readings: list[tuple[Mrid, Reading]]) -> None:
        if readings:
            await telemetry.record_readings(principal, self._serving, der, readings)

    def _lock(self, mrid: Mrid) -> asyncio.Lock:
        """Give the lock of one mRID; it lives as long as somebody holds or awaits it."""
        lock = self._at_work.get(mrid)
        if lock is None:
            lock = self._at_work[mrid] = asyncio.Lock()
        return lock

    def _own(self, der: DerId, mrid: Mrid) -> MirrorUsagePointRecord | None:
        own = self._serving.mirrors_of.get(der, {})
        return next((record for record in own.values() if record.mrid == mrid), None)

    @contextmanager
    def _claimed(self, der: DerId, meters: Collection[Mrid]) -> Iterator[None]:
        """Claim mRIDs for a device while they are being written down, and give new ones back when that fails."""
        if len(meters) > METERS_PER_MIRROR:
            raise TooMany(f"a MirrorUsagePoint has at most {METERS_PER_MIRROR} MirrorMeterReadings")
        owners = self._known_owners()
        before = {mrid: owners.get(mrid) for mrid in meters if owners.get(mrid) != der}
        for mrid, owner in before.items():
            if owner is not None and not is_removed(self._serving, self._serving.devices[owner]):
                raise Conflict(f"the MirrorMeterReading mRID {mrid} is taken; make another one")
        owners.update(dict.fromkeys(before, der))
        try:
            yield
        except TierlineError:
            for mrid, owner in before.items():
                if owner is None:
                    del owners[mrid]
                else:
                    owners[mrid] = owner
            raise

    def _known_owners(self) -> dict[Mrid, DerId]:
        """Give who owns which mRID; found out at the first write, as the records are loaded after this was made."""
        if self._owners is None:
            self._owners = {
                Mrid(mrid.decode()): record.der_id
                for record in self._serving.mirrors.values()
                for mrid in _MRID.findall(record.document)
            }
        return self._owners


def _meters(record: MirrorUsagePointRecord | None) -> dict[Mrid, metering.MirrorMeterReading]:
    if record is None:
        return {}
    return {meter.mrid: meter for meter in parse(record.document, metering.MirrorUsagePoint).mirror_meter_readings}


def _read(
    meters: Iterable[metering.MirrorMeterReading], known: Mapping[Mrid, metering.MirrorMeterReading], der: DerId
) -> tuple[list[tuple[Mrid, Reading]], dict[Mrid, metering.MirrorMeterReading]]:
    """Split what was sent into readings and what they are readings of, completed by what is known of it."""
    readings: list[tuple[Mrid, Reading]] = []
    kept: dict[Mrid, metering.MirrorMeterReading] = {}
    for meter in meters:
        before = kept.get(meter.mrid) or known.get(meter.mrid)
        kind = meter.reading_type or (None if before is None else before.reading_type)
        if kind is None:
            raise PeerError("it is missing and this mRID has none yet", path="MirrorMeterReading/ReadingType")
        readings += read_readings(meter, kind, der)
        description = meter.description or (None if before is None else before.description)
        kept[meter.mrid] = metering.MirrorMeterReading(mrid=meter.mrid, description=description, reading_type=kind)
    return readings, kept


def _with_meters(
    mirror: metering.MirrorUsagePoint, meters: Iterable[metering.MirrorMeterReading]
) -> metering.MirrorUsagePoint:
    return metering.MirrorUsagePoint(
        mrid=mirror.mrid,
        description=mirror.description,
        version=mirror.version,
        role_flags=mirror.role_flags,
        service_category_kind=mirror.service_category_kind,
        status=mirror.status,
        device_lfdi=mirror.device_lfdi,
        mirror_meter_readings=tuple(meters),
    )
