"""Routes: DERs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from tierline.console.api import models
from tierline.console.api.access import Operator, Reader
from tierline.console.api.finding import device_named, group_named
from tierline.console.api.shown import Shows, reading_shown
from tierline.engine.access import Verb
from tierline.model.identity import PartyId, parse_lfdi
from tierline.model.records import ReadingRecord
from tierline.operations.serving import enrolment, history, registry
from tierline.operations.serving.access import require
from tierline.operations.serving.explain import explain
from tierline.operations.serving.state import Serving

_AT_ONCE = 500
"""Readings that are made ready before others have their turn: some milliseconds."""


def device_routes(serving: Serving) -> APIRouter:
    """Make the routes of DERs."""
    routes = APIRouter(tags=["devices"])
    shows = Shows(serving)

    @routes.get("/devices")
    async def list_devices(
        principal: Reader,
        group: str | None = None,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> models.Devices:
        """List DERs, of one group or all, a page at a time."""
        require(principal, Verb.READ, "devices")
        ders = serving.devices.keys() if group is None else serving.members_of.get(group_named(serving, group), set())
        page = sorted(ders)[offset : offset + limit]
        return models.Devices(
            total=len(ders), offset=offset, devices=[shows.device(serving.devices[der]) for der in page]
        )

    @routes.get("/devices/{name}")
    async def show_device(principal: Reader, name: str) -> models.DeviceDetail:
        """Show a DER by DerId, LFDI (or its beginning) or service point."""
        require(principal, Verb.READ, "devices")
        return shows.device_detail(device_named(serving, name))

    @routes.post("/devices", status_code=201)
    async def add_devices(principal: Operator, body: models.NewDevices) -> models.Registered:
        """Enrol DERs, all or none."""
        new = [
            registry.NewDevice(
                lfdi=None if device.lfdi is None else parse_lfdi(device.lfdi, exact=True),
                service_point=device.service_point,
                pin=device.pin,
                managed_by=None if device.managed_by is None else PartyId(device.managed_by),
                aggregates=None if device.aggregates is None else PartyId(device.aggregates),
            )
            for device in body.devices
        ]
        records = await registry.register(principal, serving, new)
        return models.Registered(devices=[shows.device_detail(record) for record in records])

    @routes.post("/devices/{name}/enable")
    async def enable_device(principal: Operator, name: str) -> models.Device:
        """Let a DER in."""
        device = device_named(serving, name)
        return shows.device(await registry.enable(principal, serving, device.der_id, enabled=True))

    @routes.post("/devices/{name}/disable")
    async def disable_device(principal: Operator, name: str) -> models.Device:
        """Shut a DER out from its next request on."""
        device = device_named(serving, name)
        return shows.device(await registry.enable(principal, serving, device.der_id, enabled=False))

    @routes.delete("/devices/{name}")
    async def remove_device(principal: Operator, name: str) -> models.Device:
        """Take a DER out: nobody is let in by its LFDI, and it leaves its groups; what it reported stays."""
        device = device_named(serving, name)
        await enrolment.remove(principal, serving, device.der_id)
        return shows.device(serving.devices[device.der_id])

    @routes.post("/devices/{name}/place")
    async def place_device(principal: Operator, name: str, body: models.Place) -> models.Device:
        """Say where a DER hangs in the grid; it leaves and joins groups at once."""
        device = device_named(serving, name)
        return shows.device(await registry.place(principal, serving, device.der_id, body.service_point))

    @routes.get("/devices/{name}/readings", response_model=models.Readings)
    async def list_readings(
        principal: Reader, name: str, span: Annotated[models.Since, Query()]
    ) -> models.Readings | StreamingResponse:
        """List the readings of a DER from a time on; of the last hour without one."""
        device = device_named(serving, name)
        since = serving.clock.now() - timedelta(hours=1) if span.since is None else span.since
        found = islice(history.readings_since(principal, serving, device.der_id, since), span.limit)
        first = [*islice(found, _AT_ONCE)]
        if len(first) < _AT_ONCE:
            return models.Readings(readings=[reading_shown(record) for record in first])
        return StreamingResponse(_streamed(first, found), media_type="application/json")

    @routes.get("/devices/{name}/explain")
    async def explain_device(principal: Reader, name: str) -> models.Explanation:
        """Say what a DER should do now, and why."""
        return shows.explanation(explain(principal, serving, device_named(serving, name)))

    @routes.get("/readings/latest")
    async def latest_readings(principal: Reader, group: str | None = None, point: str | None = None) -> models.Readings:
        """List the newest reading of every point of every DER, of one group or all."""
        require(principal, Verb.READ, "readings")
        ders = None if group is None else serving.members_of.get(group_named(serving, group), set())
        found = [
            record
            for (der, name, _), record in sorted(serving.latest.items())
            if (ders is None or der in ders) and (point is None or name == point)
        ]
        return models.Readings(readings=[reading_shown(record) for record in found])

    return routes


async def _streamed(batch: list[ReadingRecord], rest: Iterator[ReadingRecord]) -> AsyncIterator[str]:
    """Write `models.Readings` a batch at a time, so that a long answer is never in memory as a whole."""
    lead = '{"readings":['
    while batch:
        yield lead + ",".join(reading_shown(record).model_dump_json() for record in batch)
        await asyncio.sleep(0)
        lead, batch = ",", [*islice(rest, _AT_ONCE)]
    yield "]}"
