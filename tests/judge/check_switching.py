"""The check *switching*: switches move devices in mid-event; who leaves is released, who arrives is bound, and nobody is free in between."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from answers import answers, controls_of, expect, expect_order
from events import COMPLETED, FREE_PCT, RECEIVED, STARTED, Limits, limit_at, most
from records import Why

if TYPE_CHECKING:
    from answers import Got
    from evidence import Evidence
    from records import Control, Device, Operation, Stay
    from registers import Layout

CANCELLED, SUPERSEDED = 6, 7
AT_LEAST_MOVED = 3
RELEASED = "the limit register was released while a limit was in force"


def check_switching(evidence: Evidence, layout: Layout) -> tuple[list[str], dict[str, Any]]:
    """Judge the limits while switches move."""
    why = Why()
    controls = controls_of(evidence, "switching", why, "max_lim_w_pct")
    if not controls:
        return why.lines(), {}
    figures = _operations(evidence, controls, why)
    figures |= _registers(evidence, controls, Limits(evidence, layout), why)
    figures |= _answers(evidence, controls, why)
    _no_second(evidence, controls, why)
    return why.lines(), figures


# What was switched


def _operations(evidence: Evidence, controls: list[Control], why: Why) -> dict[str, Any]:
    """Require a move within a transformer and one between two, each by closing a tie and opening a sectionaliser in mid-event."""
    low, high = max(control.start_t for control in controls), min(control.end_t for control in controls)
    moved_of: list[int] = []
    seen: set[str] = set()
    for operation in evidence.operations:
        if operation.check != "switching":
            continue
        if math.isinf(operation.until):
            why.add("an operation of switches was never confirmed", str(operation.close))
            continue
        if not low < operation.t <= operation.until < high:
            why.add("switches were not operated during the events", str(operation.close))
        kinds = {kind for kind in ("tie", "sectionaliser") if _moved_kind(evidence, operation, kind)}
        for kind in {"tie", "sectionaliser"} - kinds:
            did = "closed" if kind == "tie" else "opened"
            why.add(f"the journal shows no {kind} {did} by an operation", str(operation.close + operation.open))
        moves = _moves(evidence, operation)
        moved_of.append(len(moves))
        if len(moves) < AT_LEAST_MOVED:
            why.add(f"an operation moved {len(moves)} devices, fewer than {AT_LEAST_MOVED}", str(operation.close))
        if operation.moved != len(moves):
            why.add(f"the utility says that {operation.moved} DERs moved, the grid says {len(moves)}")
        feeders = evidence.grid.feeders
        for before, after in moves.values():
            same = feeders[before].transformer == feeders[after].transformer
            seen.add("within a transformer" if same else "between two transformers")
    for kind in ("within a transformer", "between two transformers"):
        if kind not in seen:
            why.add(f"no device was moved {kind}")
    return {"operations": len(moved_of), "moved": moved_of}


def _moved_kind(evidence: Evidence, operation: Operation, kind: str) -> bool:
    named = operation.close if kind == "tie" else operation.open
    before = set(evidence.wiring_at(operation.t - evidence.on_time_s - evidence.instant_s).open)
    after = set(evidence.wiring_at(operation.until).open)
    changed = before - after if kind == "tie" else after - before
    return any(evidence.grid.switch_kind[switch] == kind and switch in changed for switch in named)


def _moves(evidence: Evidence, operation: Operation) -> dict[str, tuple[str, str]]:
    """Find the service points that an operation moved, with their feeders before and after."""

    def feeder_of(t: float) -> dict[str, str]:
        opened = evidence.wiring_at(t).open
        return {point: feeder for feeder in evidence.grid.feeders for point in evidence.fed_by(feeder, opened)}

    before, after = feeder_of(operation.t - evidence.on_time_s - evidence.instant_s), feeder_of(operation.until)
    both = before.keys() & after.keys()
    return {point: (before[point], after[point]) for point in both if before[point] != after[point]}


# Registers


def _registers(evidence: Evidence, controls: list[Control], limits: Limits, why: Why) -> dict[str, Any]:
    bound: list[float] = []
    released: list[float] = []
    devices = [
        device
        for device in evidence.devices
        if any(evidence.stays(item).get(device.service_point) for item in controls)
    ]
    for device in devices:
        _whole_time(evidence, controls, limits, device, why)
        for control in controls:
            for stay in evidence.stays(control).get(device.service_point, []):
                _when(limits, device, stay, bound, released)
    return {
        "devices": len(devices),
        "bound_after_s": most(bound),
        "released_after_s": most(released),
    }


def _whole_time(evidence: Evidence, controls: list[Control], limits: Limits, device: Device, why: Why) -> None:
    """Require the right limit whenever it may have changed, from before the events until after them."""
    tolerance = evidence.on_time_s
    claims = limits.applying(device)
    ends = sorted({edge for claim in claims for edge in (claim.control.start_t, claim.control.end_t)})
    low, high = min(control.start_t for control in controls), max(control.end_t for control in controls)
    states = limits.history[device.service_point]
    looks = {low - tolerance, high + tolerance}
    looks |= {state.t for state in states if low - tolerance <= state.t <= high + tolerance}
    looks |= {edge for claim in claims for edge in claim.edges if low <= edge < high}
    looks |= {edge + tolerance for edge in ends if low <= edge + tolerance <= high + tolerance}
    for t in sorted(looks):
        if any(edge - tolerance < t < edge + tolerance for edge in ends):
            continue
        found = limit_at(states, t)
        if limits.is_right(device, t, found):
            continue
        why.add(
            _fault(limits, device, t, found), f"{device.service_point} ({found:g} % {t - low:.0f} s after the start)"
        )
        return


def _fault(limits: Limits, device: Device, t: float, found: float) -> str:
    claims = limits.applying(device)
    asked = limits.expected(device, t)
    left = [claim for claim in claims if claim.left and t >= claim.until]
    if any(limits.same(found, claim.pct) for claim in left):
        return "the limit register still holds the value of an event whose group the device has left"
    if any(claim.arrived and claim.low <= t < claim.high and claim.pct == asked for claim in claims):
        return "the limit register does not hold the value of an event into whose group the device came"
    if asked >= FREE_PCT:
        moving = any(claim.since <= t < claim.until for claim in claims)
        return RELEASED if moving and found >= FREE_PCT else "the limit register was not released on time"
    began = min(claim.since for claim in claims if claim.low <= t < claim.high)
    if not any(began - limits.evidence.on_time_s <= state.t <= t for state in limits.history[device.service_point]):
        return f"the limit register was not set to {asked:g} % on time"
    if found >= FREE_PCT and any(claim.since <= t < claim.until for claim in claims):
        return RELEASED
    return f"the limit register does not hold {asked:g} %"


def _when(limits: Limits, device: Device, stay: Stay, bound: list[float], released: list[float]) -> None:
    """Find how long after a move the limit was there, or gone."""
    pct = stay.control.limit_pct
    assert pct is not None
    states = limits.history[device.service_point]
    if stay.arrived:
        bound += [state.t - stay.since for state in states if state.t >= stay.since and limits.same(state.pct, pct)][:1]
    if stay.left:
        released += [
            state.t - stay.until for state in states if state.t >= stay.until and not limits.same(state.pct, pct)
        ][:1]


# Responses


def _answers(evidence: Evidence, controls: list[Control], why: Why) -> dict[str, Any]:
    figures: dict[str, int] = defaultdict(int)
    for control in controls:
        got = answers(evidence.responses, control.mrid)
        stays = evidence.stays(control)
        for device in evidence.devices:
            _of_device(evidence, control, device, stays.get(device.service_point, []), got, figures, why)
    return {"stayed": figures["stayed"], "left": figures["left"], "arrived": figures["arrived"]}


def _of_device(
    evidence: Evidence, control: Control, device: Device, stays: list[Stay], got: Got, figures: dict[str, int], why: Why
) -> None:
    mine = got.get(device.lfdi, {})
    where = f"to the event of {control.group}"
    name = device.service_point
    if not stays:
        if mine:
            why.add(f"a Response {where} of a device that never belonged to it", name)
        return
    stay = stays[-1]
    if stay.left:
        figures["left"] += 1
        if COMPLETED in mine:
            why.add(f"Response {COMPLETED} {where}, though the device had left", name)
        expect(evidence, mine, device, {RECEIVED, STARTED}, {COMPLETED, CANCELLED, SUPERSEDED}, where, why)
        if {CANCELLED, SUPERSEDED} <= mine.keys():
            why.add(f"more than one end {where}", name)
    else:
        figures["arrived" if stay.arrived else "stayed"] += 1
        expect(evidence, mine, device, {RECEIVED, STARTED, COMPLETED}, (), where, why)
    expect_order(mine, device, where, why)
    first = stays[0]
    since, by = first.since, first.since + evidence.on_time_s
    if first.arrived:
        by += evidence.poll_s
    for response in mine.get(STARTED, [])[:1]:
        if not since - evidence.on_time_s <= response.created_t <= by:
            why.add(f"Response 2 {where} was not created on time", f"{name} ({response.created_t - since:+.0f} s)")
    for response in mine.get(COMPLETED, [])[:1]:
        if abs(response.created_t - control.end_t) > evidence.on_time_s:
            late = response.created_t - control.end_t
            why.add(f"Response 3 {where} was not created on time", f"{name} ({late:+.0f} s)")


def _no_second(evidence: Evidence, controls: list[Control], why: Why) -> None:
    """Require that no station heard a second Response of the same status, created at another time."""
    mrids = {control.mrid for control in controls}
    for station in evidence.stations.values():
        created: dict[tuple[str, str, int], set[float]] = defaultdict(set)
        for response in station.responses:
            if response.mrid in mrids:
                created[response.lfdi, response.mrid, response.status].add(response.created_t)
        for (lfdi, _, status), times in created.items():
            if len(times) > 1 and not station.head:
                device = evidence.by_lfdi.get(lfdi)
                why.add(f"a second Response {status} at {station.name}", device.service_point if device else lfdi)
