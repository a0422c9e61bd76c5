"""The check *island*: a substation that is cut off carries on with what is running and what is due, and makes good afterwards."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from answers import controls_of
from events import Limits, completed_on_time, judge_responses
from records import Why

if TYPE_CHECKING:
    from evidence import Evidence
    from records import Control, Device, Outage, Reading, Station
    from registers import Layout

GAP_INTERVALS = 2


def check_island(evidence: Evidence, layout: Layout) -> tuple[list[str], dict[str, Any]]:
    """Judge the events during which a substation was cut off."""
    why = Why()
    controls = controls_of(evidence, "island", why, "max_lim_w_pct")
    if len(evidence.islands) != 1 or not controls:
        why.add(f"expected one cut of a station, found {len(evidence.islands)}")
        return why.lines(), {}
    outage = evidence.islands[0]
    station = evidence.stations.get(next(iter(outage.whom)))
    if station is None or station.head or station.party != evidence.head.party or not station.element:
        why.add(f"what was cut off is no substation: {', '.join(outage.whom)}")
        return why.lines(), {}
    if math.isinf(outage.until):
        why.add("the substation was never restored")
        return why.lines(), {}
    limits = Limits(evidence, layout)
    wired = {
        control.mrid: {device.lfdi for device in _behind(evidence, station, evidence.members(control))}
        for control in controls
    }
    behind = {lfdi for lfdis in wired.values() for lfdi in lfdis}
    figures: dict[str, Any] = {"station": station.name, "cut_s": round(outage.until - outage.t), "behind": len(behind)}
    if not behind:
        why.add("no device of the events is behind the substation")
    figures |= _kinds(controls, outage, why)
    for control in controls:
        members = evidence.members(control)
        if evidence.membership_moved(control):
            why.add("a switch moved devices during the event; this check holds membership to be fixed")
        name = f"{control.group}_{control.limit_pct:g}"
        judged = limits.judge(control, members, why)
        judged |= judge_responses(evidence, control, members, why, on_the_wire=False, retries_free=False)
        judged |= completed_on_time(evidence, control, members, why)
        keys = ("set_late_s", "release_late_s", "started_late_s", "completed_late_s", "responses")
        figures[name] = {key: judged[key] for key in keys}
    figures |= _silence(evidence, station, outage, controls, wired, why)
    figures |= _readings(evidence, outage, behind, why)
    return why.lines(), figures


def _behind(evidence: Evidence, station: Station, members: list[Device]) -> list[Device]:
    """Find the devices that the substation serves: those that the utility commands and its element feeds."""

    def fed(device: Device) -> bool:
        return any(device.service_point in evidence.fed_by(station.element, item.open) for item in evidence.wirings)

    return [device for device in members if device.way != "aggregator" and fed(device)]


def _kinds(controls: list[Control], outage: Outage, why: Why) -> dict[str, Any]:
    """Require an event that was running when the cut came, and one that became due during it."""
    running = [item for item in controls if item.start_t < outage.t < item.end_t < outage.until]
    due = [item for item in controls if outage.t < item.start_t < item.end_t < outage.until]
    for what, found in (("was running when the cut came", running), ("was due during the cut", due)):
        if not found:
            why.add(f"no event that {what} ended before the restoration")
    return {"running": len(running), "due": len(due)}


def _silence(
    evidence: Evidence,
    station: Station,
    outage: Outage,
    controls: list[Control],
    wired: dict[str, set[str]],
    why: Why,
) -> dict[str, Any]:
    """Require that nothing came up during the cut, and that what was said in it came up afterwards."""
    low, high = outage.t + evidence.on_time_s, outage.until - evidence.instant_s
    made_good = 0
    mrids = {control.mrid for control in controls}
    for response in evidence.responses:
        if response.peer == station.lfdi and low < response.t < high:
            why.add("a Response came through the substation while it was cut off", _who(evidence, response.lfdi))
        if response.mrid in mrids and response.lfdi in wired[response.mrid]:
            if outage.t < response.created_t < outage.until:
                made_good += response.t >= high
                if low < response.t < high and response.peer != station.lfdi:
                    why.add(
                        "an answer of a device behind the substation reached the head during the cut",
                        _who(evidence, response.lfdi),
                    )
            if response.peer != station.lfdi and outage.t < response.created_t < outage.until:
                why.add("a device behind the substation answered past it", _who(evidence, response.lfdi))
    if not made_good:
        why.add("no answer that was given during the cut reached the head after it")
    return {"responses_after_restore": made_good}


def _readings(evidence: Evidence, outage: Outage, behind: set[str], why: Why) -> dict[str, Any]:
    """Require the readings taken during the cut at the head, each once, without wide gaps, after the restoration."""
    low, high = outage.t + evidence.on_time_s, outage.until - evidence.instant_s
    stored: dict[tuple[str, str], list[Reading]] = defaultdict(list)
    for reading in evidence.readings:
        if reading.lfdi in behind:
            stored[reading.lfdi, reading.point].append(reading)
    widest, late, intervals = 0.0, 0, []
    for lfdi in sorted(behind - {lfdi for lfdi, _ in stored}):
        why.add("a device behind the substation has no readings at the head", _who(evidence, lfdi))
    for (lfdi, point), items in sorted(stored.items()):
        who = f"{_who(evidence, lfdi)} {point}"
        times = sorted(item.t for item in items)
        if len(set(times)) != len(times):
            why.add("a reading is at the head more than once", who)
        steps = [after - before for before, after in pairwise(times) if after > before]
        within = [item for item in items if outage.t < item.t < outage.until]
        if not within or not steps:
            why.add("no reading taken during the cut is at the head", who)
            continue
        if any(low < item.received_t < high for item in items):
            why.add("a reading of a device behind the substation reached the head during the cut", who)
        late += len(within)
        interval = median(steps)
        intervals.append(interval)
        around = [t for t in times if t <= outage.t][-1:] or [outage.t]
        around += [t for t in times if outage.t < t < outage.until]
        around += [t for t in times if t >= outage.until][:1] or [outage.until]
        gap = max(after - before for before, after in pairwise(around))
        widest = max(widest, gap)
        if gap > GAP_INTERVALS * interval + evidence.poll_s:
            why.add("readings taken during the cut are missing at the head", f"{who} ({gap:.0f} s)")
    return {
        "readings_after_restore": late,
        "read_interval_s": round(median(intervals), 1) if intervals else None,
        "widest_gap_s": round(widest, 1),
    }


def _who(evidence: Evidence, lfdi: str) -> str:
    device = evidence.by_lfdi.get(lfdi)
    return device.service_point if device else lfdi
