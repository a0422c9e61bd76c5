"""What is old enough to be forgotten: readings after weeks, controls with their Responses after more than a year.

The audit, the registry and the memberships are never forgotten here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.engine.price_status import ends
from tierline.engine.serving_status import latest_end
from tierline.model.control import Curve
from tierline.model.records import ReadingRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from tierline.model.identity import Mrid
    from tierline.model.parties import Principal
    from tierline.model.records import ControlRecord, CurveRecord, Record
    from tierline.operations.serving.state import Served, Serving

_READINGS_AT_ONCE = 2_000
_CONTROLS_AT_ONCE = 20
_PRICES_AT_ONCE = 2_000
"""One step holds the writer for a fraction of a second only: acknowledgements wait behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long records are kept."""

    readings: timedelta
    """By the time a reading was measured."""
    controls: timedelta
    """After its latest possible end; Responses and curves go with their control. Prices that are over are kept as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was dropped."""

    readings: int
    controls: int
    prices: int = 0


async def forget_old(principal: Principal, serving: Serving, retention: Retention) -> Forgotten:
    """Drop what is older than it must be kept, in small steps; says so in the audit when anything went.

    Raises: LinkError when the store refuses; what was dropped before stays dropped, and the next call goes on.
    """
    require(principal, Verb.CONFIGURE, "the store")
    now = serving.clock.now()
    readings = await _forget_readings(serving, now - retention.readings)
    controls = await _forget_controls(serving, now - retention.controls)
    prices = await _forget_prices(serving, now - retention.controls)
    if readings or controls or prices:
        detail = {"readings": readings, "controls": controls, "prices": prices}
        async with serving.writing:
            await serving.commit([entry(principal, serving, "forget", "store", "done", detail)])
    return Forgotten(readings=readings, controls=controls, prices=prices)


async def _forget_readings(serving: Serving, before: datetime) -> int:
    total = 0
    while True:
        count = await serving.store.forget_before(ReadingRecord, before, limit=_READINGS_AT_ONCE)
        total += count
        if count < _READINGS_AT_ONCE:
            return total
        await asyncio.sleep(0)


async def _forget_controls(serving: Serving, before: datetime) -> int:
    total = 0
    for mrid in list(serving.programs):
        while True:
            async with serving.writing:
                served = serving.program(mrid)
                if served is None:
                    break  # a relay has dropped it meanwhile
                old = [record for record in served.controls.values() if latest_end(record.control) < before]
                old = old[:_CONTROLS_AT_ONCE]
                gone = _with_what_hangs_on_it(serving, served, old)
                if not gone:
                    break
                await serving.commit(delete=gone)
                total += len(old)
    return total


async def _forget_prices(serving: Serving, before: datetime) -> int:
    """Drop prices that are over; their tariffs stay."""
    total = 0
    for tariff in list(serving.tariffs):
        while True:
            async with serving.writing:
                old = [price for price in serving.prices.get(tariff, {}).values() if ends(price) < before]
                old = old[:_PRICES_AT_ONCE]
                if not old:
                    break
                await serving.commit(delete=old)
                total += len(old)
            await asyncio.sleep(0)
    return total


def _with_what_hangs_on_it(serving: Serving, served: Served, old: list[ControlRecord]) -> list[Record]:
    answers = [answer for record in old for answer in serving.responses.get(record.mrid, {}).values()]
    return [*old, *answers, *_unused_curves(served, {record.mrid for record in old})]


def _unused_curves(served: Served, old: set[Mrid]) -> list[CurveRecord]:
    """Give the curves that no control that stays refers to, nor the default."""
    kept = [record.control.setpoints for record in served.controls.values() if record.mrid not in old]
    if served.default is not None:
        kept.append(served.default.default.setpoints)
    used = {value.mrid for setpoints in kept for value in setpoints.values() if isinstance(value, Curve)}
    return [curve for curve in served.curves.values() if curve.mrid not in used]
