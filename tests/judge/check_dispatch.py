"""The check *dispatch*: a market asks for power; who granted it delivers, who granted nothing refuses, and every tier reports its sum."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from answers import answers, controls_of, expect, expect_order
from events import COMPLETED, RECEIVED, STARTED, flow_before
from records import Why
from setpoints import setpoint_history

if TYPE_CHECKING:
    from evidence import Evidence
    from records import Control, Device, Flow, Response, Station
    from registers import Layout

NOT_SUPPORTED = 252
JUDGED_S = 180.0  # of the event: its end
ON_TARGET = 0.02
AT_MOST = 0.8  # of what was fed in before the start
SAME_SUM = 0.01
TRACE_DIGITS = 16  # of an mRID
AGGREGATOR = 3  # level


def check_dispatch(evidence: Evidence, layout: Layout) -> tuple[list[str], dict[str, Any]]:
    """Judge what a market asked for."""
    why = Why()
    controls = controls_of(evidence, "dispatch", why, "target_w")
    asked: list[tuple[Control, Station]] = []
    for control in controls:
        stations = [
            evidence.station_of[lfdi]
            for lfdi in evidence.groups.get((control.node, control.group), ())
            if lfdi in evidence.station_of
        ]
        if len(stations) != 1 or control.node not in evidence.stations:
            why.add("a target is not asked of one station by another", control.mrid)
        else:
            asked.append((control, stations[0]))
    granted = [item for item in asked if item[1].level == AGGREGATOR]
    refused = [item for item in asked if item[1].level != AGGREGATOR]
    if len(granted) != 1:
        why.add(f"expected one target asked of an aggregator, found {len(granted)}")
    if not refused:
        why.add("no target was asked of a station that granted nothing")
    figures: dict[str, Any] = {}
    for control, station in granted:
        figures |= _power(evidence, control, station, why)
        figures |= _reports(evidence, control, station, why)
        figures |= _trace(evidence, control, station, why)
        _at_market(evidence, control, station, {RECEIVED, STARTED, COMPLETED}, why)
        figures["station"] = station.name
    for control, station in refused:
        _at_market(evidence, control, station, {NOT_SUPPORTED}, why)
        figures["untouched"] = _untouched(evidence, layout, control, {item[1].name for item in granted}, why)
    return why.lines(), figures


def _customers(evidence: Evidence, station: Station) -> list[Device]:
    return [device for device in evidence.devices if device.aggregator == station.name]


def _at_market(evidence: Evidence, control: Control, station: Station, statuses: set[int], why: Why) -> None:
    """Require of the station asked exactly these Responses at the market, each once."""
    market = evidence.stations[control.node]
    created: dict[int, list[Response]] = defaultdict(list)
    for response in market.responses:
        if response.mrid == control.mrid:
            if response.lfdi != station.lfdi:
                why.add("a Response at the market of a station that was not asked", response.lfdi)
            created[response.status].append(response)
    for status in sorted(statuses - created.keys()):
        why.add(f"{station.name} gave no Response {status} at the market")
    for status, sent in created.items():
        if status not in statuses:
            why.add(f"{station.name} gave a Response {status} at the market that should not be there")
        if len({item.created_t for item in sent}) > 1:
            why.add(f"{station.name} gave a second Response {status} at the market")
    for status, t in ((STARTED, control.start_t), (COMPLETED, control.end_t)):
        for response in created.get(status, [])[:1]:
            if abs(response.created_t - t) > evidence.on_time_s:
                why.add(f"Response {status} of {station.name} was not on time ({response.created_t - t:+.0f} s)")


def _sum_w(evidence: Evidence, flow: Flow, devices: list[Device]) -> float:
    return sum(flow.p[evidence.place[device.service_point]] for device in devices)


def _power(evidence: Evidence, control: Control, station: Station, why: Why) -> dict[str, Any]:
    """Require the sum of the customers' power on target at the end of the event."""
    devices = _customers(evidence, station)
    target_w = float(control.setpoints["target_w"])
    before = flow_before(evidence.flows, control.start_t)
    available_w = _sum_w(evidence, before, devices) if before else 0.0
    if target_w > AT_MOST * available_w:
        why.add(
            f"the target of {target_w:.0f} W is more than {AT_MOST:.0%} of the {available_w:.0f} W before the start"
        )
    flows = evidence.flows_within(control.end_t - JUDGED_S, control.end_t)
    if not flows:
        why.add("no flow lines at the end of the event")
    worst = max((abs(_sum_w(evidence, flow, devices) - target_w) / target_w for flow in flows), default=0.0)
    if worst > ON_TARGET:
        why.add(
            f"the power of the customers of {station.name} is {worst:.1%} off the target in the last {JUDGED_S:g} s"
        )
    reached = next(
        (
            flow.t - control.start_t
            for flow in evidence.flows_within(control.start_t, control.end_t)
            if abs(_sum_w(evidence, flow, devices) - target_w) <= ON_TARGET * target_w
        ),
        None,
    )
    return {
        "customers": len(devices),
        "target_w": round(target_w),
        "available_w": round(available_w),
        "worst_off_target": round(worst, 4),
        "on_target_after_s": None if reached is None else round(reached),
    }


