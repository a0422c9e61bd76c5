"""What a control would do if it were sent: who would get it, who not and why, how much it brings, what it meets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.engine.serving_status import latest_end
from tierline.model.control import ENDED_EARLY, Curve
from tierline.model.errors import Forbidden
from tierline.model.identity import Mrid
from tierline.model.programs import ResponseStatus
from tierline.model.ramps import ramps_of
from tierline.model.records import DerInfoKind
from tierline.operations.serving.access import require
from tierline.operations.serving.dispatch import check_order
from tierline.operations.serving.limits import govern
from tierline.operations.serving.programs import check_carried, program_of
from tierline.operations.serving.relief import ratings_w, relief_w

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from tierline.model.control import Control, FunctionName, Setpoints, Value
    from tierline.model.identity import DerId
    from tierline.model.parties import Principal
    from tierline.model.records import ControlRecord, EndDeviceRecord
    from tierline.operations.serving.dispatch import Order
    from tierline.operations.serving.state import Serving


_POINTS_OF_EVERY_DER = {"volt_var": 4, "volt_watt": 2, "watt_var": 6}
"""How many points of its curves every DER has. Source: IEEE 1547-2018, tables 8, 9 and 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A DER of the group that would not get the control."""

    der_id: DerId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusing:
    """A member that would answer 252, by what it said of itself or answered before."""

    der_id: DerId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A control that would be in force at the same time, for some of the same DERs and functions."""

    record: ControlRecord
    functions: tuple[str, ...]
    """Those both command."""
    shared: int
    """How many DERs belong to both groups."""
    wins: bool
    """Whether the new control ranks first (docs/rules.md E12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a control would do, by what is known now."""

    members: tuple[DerId, ...]
    excluded: tuple[Excluded, ...]
    not_seen: tuple[DerId, ...]
    """Members that have not called since this node started: they get it when they call."""
    refusing: tuple[Refusing, ...]
    """Members that are known to refuse it."""
    warnings: tuple[str, ...]
    """What may be refused by members of which that is not known."""
    rated_w: Decimal
    """Ratings of the members together."""
    relief_w: Decimal | None
    """The most the members' generation can go down, by their ratings; None when the functions do not limit active power."""
    overlaps: tuple[Overlap, ...]
    refused: str
    """Why the governor would refuse it now; empty when it would not."""


def preview_control(principal: Principal, serving: Serving, order: Order) -> Preview:
    """Show what a control would do, without sending it.

    Raises: ConfigError or Unsupported for an order that would be refused.
    """
    require(principal, Verb.READ, f"group {order.group_id}")
    check_order(order, serving.clock.now())
    check_carried(serving, order.setpoints, order.ramp_time_s)
    members, excluded = [], []
    for der_id in sorted(serving.members_of.get(order.group_id, ())):
        device = serving.devices[der_id]
        why = _why_not(serving, device)
        if why:
            excluded.append(Excluded(der_id=der_id, why=why))
        else:
            members.append(device)
    ramps = ramps_of(order.setpoints, order.ramp_time_s)
    by_point = ratings_w(serving)
    ratings = [by_point.get(device.service_point, Decimal(0)) for device in members]
    return Preview(
        members=tuple(device.der_id for device in members),
        excluded=tuple(excluded),
        not_seen=tuple(device.der_id for device in members if device.der_id not in serving.last_seen),
        refusing=tuple(_refusing(serving, order, members)),
        warnings=(
            *(f"{ramp}: a DER that has no such ramp answers 252" for ramp in ramps),
            *_long_curves(order.setpoints),
        ),
        rated_w=sum(ratings, Decimal(0)),
        relief_w=relief_w(order.setpoints, ratings),
        overlaps=tuple(_overlaps(serving, order)),
        refused=_refused(principal, serving, order),
    )


