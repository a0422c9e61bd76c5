"""The check *loss*: cut uplinks, a killed gateway process and a killed utility change nothing about an event, and lose nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from events import Limits, completed_on_time, heard_t, judge_responses, the_control
from records import Why

if TYPE_CHECKING:
    from evidence import Evidence
    from records import Control, Device, Outage, Reading
    from registers import Layout

GAP_INTERVALS = 2
KILL = 9


def check_loss(evidence: Evidence, layout: Layout) -> tuple[list[str], dict[str, Any]]:
    """Judge the event during which things were cut and killed."""
    why = Why()
    control = the_control(evidence, "loss", "max_lim_w_pct", why)
    if control is None:
        return why.lines(), {}
    members = evidence.members(control)
    figures: dict[str, Any] = {
        "group": control.group,
        "members": len(members),
        "limit_pct": control.limit_pct,
        "duration_s": control.end_t - control.start_t,
    }
    figures |= _outages(evidence, control, members, why)
    figures |= Limits(evidence, layout).judge(control, members, why)
    figures |= judge_responses(evidence, control, members, why, on_the_wire=False, retries_free=True)
    figures |= completed_on_time(evidence, control, members, why)
    figures |= _cut_off(evidence, why)
    figures |= _readings(evidence, why)
    return why.lines(), figures


def _inside(control: Control, t: float) -> bool:
    return control.start_t < t < control.end_t


def _outages(evidence: Evidence, control: Control, members: list[Device], why: Why) -> dict[str, Any]:
    """Require a cut, a killed gateway process and a killed utility in mid-event: no check passes by not being made."""
    lfdis = {device.lfdi for device in members}
    processes = {device.process for device in members}
    cut: set[str] = set()
    for outage in evidence.cuts:
        if math.isinf(outage.until):
            why.add("cut gateways were never restored", ", ".join(sorted(outage.whom)))
        elif _inside(control, outage.t):
            cut |= outage.whom & lfdis
    killed: set[str] = set()
    for outage in evidence.kills:
        if math.isinf(outage.until):
            why.add("a killed process was never restarted", ", ".join(outage.whom))
        elif outage.signal == KILL and _inside(control, outage.t) and _inside(control, outage.until):
            killed |= outage.whom
        _silent(evidence, outage, why)
    if not cut:
        why.add("no member was cut in mid-event")
    if not killed & processes:
        why.add("no gateway process of a member was killed (-9) and restarted in mid-event")
    if evidence.head.name not in killed:
        why.add("the utility was not killed (-9) and restarted in mid-event")
    return {"cut": len(cut), "killed": sorted(killed)}


def _silent(evidence: Evidence, outage: Outage, why: Why) -> None:
    """Require that a process that was killed did nothing until it was started again."""

    def away(t: float) -> bool:
        return outage.t + evidence.on_time_s < t < outage.until - evidence.instant_s

    if evidence.head.name in outage.whom:
        heard = [item.t for item in evidence.responses] + [item.received_t for item in evidence.readings]
        if busy := sum(away(t) for t in heard):
            why.add(f"the utility received {busy} Responses and readings while it was killed")
    for device in evidence.devices:
        if device.process in outage.whom and any(away(request.t) for request in evidence.sent_to(device)):
            why.add("a device received requests while its gateway process was killed", device.service_point)


def _cut_off(evidence: Evidence, why: Why) -> dict[str, Any]:
    """Require that what cut gateways had to say arrived after the restoration, and count it."""
    late = 0
    for outage in evidence.cuts:
        for response in evidence.responses:
            if response.lfdi not in outage.whom:
                continue
            if outage.t + evidence.on_time_s < heard_t(evidence, response) < outage.until - evidence.instant_s:
                why.add("a Response of a cut gateway was received during the cut", response.lfdi)
            late += outage.t < response.created_t < outage.until <= response.t
    return {"responses_after_restore": late}


def _readings(evidence: Evidence, why: Why) -> dict[str, Any]:
    """Require the buffered readings of the cut gateways: all of them, once, in order, after the restoration, wherever they are kept."""
    figures = {"buffered_readings": 0, "widest_gap_s": 0.0}
    intervals: list[float] = []
    cut = {lfdi for outage in evidence.cuts for lfdi in outage.whom}
    relayed: dict[tuple[str, str, float], float] = {}
    kept: list[tuple[str, dict[str, dict[str, list[Reading]]]]] = []
    for station in evidence.stations.values():
        if not station.head:
            stored = _of(station.readings, cut)
            kept.append((f" at {station.name}", stored))
            for points in stored.values():
                for items in points.values():
                    for item in items:
                        relayed.setdefault((item.lfdi, item.point, item.t), item.received_t)
    at_head = _of(evidence.readings, cut)
    for lfdi in sorted(cut - at_head.keys()):
        why.add("a cut gateway has no readings", lfdi)
    kept.append(("", at_head))
    for outage in evidence.cuts:
        for where, stored in kept:
            for lfdi in sorted(outage.whom & stored.keys()):
                for point, items in stored[lfdi].items():
                    _buffered(evidence, outage, f"{lfdi} {point}{where}", items, relayed, intervals, figures, why)
    return {
        "buffered_readings": figures["buffered_readings"],
        "read_interval_s": round(median(intervals), 1) if intervals else None,
        "widest_gap_s": round(figures["widest_gap_s"], 1),
    }


def _of(readings: list[Reading], lfdis: set[str]) -> dict[str, dict[str, list[Reading]]]:
    """Sort the readings of some devices by device and point."""
    found: dict[str, dict[str, list[Reading]]] = defaultdict(lambda: defaultdict(list))
    for reading in readings:
        if reading.lfdi in lfdis:
            found[reading.lfdi][reading.point].append(reading)
    return found


def _buffered(
    evidence: Evidence,
    outage: Outage,
    who: str,
    items: list[Reading],
    relayed: dict[tuple[str, str, float], float],
    intervals: list[float],
    figures: dict[str, Any],
    why: Why,
) -> None:
    """Judge the readings of one point of one cut gateway at one station."""
    times = [item.t for item in items]
    steps = [after - before for before, after in pairwise(times)]
    if any(step <= 0 for step in steps):
        why.add("the stored readings are not in order, each once", who)
    interval = median(step for step in steps if step > 0) if any(step > 0 for step in steps) else math.inf
    within = [item for item in items if outage.t < item.t < outage.until]
    if not within:
        why.add("no reading was taken during the cut", who)
        return
    intervals.append(interval)
    figures["buffered_readings"] += len(within)
    for item in items:
        # What a station below had received before the cut may come up from it later.
        heard = min(item.received_t, relayed.get((item.lfdi, item.point, item.t), math.inf))
        if outage.t + evidence.on_time_s < heard < outage.until - evidence.instant_s:
            why.add("a reading of a cut gateway was received during the cut", who)
    around = sorted({*(item.t for item in within), *_neighbours(times, outage)})
    gap = max(after - before for before, after in pairwise(around))
    figures["widest_gap_s"] = max(figures["widest_gap_s"], gap)
    if gap > GAP_INTERVALS * interval + 1:
        why.add(
            f"readings taken during the cut are lost: a gap of more than {GAP_INTERVALS} read intervals",
            f"{who} ({gap:.0f} s)",
        )


def _neighbours(times: list[float], outage: Outage) -> set[float]:
    """Find the readings around a cut; its own edge where there is none."""
    before = [t for t in times if t <= outage.t]
    after = [t for t in times if t >= outage.until]
    return {max(before, default=outage.t), min(after, default=outage.until)}