def _reports(evidence: Evidence, control: Control, station: Station, why: Why) -> dict[str, Any]:
    """Require that what the station reports above is the sum of what its customers had reported to it by then."""
    market = evidence.stations[control.node]
    wanted = {device.lfdi for device in _customers(evidence, station)}
    received: list[float] = []
    sums: list[float] = []
    newest: dict[str, tuple[float, float]] = {}
    total = 0.0
    for reading in sorted(station.readings, key=lambda item: item.received_t):
        if reading.point != "w" or reading.lfdi not in wanted:
            continue
        held = newest.get(reading.lfdi)
        if held is None or reading.t > held[0]:
            total += reading.value - (held[1] if held else 0.0)
            newest[reading.lfdi] = (reading.t, reading.value)
        received.append(reading.received_t)
        sums.append(total)
    compared, worst = 0, 0.0
    for report in market.readings:
        if report.lfdi != station.lfdi or report.point != "w" or not control.start_t <= report.t < control.end_t:
            continue
        compared += 1
        # The clocks of the two stations agree to an instant: any sum that stood around the time of the report may be meant.
        low = bisect_right(received, report.t - evidence.on_time_s) - 1
        high = bisect_left(received, report.t + evidence.on_time_s)
        around = sums[max(low, 0) : high] or [0.0]
        off = min(abs(value - report.value) for value in around) / max(abs(report.value), 1.0)
        worst = max(worst, off)
        if off > SAME_SUM:
            why.add(
                f"a report of {station.name} is not the sum of its customers",
                f"{report.value:.0f} W at {report.t - control.start_t:.0f} s ({off:.1%} off)",
            )
    if not compared:
        why.add(f"{station.name} reported no power during the event")
    if missing := wanted - newest.keys():
        why.add(f"{len(missing)} customers of {station.name} reported no power to it")
    return {"reports": compared, "reports_worst_off": round(worst, 5)}


def _trace(evidence: Evidence, control: Control, station: Station, why: Why) -> dict[str, Any]:
    """Require that one trace id runs from the market's event through the answers to the explanations."""
    trace = control.mrid[:TRACE_DIGITS]
    known = {item.mrid for item in evidence.controls}
    by_device: dict[str, dict[str, dict[int, list[Response]]]] = defaultdict(dict)
    for mrid in {response.mrid for response in station.responses}:
        for lfdi, got in answers(station.responses, mrid).items():
            by_device[lfdi][mrid] = got
    explained = 0
    for device in _customers(evidence, station):
        name = device.service_point
        mine = {mrid: got for mrid, got in by_device[device.lfdi].items() if mrid[:TRACE_DIGITS] == trace}
        if not mine:
            why.add(f"a customer answered nothing at {station.name} that carries the market's trace id", name)
        for got in mine.values():
            expect(evidence, got, device, {RECEIVED, STARTED, COMPLETED}, (), f"to the target at {station.name}", why)
            expect_order(got, device, f"to the target at {station.name}", why)
        for mrid, got in by_device[device.lfdi].items():
            times = [response.created_t for sent in got.values() for response in sent]
            during = any(control.start_t - evidence.on_time_s <= t <= control.end_t for t in times)
            if mrid not in mine and mrid not in known and during:
                why.add(f"a customer answered for an event of unknown origin at {station.name}", f"{name} {mrid}")
        found = False
        for item in evidence.explanations.get(device.lfdi, []):
            for entry in item.entries:
                if (
                    entry["function"] != "target_w"
                    or not control.start_t <= item.t < control.end_t + evidence.on_time_s
                ):
                    continue
                if entry["mrid"].upper()[:TRACE_DIGITS] == trace:
                    found = True
                else:
                    why.add("a customer explains its power with another trace id", f"{name} {entry['mrid']}")
        explained += found
        if not found:
            why.add("a customer does not explain its power with the market's trace id", name)
    return {"explained": explained}


def _untouched(evidence: Evidence, layout: Layout, control: Control, granted: set[str], why: Why) -> int:
    """Require that nobody below did anything for what was refused."""
    trace = control.mrid[:TRACE_DIGITS]
    for station in evidence.stations.values():
        for response in station.responses:
            if station.name != control.node and response.mrid[:TRACE_DIGITS] == trace:
                why.add(f"a Response at {station.name} to what was refused", response.lfdi)
    for lfdi, items in evidence.explanations.items():
        if any(
            entry["mrid"].upper()[:TRACE_DIGITS] == trace for item in items for entry in item.entries if entry["mrid"]
        ):
            why.add("an explanation names what was refused", evidence.by_lfdi[lfdi].service_point)
    others = [
        item
        for item in evidence.controls
        if item.check != control.check and {"fixed_w_pct", "target_w"} & item.setpoints.keys()
    ]
    tolerance = evidence.on_time_s
    count = 0
    for device in evidence.devices:
        if device.aggregator in granted:
            continue
        count += 1
        for state in setpoint_history(layout, device, evidence.sent_to(device)):
            inside = control.start_t - tolerance <= state.t < control.end_t
            theirs = any(
                other.start_t - tolerance <= state.t < other.end_t + tolerance
                and device.service_point in evidence.stays(other)
                for other in others
            )
            if inside and state.watts is not None and not theirs:
                why.add(
                    "the set-point of a device was written while a refused target would have been in force",
                    device.service_point,
                )
    return count