def _refusing(serving: Serving, order: Order, members: Iterable[EndDeviceRecord]) -> Iterator[Refusing]:
    for device in members:
        if why := _lacks(serving, order, device.der_id) or _refused_before(serving, order, device.der_id):
            yield Refusing(der_id=device.der_id, why=why)


def _lacks(serving: Serving, order: Order, der_id: DerId) -> str:
    told = serving.infos.get((der_id, DerInfoKind.CAPABILITY))
    if told is None or serving.lacking is None:
        return ""
    lacks = serving.lacking(told.document, order.setpoints)
    return f"by its capability it does not carry out {', '.join(lacks)}" if lacks else ""


def _refused_before(serving: Serving, order: Order, der_id: DerId) -> str:
    """Find an earlier control that was answered 252 and asked for a ramp as well and no other function, or for nothing else at all.

    Of what a DER keeps IEEE 2030.5 tells a server no more than its functions (DERCapability, modesSupported).
    """
    ramps = set(ramps_of(order.setpoints, order.ramp_time_s))
    wanted = _values(order.setpoints)
    for mrid, status in serving.responses_of.get(der_id, ()):
        record = serving.control(mrid) if status is ResponseStatus.REJECTED_PARAMETER else None
        if record is None or not record.control.setpoints.keys() <= order.setpoints.keys():
            continue
        asked = set(ramps_of(record.control.setpoints, record.control.ramp_time_s))
        if shared := ramps & asked:
            return f"it answered 252 to control {mrid}, which asked for {' and '.join(sorted(shared))} too"
        if not asked and _values(record.control.setpoints).items() <= wanted.items():
            return (
                f"it answered 252 to control {mrid}, which asked for the same {' and '.join(record.control.setpoints)}"
            )
    return ""


def _values(setpoints: Setpoints) -> dict[FunctionName, Value]:
    """Give the values of functions; two curves of the same shape are the same, whatever their names."""
    return {
        name: replace(value, mrid=Mrid(""), creation_time=None) if isinstance(value, Curve) else value
        for name, value in setpoints.items()
    }


def _long_curves(setpoints: Setpoints) -> Iterator[str]:
    for name, value in setpoints.items():
        least = _POINTS_OF_EVERY_DER.get(name)
        if isinstance(value, Curve) and least is not None and len(value.points) > least:
            yield f"{name} has {len(value.points)} points: a DER that has but the {least} of IEEE 1547-2018 answers 252"


def _refused(principal: Principal, serving: Serving, order: Order) -> str:
    try:
        govern(principal, serving, order.group_id, order.setpoints)
    except Forbidden as refused:
        return str(refused)
    return ""


def _why_not(serving: Serving, device: EndDeviceRecord) -> str:
    if not device.enabled:
        return "it is disabled"
    if device.der_id not in serving.lfdi_of:
        return "it does not communicate: no certificate is registered"
    return ""


def _overlaps(serving: Serving, order: Order) -> list[Overlap]:
    own = program_of(serving, order.group_id).record
    members = serving.members_of.get(order.group_id, set())
    start = order.start + timedelta(seconds=min(0, order.randomize_start_s))
    slack = max(0, order.randomize_start_s) + max(0, order.randomize_duration_s)
    end = order.start + timedelta(seconds=order.duration_s + slack)
    found = []
    for served in serving.programs.values():
        shared = len(members & serving.members_of.get(served.record.group_id, set()))
        if not shared:
            continue
        for record in served.controls.values():
            functions = tuple(name for name in order.setpoints if name in record.control.setpoints)
            if functions and _is_in_force(record.control, start, end):
                # A new event is the newest: it ranks first at equal primacy.
                wins = own.primacy <= served.record.primacy
                found.append(Overlap(record=record, functions=functions, shared=shared, wins=wins))
    return sorted(found, key=lambda overlap: overlap.record.control.interval.start)


def _is_in_force(control: Control, start: datetime, end: datetime) -> bool:
    return control.status not in ENDED_EARLY and control.interval.start < end and start < latest_end(control)
