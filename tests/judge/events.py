"""What all checks ask of a control: who must answer, when, and how a limit shows in the registers and in the power."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from registers import written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evidence import Evidence
    from records import Control, Device, Flow, Request, Response, Why
    from registers import Layout

RECEIVED, STARTED, COMPLETED = 1, 2, 3
NAMES = {RECEIVED: "1 (received)", STARTED: "2 (started)", COMPLETED: "3 (completed)"}
RAMP_S = 60.0
POWER_TOLERANCE = 0.005  # of the rating
FREE_PCT = 100.0
NEVER = 0xFFFFFFFF  # "not implemented" of a uint32


def the_control(evidence: Evidence, check: str, setpoint: str, why: Why) -> Control | None:
    """Find the one control of a check, with this setpoint, inside the journal."""
    found = [control for control in evidence.controls if control.check == check]
    if len(found) != 1:
        why.add(f"expected one control for this check, found {len(found)}")
        return None
    control = found[0]
    if setpoint not in control.setpoints:
        why.add(f"the control has no {setpoint}: {control.setpoints}")
        return None
    if control.t > control.start_t:
        why.add("the control was issued after its start")
    if not evidence.members(control):
        why.add(f"{control.group} feeds no device")
        return None
    if evidence.membership_moved(control):
        why.add("a switch moved devices during the event; this judge holds membership to be fixed")
    if evidence.end_t < control.end_t + RAMP_S:
        why.add("the journal ends before the event has ended and was released")
    return control


# Responses


def judge_responses(
    evidence: Evidence,
    control: Control,
    members: list[Device],
    why: Why,
    *,
    on_the_wire: bool,
    retries_free: bool,
    slack_s: float = 0.0,
) -> dict[str, Any]:
    """Require exactly one each of received, started, completed per member, in this order and on time, and none from others.

    `on_the_wire` also asks that `started` was received on time. A retry (the same createdDateTime) needs an outage between its receipts, unless
    `retries_free`.
    """
    tolerance = evidence.on_time_s + slack_s
    by_member: dict[str, dict[int, list[tuple[int, Response]]]] = {device.lfdi: defaultdict(list) for device in members}
    for index, response in enumerate(evidence.responses):
        if response.mrid != control.mrid:
            continue
        if response.lfdi in by_member:
            by_member[response.lfdi][response.status].append((index, response))
        else:
            why.add("a Response came from a device that is not fed by the element", _name(evidence, response.lfdi))
    retries = 0
    started: list[float] = []
    for device in members:
        got = by_member[device.lfdi]
        for status in sorted(set(got) - set(NAMES)):
            why.add(f"a Response has status {status}", device.service_point)
        firsts: list[tuple[int, Response]] = []
        for status, name in NAMES.items():
            sent = got.get(status, [])
            created = {response.created_t for _, response in sent}
            if not sent:
                why.add(f"no Response {name}", device.service_point)
                continue
            if len(created) > 1:
                why.add(
                    f"more than one Response {name}, with {len(created)} different createdDateTime",
                    device.service_point,
                )
            repeats = len(sent) - len(created)
            retries += repeats
            if repeats and not retries_free and not outage_between(evidence, device, sent[0][1].t, sent[-1][1].t):
                why.add(f"Response {name} came again without an outage that explains it", device.service_point)
            firsts.append(sent[0])
        for (index, before), (later, after) in pairwise(firsts):
            if later < index or after.created_t < before.created_t:
                why.add(f"Response {after.status} comes before Response {before.status}", device.service_point)
        for _, response in firsts:
            if response.status == STARTED:
                late = response.created_t - control.start_t
                if abs(late) > tolerance and evidence.down(device.process, control.start_t) is None:
                    why.add("Response 2 (started) was not created on time", f"{device.service_point} ({late:+.1f} s)")
                if on_the_wire:
                    late = heard_t(evidence, response) - control.start_t
                    if abs(late) > tolerance:
                        why.add(
                            "Response 2 (started) was not received on time", f"{device.service_point} ({late:+.1f} s)"
                        )
                started.append(late)
            elif response.status == COMPLETED and response.created_t < control.end_t - tolerance:
                why.add(
                    "Response 3 (completed) was created before the end",
                    f"{device.service_point} ({response.created_t - control.end_t:+.1f} s)",
                )
    return {
        "responses": sum(len(sent) for got in by_member.values() for sent in got.values()),
        "retries": retries,
        "started_late_s": most(started),
    }


def outage_between(evidence: Evidence, device: Device, first_t: float, last_t: float) -> bool:
    """Tell whether something on a device's way was away, so that an acknowledgement may have been lost."""
    concerned = {device.lfdi, device.process, evidence.head.name, *(item.name for item in evidence.relays_of(device))}
    slack = evidence.on_time_s
    return any(
        outage.whom & concerned and outage.t - slack <= last_t and outage.until + slack >= first_t
        for outage in (*evidence.cuts, *evidence.kills, *evidence.islands)
    )


