"""The check *volt_var*: a curve is written to every member as drawn, is adopted, read back and released, and lowers the voltage."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from check_evidence import FLOW_GAP_S
from events import judge_responses, most, the_control
from records import Why
from registers import read_span, written

if TYPE_CHECKING:
    from evidence import Evidence
    from records import Control, Device, Flow, Request
    from registers import Layout

ADOPTION_S = 20.0
SETTLING_S = 60.0
AT_MOST = 0.5  # of the bus-minutes without the curve
FLOW_S = 10.0
DEPENDENT = {"set_max_w": 0, "set_max_var": 1, "stat_var_avail": 2, "set_max_va": 3}
"""`y_ref` -> model 705 DeptRef (W_MAX_PCT, VAR_MAX_PCT, VAR_AVAL_PCT, VA_MAX_PCT)."""


def check_volt_var(evidence: Evidence, layout: Layout) -> tuple[list[str], dict[str, Any]]:
    """Judge the volt-var curve."""
    why = Why()
    control = the_control(evidence, "volt_var", "volt_var", why)
    if control is None:
        return why.lines(), {}
    members = evidence.members(control)
    figures: dict[str, Any] = {"group": control.group, "members": len(members)}
    figures |= _registers(evidence, layout, control, members, why)
    figures |= judge_responses(
        evidence, control, members, why, on_the_wire=False, retries_free=False, slack_s=ADOPTION_S
    )
    figures |= _bus_minutes(evidence, control, why)
    return why.lines(), figures


@dataclass(frozen=True)
class CurveState:
    """What model 705 of a device holds from `t` on, after one write."""

    t: float
    enabled: bool
    adopted: bool
    """The curve last adopted is the one asked for."""


class _Curves:
    """Follow model 705 of one device."""

    def __init__(self, layout: Layout, curve: dict[str, Any], requests: list[Request]) -> None:
        self.states: list[CurveState] = []
        self.differences: list[tuple[float, str]] = []
        self.adoptions: list[float] = []
        self._layout, self._curve = layout, curve
        registers: dict[int, int] = {}
        request_register = layout.span(705, "AdptCrvReq")
        touching = layout.span(705, "Ena") | request_register
        adopted = False
        for request in requests:
            change = written(request.pdu)
            registers.update(change)
            if request_register & change.keys():
                index = int(layout.decode(registers, 705, "AdptCrvReq") or 0)
                difference = self._difference(registers, index)
                if difference:
                    self.differences.append((request.t, difference))
                adopted = not difference
                self.adoptions.append(request.t)
            if touching & change.keys():
                self.states.append(CurveState(request.t, layout.decode(registers, 705, "Ena") == 1, adopted))

    def _difference(self, registers: dict[int, int], index: int) -> str:
        """Say how a curve in the registers differs from the curve asked for; the first curve is number 1 and read-only."""
        if not 2 <= index <= self._layout.repeat(705, "NCrv"):
            return f"AdptCrvReq is {index}, which is no curve that can be written"
        points = self._curve["points"]
        wanted: list[tuple[str, float]] = [("ActPt", len(points))]
        if (reference := self._curve.get("y_ref")) is not None:
            wanted.append(("DeptRef", DEPENDENT[reference]))
        if (response_s := self._curve.get("open_loop_s")) is not None:
            wanted.append(("RspTms", response_s))
        for number, (x_pct, y_pct) in enumerate(points):
            wanted += [(f"Pt[{number}].V", x_pct), (f"Pt[{number}].Var", y_pct)]
        for name, value in wanted:
            path = f"Crv[{index - 1}].{name}"
            found = self._layout.decode(registers, 705, path)
            exact = name in {"ActPt", "DeptRef"}
            tolerance = 0.0 if exact else self._layout.resolution(705, path) * (1 + 1e-9)
            if found is None:
                return f"{path} was not written"
            if abs(found - value) > tolerance:
                return f"{path} is {found:g}, asked was {value:g}"
        return ""

    def at(self, t: float) -> CurveState:
        """Find the state at a time."""
        index = bisect_right(self.states, t, key=lambda state: state.t) - 1
        return self.states[index] if index >= 0 else CurveState(t, enabled=False, adopted=False)


def _registers(evidence: Evidence, layout: Layout, control: Control, members: list[Device], why: Why) -> dict[str, Any]:
    tolerance = evidence.on_time_s + ADOPTION_S
    result, active = layout.span(705, "AdptCrvRslt"), layout.span(705, "Crv[0].Pt[0].V", "Crv[0].Pt[0].Var")
    others = [item for item in evidence.controls if "volt_var" in item.setpoints and item is not control]
    applying: dict[str, list[Control]] = {device.service_point: [] for device in evidence.devices}
    for item in others:
        for device in evidence.members(item):
            applying[device.service_point].append(item)
    inside = {device.service_point for device in members}
    late: list[float] = []
    released: list[float] = []
    read_result = read_curve = 0
    for device in evidence.devices:
        name = device.service_point
        requests = evidence.sent_to(device)
        curves = _Curves(layout, control.setpoints["volt_var"], requests)
        if name not in inside:
            for state in curves.states:
                theirs = any(item.start_t - tolerance <= state.t <= item.end_t + tolerance for item in applying[name])
                if state.enabled and not theirs and control.start_t - tolerance <= state.t <= control.end_t:
                    why.add("volt-var was enabled at a device not fed by the element", name)
                    break
            continue
        for t, difference in curves.differences:
            if control.start_t - tolerance <= t < control.end_t:
                why.add(f"the curve adopted is not the curve asked for: {difference}", name)
        by, until = control.start_t + tolerance, control.end_t - evidence.on_time_s
        first = next(
            (
                state.t
                for state in curves.states
                if state.t >= control.start_t - tolerance and state.enabled and state.adopted
            ),
            None,
        )
        before = curves.at(control.start_t - tolerance)
        if before.enabled and before.adopted:
            why.add("the curve was in force before the start", name)
        held = [curves.at(by), *(state for state in curves.states if by < state.t <= until)]
        wrong = [state for state in held if not (state.enabled and state.adopted)]
        if first is None or first > by:
            why.add(
                "the curve was not in force on time (AdptCrvReq and Ena)",
                f"{name} ({'never' if first is None else f'{first - control.start_t:+.1f} s'})",
            )
        elif wrong:
            why.add("the curve did not stay in force until the end", f"{name} (at {wrong[0].t:.1f} s)")
        if first is not None:
            late.append(first - control.start_t)
        follows = any(item.start_t <= control.end_t + tolerance < item.end_t for item in applying[name])
        if not follows:
            if curves.at(control.end_t + tolerance).enabled:
                why.add("volt-var was not released after the end (Ena 0)", name)
            released += [state.t - control.end_t for state in curves.states if state.t >= until and not state.enabled][
                :1
            ]
        adopted_t = next((t for t in curves.adoptions if t >= control.start_t - tolerance), None)
        spans = [
            span
            for request in requests
            if adopted_t is not None
            and adopted_t <= request.t < control.end_t
            and (span := read_span(request.pdu)) is not None
        ]
        confirmed, compared = any(result <= set(span) for span in spans), any(active <= set(span) for span in spans)
        read_result += confirmed
        read_curve += compared
        if not confirmed and not compared:
            why.add("the curve was not read back after its adoption", name)
    return {
        "in_force_late_s": most(late),
        "release_late_s": most(released),
        "adoption_read": read_result,
        "curve_read": read_curve,
    }


def _bus_minutes(evidence: Evidence, control: Control, why: Why) -> dict[str, Any]:
    """Compare the time above the upper voltage limit with that of the plant alone."""
    for key in ("seed", "source_pu", "nodes", "service_points", "feeders"):
        if evidence.replay_start.get(key) != evidence.start.get(key):
            why.add(f"the replay was made with another {key}")
    limit = float(evidence.manifest["limits_pu"][1])
    low, high = control.start_t + SETTLING_S, control.end_t
    with_curve, covered = bus_minutes(evidence.flows, limit, low, high)
    without, replayed = bus_minutes(evidence.replay, limit, low, high)
    if abs(covered - replayed) > FLOW_S or covered < high - low - 2 * FLOW_S:
        why.add(f"of {high - low:.0f} s the journal covers {covered:.0f} s, the replay {replayed:.0f} s")
    dead, dead_without = (
        sum(v is None or v <= 0 for flow in flows if low <= flow.t < high for v in flow.v)
        for flows in (evidence.flows, evidence.replay)
    )
    if dead > dead_without:
        why.add("nodes lost their voltage during the event, which is no way to lower it")
    if not without > 0:
        why.add(f"the plant alone was never above {limit} pu: there was nothing to lower")
    elif with_curve > AT_MOST * without:
        why.add(
            f"{with_curve:.1f} bus-minutes above {limit} pu are more than half of the {without:.1f} without the curve"
        )
    return {"bus_minutes": round(with_curve, 2), "bus_minutes_without": round(without, 2)}


def bus_minutes(flows: list[Flow], limit: float, low: float, high: float) -> tuple[float, float]:
    """Sum the time above a limit over all nodes, in minutes, and the seconds covered; a flow holds until the next."""
    total = covered = 0.0
    for index, flow in enumerate(flows):
        until = min(flows[index + 1].t, flow.t + FLOW_GAP_S) if index + 1 < len(flows) else flow.t + FLOW_S
        held = max(0.0, min(until, high) - max(flow.t, low))
        covered += held
        total += held / 60 * sum(v is not None and v > limit for v in flow.v)
    return total, covered
