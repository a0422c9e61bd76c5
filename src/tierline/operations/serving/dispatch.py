"""Controls: created, previewed, cancelled and watched. One audit record and one transaction per act."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.engine.serving_status import latest_end
from tierline.model.control import CANCELLED, Control, EventStatus, Interval, Provenance, Setpoints
from tierline.model.errors import ConfigError, Conflict
from tierline.model.identity import ChannelId, DerId, GroupId, Mrid
from tierline.model.records import ControlRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.limits import govern
from tierline.operations.serving.programs import check_carried, check_setpoints, curve_records, new_mrid, own_program_of
from tierline.operations.serving.wording import worded

if TYPE_CHECKING:
    from decimal import Decimal

    from tierline.model.parties import Principal
    from tierline.model.programs import ResponseStatus
    from tierline.model.records import Record
    from tierline.operations.serving.state import Serving

RANDOMIZE_MAX_S = 3600
"""OneHourRangeType of IEEE 2030.5-2018."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an operator asks for."""

    group_id: GroupId
    setpoints: Setpoints
    start: datetime
    duration_s: int
    randomize_start_s: int = 0
    randomize_duration_s: int = 0
    ramp_time_s: Decimal | None = None
    reason: str = ""
    """Why, for the audit; never sent to a DER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberState:
    """How far one DER has come with one event."""

    der_id: DerId
    is_member: bool
    """Whether it belongs to the event's group now."""
    responses: tuple[ResponseStatus, ...]
    """What it answered, in the order of the codes."""
    responded_at: datetime | None
    """When the last answer came."""


def check_order(order: Order, now: datetime) -> None:
    """Check an order before anything is done.

    Raises: ConfigError saying what to change.
    """
    check_setpoints(order.setpoints, default=False)
    if order.duration_s < 1:
        raise ConfigError(f"a control lasts at least one second, not {order.duration_s}; every command has an end")
    for name, value in (("start", order.randomize_start_s), ("duration", order.randomize_duration_s)):
        if abs(value) > RANDOMIZE_MAX_S:
            raise ConfigError(f"the {name} can be randomized by at most {RANDOMIZE_MAX_S} s, not {value}")
    try:
        end = order.start + timedelta(seconds=order.duration_s + 2 * RANDOMIZE_MAX_S)
    except OverflowError as error:
        raise ConfigError(f"a control of {order.duration_s} s would end beyond the year 9999; end it sooner") from error
    if end - timedelta(seconds=2 * RANDOMIZE_MAX_S) <= now:
        raise ConfigError(f"the control would end at or before {now:%H:%M:%S}, which is now; start it later")


async def create_control(principal: Principal, serving: Serving, order: Order) -> ControlRecord:
    """Create an event in the program of a group; its members see it from their next walk on.

    Raises: ConfigError; Unsupported when no south face can carry it; Forbidden, also when it is more than the governor
    allows.
    """
    require(principal, Verb.CONTROL, f"group {order.group_id}")
    now = serving.clock.now()
    check_order(order, now)
    check_carried(serving, order.setpoints, order.ramp_time_s)
    async with serving.writing:
        request = govern(principal, serving, order.group_id, order.setpoints)
        program = own_program_of(serving, order.group_id).record.mrid
        setpoints, curves = curve_records(serving, program, order.setpoints)
        control = Control(
            mrid=new_mrid(serving),
            creation_time=now.replace(microsecond=0),
            interval=Interval(start=order.start.replace(microsecond=0), duration_s=order.duration_s),
            setpoints=setpoints,
            randomize_start_s=order.randomize_start_s,
            randomize_duration_s=order.randomize_duration_s,
            ramp_time_s=order.ramp_time_s,
            status_time=now.replace(microsecond=0),
            provenance=Provenance(party=principal.party, channel=ChannelId("operator"), lfdi=principal.lfdi),
        )
        record = ControlRecord(party=serving.party, mrid=control.mrid, program=program, control=control, changed_at=now)
        detail = {
            "group": order.group_id,
            "setpoints": worded(order.setpoints),
            "start": control.interval.start.isoformat(),
            "duration_s": order.duration_s,
            "reason": order.reason,
            "members": sorted(request.devices),
            "relief_w": request.power_w,
        }
        put: list[Record] = [*curves, record]
        put.append(entry(principal, serving, "control", f"control {control.mrid}", "created", detail))
        await serving.commit(put)
        serving.granted.append(request)
    return record


async def cancel_control(
    principal: Principal, serving: Serving, mrid: Mrid, *, randomized: bool = False, reason: str = ""
) -> ControlRecord:
    """Cancel an event; it stays visible as cancelled until it would have ended.

    Raises: ConfigError when there is no such event; Conflict when it has ended or is cancelled already.
    """
    require(principal, Verb.CONTROL, f"control {mrid}")
    async with serving.writing:
        record = serving.control(mrid)
        now = serving.clock.now()
        if record is None:
            raise ConfigError(f"there is no control {mrid}; `tierline control list` shows those there are")
        channel = serving.programs[record.program].record.channel
        if channel is not None:
            raise Conflict(f"control {mrid} is relayed from {channel}; have it cancelled there")
        if record.control.status in CANCELLED:
            raise Conflict(f"control {mrid} is cancelled already")
        if latest_end(record.control) <= now:
            raise Conflict(f"control {mrid} ended at {latest_end(record.control):%Y-%m-%d %H:%M:%S} UTC")
        status = EventStatus.CANCELLED_RANDOMIZED if randomized else EventStatus.CANCELLED
        control = replace(record.control, status=status, status_time=now.replace(microsecond=0))
        cancelled = replace(record, control=control, changed_at=now)
        detail = {"reason": reason, "randomized": randomized}
        await serving.commit([cancelled, entry(principal, serving, "cancel", f"control {mrid}", "done", detail)])
    return cancelled


def progress(principal: Principal, serving: Serving, mrid: Mrid) -> list[MemberState]:
    """Say how far every member, and every DER that answered, has come with an event.

    Raises: ConfigError when there is no such event.
    """
    require(principal, Verb.READ, f"control {mrid}")
    record = serving.control(mrid)
    if record is None:
        raise ConfigError(f"there is no control {mrid}; `tierline control list` shows those there are")
    members = serving.members_of.get(serving.programs[record.program].record.group_id, set())
    answers: dict[DerId, list[tuple[ResponseStatus, datetime]]] = {der_id: [] for der_id in members}
    for (der_id, status), response in serving.responses.get(mrid, {}).items():
        answers.setdefault(der_id, []).append((status, response.created_at))
    return [
        MemberState(
            der_id=der_id,
            is_member=der_id in members,
            responses=tuple(sorted(status for status, _ in given)),
            responded_at=max((at for _, at in given), default=None),
        )
        for der_id, given in sorted(answers.items())
    ]