def completed_on_time(evidence: Evidence, control: Control, members: list[Device], why: Why) -> dict[str, Any]:
    """Require that who completed an event said so on time."""
    by_lfdi = {device.lfdi: device for device in members}
    late: dict[str, float] = {}
    for response in evidence.responses:
        if response.mrid == control.mrid and response.status == 3 and response.lfdi in by_lfdi:
            late.setdefault(response.lfdi, response.created_t - control.end_t)
    for lfdi, seconds in late.items():
        if seconds > evidence.on_time_s and evidence.down(by_lfdi[lfdi].process, control.end_t) is None:
            why.add(
                "Response 3 (completed) was not created on time", f"{by_lfdi[lfdi].service_point} ({seconds:+.1f} s)"
            )
    return {"completed_late_s": round(max(late.values()), 3) if late else None}


def heard_t(evidence: Evidence, response: Response) -> float:
    """Find when a Response was first heard: by the head, or by the station through which it came there."""
    through = evidence.station_of.get(response.peer)
    there = through.responses if through else ()
    key = (response.lfdi, response.mrid, response.status, response.created_t)
    times = (item.t for item in there if (item.lfdi, item.mrid, item.status, item.created_t) == key)
    return min([response.t, *times])


def _name(evidence: Evidence, lfdi: str) -> str:
    return next((device.service_point for device in evidence.devices if device.lfdi == lfdi), lfdi)


def most(values: Iterable[float]) -> float | None:
    """Find the value furthest from zero, to a millisecond."""
    return max((round(value, 3) for value in values), key=abs, default=None)


# Limits in the registers


@dataclass(frozen=True)
class LimitState:
    """The effective limit from `t` on, after one write (or the end of a reversion timer)."""

    t: float
    pct: float
    prepared_pct: float | None = None
    """A value that this write put into WMaxLimPct, enabled or not."""


ENA, PCT = "WMaxLimPctEna", "WMaxLimPct"
ENA_REVERT, PCT_REVERT, REVERT_S = "WMaxLimPctEnaRvrt", "WMaxLimPctRvrt", "WMaxLimPctRvrtTms"


def limit_history(layout: Layout, requests: list[Request]) -> list[LimitState]:
    """Follow the limit registers of one device; what was never written counts as disabled."""
    registers: dict[int, int] = {}
    states: list[LimitState] = []
    touching = layout.span(704, ENA, PCT, ENA_REVERT, PCT_REVERT, REVERT_S)
    percent = layout.span(704, PCT)
    revert_t = math.inf

    def effective(ena: str, pct: str) -> float:
        value = layout.decode(registers, 704, pct)
        return value if layout.decode(registers, 704, ena) == 1 and value is not None else FREE_PCT

    for request in requests:
        change = written(request.pdu)
        if not touching & change.keys():
            continue
        if request.t >= revert_t:
            states.append(LimitState(revert_t, effective(ENA_REVERT, PCT_REVERT)))
        before = layout.decode(registers, 704, PCT)
        registers.update(change)
        value = layout.decode(registers, 704, PCT)
        pct = effective(ENA, PCT)
        after_s = layout.decode(registers, 704, REVERT_S)
        armed = pct != FREE_PCT and after_s is not None and 0 < after_s < NEVER
        revert_t = request.t + after_s if armed and after_s is not None else math.inf
        states.append(LimitState(request.t, pct, value if percent & change.keys() and value != before else None))
    if math.isfinite(revert_t):
        states.append(LimitState(revert_t, effective(ENA_REVERT, PCT_REVERT)))
    return states


def limit_at(states: list[LimitState], t: float) -> float:
    """Find the effective limit at a time."""
    index = bisect_right(states, t, key=lambda state: state.t) - 1
    return states[index].pct if index >= 0 else FREE_PCT


@dataclass(frozen=True)
class Claim:
    """A limit that one device must hold from `low` to `high`, and may hold from `since` and to `until`."""

    control: Control
    pct: float
    since: float
    low: float
    high: float
    until: float
    arrived: bool
    left: bool

    @property
    def edges(self) -> tuple[float, ...]:
        """List the times at which what is asked changes."""
        return (self.since, self.low, self.high, self.until)


class Limits:
    """The limit registers of all devices, and the limits that apply to them."""

    def __init__(self, evidence: Evidence, layout: Layout) -> None:
        self.evidence = evidence
        self.resolution = layout.resolution(704, PCT)
        self.history: dict[str, list[LimitState]] = {
            device.service_point: limit_history(layout, evidence.sent_to(device)) for device in evidence.devices
        }
        self._claims: dict[str, list[Claim]] = defaultdict(list)
        grace_s = evidence.poll_s + evidence.on_time_s
        for control in evidence.controls:
            if control.limit_pct is None:
                continue
            for point, stays in evidence.stays(control).items():
                for stay in stays:
                    # Who arrives has a poll's time to find out, and so has who leaves.
                    low = min(stay.since + grace_s, stay.until) if stay.arrived else stay.since
                    until = min(stay.until + grace_s, control.end_t) if stay.left else stay.until
                    self._claims[point].append(
                        Claim(control, control.limit_pct, stay.since, low, stay.until, until, stay.arrived, stay.left)
                    )

    def applying(self, device: Device) -> list[Claim]:
        """List the limits that apply to a device at some time."""
        return self._claims[device.service_point]

    def expected(self, device: Device, t: float) -> float:
        """Find the limit in % that must be in force: the tightest."""
        return min((claim.pct for claim in self.applying(device) if claim.low <= t < claim.high), default=FREE_PCT)

    def same(self, one: float, other: float) -> bool:
        """Tell whether two limits are equal within the scale factor."""
        return abs(one - other) <= self.resolution * (1 + 1e-9)

    def right_at(self, device: Device, t: float) -> bool:
        """Tell whether the registers are as they should be."""
        return self.is_right(device, t, limit_at(self.history[device.service_point], t))

    def is_right(self, device: Device, t: float, found: float) -> bool:
        """Tell whether this limit may be in force: the tightest that must be, or a tighter one that may be while a move is told."""
        must = self.expected(device, t)
        may = [claim for claim in self.applying(device) if claim.since <= t < claim.until and claim.pct < must]
        if any(self.same(found, claim.pct) for claim in may):
            return True
        between = any(claim.left and t >= claim.high for claim in may) and any(
            claim.arrived and t < claim.low for claim in may
        )
        # Between two limits, of which either may be in force, one of them is.
        return self.same(found, must) and not between

    def judge(self, control: Control, members: list[Device], why: Why) -> dict[str, Any]:
        """Require that each member's register is set on time, holds until the end, and is released on time; and its power."""
        evidence, tolerance = self.evidence, self.evidence.on_time_s
        set_late: list[float] = []
        release_late: list[float] = []
        ramps: list[float] = []
        for device in members:
            states = self.history[device.service_point]
            name = device.service_point
            low, high = control.start_t + tolerance, control.end_t - tolerance
            release_by = control.end_t + tolerance
            if (down := evidence.down(device.process, control.start_t)) is not None:
                low = down.until + tolerance
            if (down := evidence.down(device.process, control.end_t)) is not None:
                release_by = down.until + tolerance
            if not self.right_at(device, control.start_t - tolerance):
                found = limit_at(states, control.start_t - tolerance)
                why.add("the limit register was set before the start", f"{name} ({found:g} %)")
            if not self.right_at(device, low):
                found = limit_at(states, low)
                asked = self.expected(device, low)
                why.add(f"the limit register was not set to {asked:g} % on time", f"{name} ({found:g} %)")
            elif lost := self._lost(device, low, high):
                why.add("the limit register did not hold until the end", f"{name} ({lost.pct:g} % at {lost.t:.1f} s)")
            if not self.right_at(device, release_by):
                why.add("the limit register was not released on time", f"{name} ({limit_at(states, release_by):g} %)")
            set_t = next(
                (state.t for state in states if state.t >= control.start_t - tolerance and self._is(state, control)),
                None,
            )
            release_t = next((state.t for state in states if state.t >= high and not self._is(state, control)), None)
            if set_t is not None:
                set_late.append(set_t - control.start_t)
                ramp = self._power(device, control, set_t, min(release_t or math.inf, control.end_t), why)
                if ramp is not None:
                    ramps.append(ramp)
            if release_t is not None:
                release_late.append(release_t - control.end_t)
        return {
            "set_late_s": most(set_late),
            "set_first_s": round(min(set_late), 3) if set_late else None,
            "release_late_s": most(release_late),
            "release_first_s": round(min(release_late), 3) if release_late else None,
            "ramp_s": most(ramps),
        }

    def _is(self, state: LimitState, control: Control) -> bool:
        return control.limit_pct is not None and state.pct <= control.limit_pct + self.resolution

    def _lost(self, device: Device, low: float, high: float) -> LimitState | None:
        """Find a wrong state between two times, away from the boundaries of the device's other limits."""
        tolerance = self.evidence.on_time_s
        edges = [edge for claim in self.applying(device) for edge in claim.edges]
        states = self.history[device.service_point]
        looks = [state.t for state in states] + [edge + tolerance for edge in edges]
        for t in sorted(looks):
            near = any(edge - tolerance <= t < edge + tolerance for edge in edges)
            if low < t <= high and not near and not self.right_at(device, t):
                return LimitState(t, limit_at(states, t))
        return None

    def _power(self, device: Device, control: Control, set_t: float, until: float, why: Why) -> float | None:
        """Require the power within the limit after the ramp; find how long the ramp took."""
        assert control.limit_pct is not None
        place = self.evidence.start["service_points"].index(device.service_point)
        bound = device.rating_w * (control.limit_pct / 100 + POWER_TOLERANCE)
        during = [flow for flow in self.evidence.flows if set_t <= flow.t < until]
        over = [flow for flow in during if flow.p[place] > bound]
        if late := [flow for flow in over if flow.t >= set_t + RAMP_S]:
            most = max(flow.p[place] for flow in late) / device.rating_w
            why.add(
                f"the power is above the limit {RAMP_S:g} s after the register was set",
                f"{device.service_point} ({most:.1%} of the rating)",
            )
            return None
        within = next((flow for flow in during if not over or flow.t > over[-1].t), None)
        return within.t - set_t if within else None


# Power at the feeder head


def flow_before(flows: list[Flow], t: float) -> Flow | None:
    """Find the last flow before a time."""
    return next((flow for flow in reversed(flows) if flow.t < t), None)


def flow_from(flows: list[Flow], t: float) -> Flow | None:
    """Find the first flow at or after a time."""
    return next((flow for flow in flows if flow.t >= t), None)
