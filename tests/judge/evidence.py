"""Read an evidence folder (docs/evidence.md), and judge what is common to all checks: is it complete, well formed and unaltered?"""

from __future__ import annotations

import hashlib
import json
import math
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from registers import KNOWN, written

if TYPE_CHECKING:
    from pathlib import Path

    from grid import Grid

FLOW_EVERY_S = 10.0
FLOW_GAP_S = 15.0  # a missing line makes a gap of 20 s
POLL_S = 300.0
LFDI = re.compile(r"[0-9A-F]{40}")


class Why:
    """The reasons of a check, in words; devices with the same reason share a line."""

    def __init__(self) -> None:
        self._reasons: dict[str, list[str]] = {}

    def add(self, reason: str, who: str = "") -> None:
        """Add a reason, and whom it concerns."""
        named = self._reasons.setdefault(reason, [])
        if who:
            named.append(who)

    def lines(self) -> list[str]:
        """List the reasons."""
        return [f"{reason}: {', '.join(who)}" if who else reason for reason, who in self._reasons.items()]


@dataclass(frozen=True)
class Device:
    """One inverter of the manifest."""

    service_point: str
    lfdi: str
    port: int
    unit: int
    process: str
    rating_w: float
    way: str = "direct"
    aggregator: str = ""


@dataclass
class Station:
    """One node that serves, and what it heard and kept."""

    name: str
    level: int
    party: str
    lfdi: str
    element: str = ""
    above: tuple[str, ...] = ()
    head: bool = False
    responses: list[Response] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    audit: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Flow:
    """One solved power flow."""

    t: float
    v: list[float | None]
    p: list[float]
    head_p: list[float]


@dataclass(frozen=True)
class Request:
    """One Modbus request that a device answered without an exception."""

    t: float
    pdu: bytes


@dataclass(frozen=True)
class Response:
    """One Response as received on the wire."""

    t: float
    lfdi: str
    peer: str
    mrid: str
    status: int
    created_t: float


@dataclass(frozen=True)
class Reading:
    """One stored reading."""

    received_t: float
    lfdi: str
    point: str
    t: float
    value: float = 0.0


@dataclass(frozen=True, eq=False)
class Control:
    """One control that the scenario issued."""

    check: str
    mrid: str
    group: str
    t: float
    start_t: float
    end_t: float
    setpoints: dict[str, Any]
    node: str = ""
    """The station that issued it; empty for the head of a spine."""

    @property
    def limit_pct(self) -> float | None:
        """The active power limit in % of the rating, if there is one."""
        value = self.setpoints.get("max_lim_w_pct")
        return None if value is None else float(value)


@dataclass(frozen=True)
class Outage:
    """Something was away from `t` until `until` (infinite when it never came back)."""

    t: float
    until: float
    whom: frozenset[str]
    """LFDIs of a cut, the process of a kill."""
    signal: int | None = None


@dataclass(frozen=True)
class Wiring:
    """The switches from `t` on; the change to them began at `began`."""

    began: float
    t: float
    open: tuple[Any, ...]


@dataclass
class Operation:
    """Switches operated in the field from `t` on, and confirmed by `until`."""

    t: float
    check: str
    close: list[Any]
    open: list[Any]
    until: float = math.inf
    moved: int = 0


@dataclass(frozen=True)
class Explanation:
    """What one gateway said of its decision from `t` on."""

    t: float
    entries: list[dict[str, Any]]


@dataclass(frozen=True)
class Stay:
    """A device was in the group of a control from `since` to `until`; the ends of a control are ends like others."""

    control: Control
    since: float
    until: float
    arrived: bool = False
    """A switch brought the device; it did not belong when the event began."""
    left: bool = False
    """A switch took the device away before the event was over."""


@dataclass
class Evidence:
    """Everything in the folder, as values; `faults` says what could not be read."""

    grid: Grid
    folder: Path
    faults: Why = field(default_factory=Why)
    manifest: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    switches: list[tuple[float, list[Any]]] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    requests: dict[tuple[int, int], list[Request]] = field(default_factory=lambda: defaultdict(list))
    end_t: float = -math.inf
    responses: list[Response] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    audit: list[dict[str, Any]] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    cuts: list[Outage] = field(default_factory=list)
    kills: list[Outage] = field(default_factory=list)
    stations: dict[str, Station] = field(default_factory=dict)
    groups: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """Node and name -> LFDIs."""
    operations: list[Operation] = field(default_factory=list)
    islands: list[Outage] = field(default_factory=list)
    """Stations, by name, that were cut off from those above them."""
    explanations: dict[str, list[Explanation]] = field(default_factory=lambda: defaultdict(list))
    replay_start: dict[str, Any] = field(default_factory=dict)
    replay: list[Flow] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Simulated seconds in a second of wall time."""
        return float(self.manifest["speed"])

    @property
    def on_time_s(self) -> float:
        """What counts as on time: 1 s of wall time, in simulated seconds."""
        return self.speed

    @property
    def instant_s(self) -> float:
        """Below this two records of different programs are simultaneous: 0.1 s of wall time."""
        return 0.1 * self.speed

    @property
    def poll_s(self) -> float:
        """How often a gateway asks for its programs."""
        return POLL_S

    @cached_property
    def head(self) -> Station:
        """The utility: of a spine, the only station."""
        return next((item for item in self.stations.values() if item.head), Station("utility", 4, "utility", ""))

    @cached_property
    def by_lfdi(self) -> dict[str, Device]:
        """Find a device by LFDI."""
        return {device.lfdi: device for device in self.devices}

    @cached_property
    def station_of(self) -> dict[str, Station]:
        """Find a station by LFDI."""
        return {station.lfdi: station for station in self.stations.values()}

    @cached_property
    def place(self) -> dict[str, int]:
        """Find a service point in the arrays of a flow."""
        return {point: index for index, point in enumerate(self.start["service_points"])}

    @cached_property
    def flow_times(self) -> list[float]:
        """List the times of the flows."""
        return [flow.t for flow in self.flows]

    def flows_within(self, low: float, high: float) -> list[Flow]:
        """List the flows from a time until before another."""
        return self.flows[bisect_left(self.flow_times, low) : bisect_left(self.flow_times, high)]

    @cached_property
    def wirings(self) -> list[Wiring]:
        """List the states of the switches; what is between the steps of one operation is no state of its own."""
        found: list[Wiring] = []
        index = 0
        while index < len(self.switches):
            began = self.switches[index][0]
            until = next((item.until for item in self.operations if self._belongs(item, began)), began)
            while index + 1 < len(self.switches) and self.switches[index + 1][0] <= until:
                index += 1
            found.append(Wiring(began, self.switches[index][0], tuple(self.switches[index][1])))
            index += 1
        return found

    def _belongs(self, operation: Operation, t: float) -> bool:
        # The plant tells the time of its own step, which may lie before that of the scenario's.
        return operation.t - self.on_time_s <= t <= operation.until < math.inf

    def wiring_at(self, t: float) -> Wiring:
        """Find the state of the switches at a time."""
        index = bisect_right(self.wirings, t, key=lambda item: item.t) - 1
        return self.wirings[max(index, 0)]

    def fed_by(self, group: str, opened: tuple[Any, ...]) -> frozenset[str]:
        """Find the service points that an element feeds with these switches open."""
        if (group, opened) not in self._fed:
            self._fed[group, opened] = frozenset(self.grid.fed_by(group, opened))
        return self._fed[group, opened]

    @cached_property
    def _fed(self) -> dict[tuple[str, tuple[Any, ...]], frozenset[str]]:
        return {}

    @cached_property
    def _stays(self) -> dict[Control, dict[str, list[Stay]]]:
        return {}

    def issued_by_head(self, control: Control) -> bool:
        """Tell whether the utility issued a control: its groups are elements of the grid."""
        return control.node in {"", self.head.name}

    def members_at(self, control: Control, t: float) -> list[Device]:
        """Find the devices in the group of a control at a time."""
        if self.issued_by_head(control):
            fed = self.fed_by(control.group, self.wiring_at(t).open)
            return [device for device in self.devices if device.service_point in fed]
        lfdis = self.groups.get((control.node, control.group), frozenset())
        names = {self.station_of[lfdi].name for lfdi in lfdis if lfdi in self.station_of}
        return [device for device in self.devices if device.lfdi in lfdis or device.aggregator in names]

    def members(self, control: Control) -> list[Device]:
        """Find the devices in the control's group at its start."""
        return self.members_at(control, control.start_t)

    def stays(self, control: Control) -> dict[str, list[Stay]]:
        """Find who was in the group of a control when, by service point."""
        if control not in self._stays:
            self._stays[control] = self._stays_of(control)
        return self._stays[control]

    def _stays_of(self, control: Control) -> dict[str, list[Stay]]:
        inside = {device.service_point: control.start_t for device in self.members(control)}
        fresh: set[str] = set()
        found: dict[str, list[Stay]] = defaultdict(list)
        moves = self.wirings if self.issued_by_head(control) else []
        for wiring in moves:
            if not control.start_t < wiring.t < control.end_t:
                continue
            now = {device.service_point for device in self.members_at(control, wiring.t)}
            for point in sorted(set(inside) - now):
                found[point].append(Stay(control, inside.pop(point), wiring.began, point in fresh, left=True))
            for point in now - set(inside):
                inside[point] = wiring.t
                fresh.add(point)
        for point, since in inside.items():
            found[point].append(Stay(control, since, control.end_t, point in fresh))
        return found

    def membership_moved(self, control: Control) -> bool:
        """Tell whether a switch moved a device into or out of the group during the event."""
        return any(stay.arrived or stay.left for stays in self.stays(control).values() for stay in stays)

    def relays_of(self, device: Device) -> list[Station]:
        """List the stations below the head through which a device may speak to it."""
        below = [item for item in self.stations.values() if not item.head and item.party == self.head.party]
        if device.way == "aggregator":
            return [item for item in self.stations.values() if item.name == device.aggregator]
        return below

    def sent_to(self, device: Device) -> list[Request]:
        """List the requests that one device received."""
        return self.requests.get((device.port, device.unit), [])

    def down(self, process: str, t: float) -> Outage | None:
        """Find the outage of a process at a time."""
        return next((kill for kill in self.kills if process in kill.whom and kill.t <= t < kill.until), None)


def read(folder: Path, grid: Grid) -> Evidence:
    """Read a folder; what cannot be read becomes a fault, never an exception."""
    evidence = Evidence(grid, folder)
    try:
        evidence.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        evidence.devices = [
            Device(
                item["service_point"],
                item["lfdi"].upper(),
                item["port"],
                item["unit"],
                item["process"],
                float(item["rating_w"]),
                item.get("way", "direct"),
                item.get("aggregator", ""),
            )
            for item in evidence.manifest["devices"]
        ]
        for item in evidence.manifest.get("stations", []):
            evidence.stations[item["name"]] = Station(
                item["name"],
                int(item["level"]),
                item["party"],
                item["lfdi"].upper(),
                item["element"],
                tuple(item["above"]),
                bool(item["head"]),
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        evidence.faults.add(f"manifest.json cannot be read: {error!r}")
    for name, take in (
        ("journal.jsonl", _Journal(evidence).take),
        ("replay.jsonl", _Replay(evidence).take),
        ("responses.jsonl", lambda item: evidence.responses.append(_response(item))),
        ("readings.jsonl", lambda item: evidence.readings.append(_reading(item))),
        ("audit.jsonl", evidence.audit.append),
        ("steps.jsonl", _Steps(evidence).take),
    ):
        _read_lines(folder / name, take, evidence.faults)
    if evidence.stations:
        _read_stations(evidence, folder)
    return evidence


def _read_stations(evidence: Evidence, folder: Path) -> None:
    """Read what the levels add."""

    def explained(item: dict[str, Any]) -> None:
        evidence.explanations[item["lfdi"].upper()].append(Explanation(float(item["t"]), list(item["entries"])))

    for station in evidence.stations.values():
        if station.head:
            station.responses, station.readings, station.audit = evidence.responses, evidence.readings, evidence.audit
            continue
        place = folder / "stations" / station.name
        _read_lines(
            place / "responses.jsonl", lambda item, to=station: to.responses.append(_response(item)), evidence.faults
        )
        _read_lines(
            place / "readings.jsonl", lambda item, to=station: to.readings.append(_reading(item)), evidence.faults
        )
        _read_lines(place / "audit.jsonl", station.audit.append, evidence.faults)
    _read_lines(folder / "explanations.jsonl", explained, evidence.faults)


def _read_lines(path: Path, take: Any, faults: Why) -> None:  # take: any of the callables above
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        faults.add(f"{_shown(path)} cannot be read: {error!r}")
        return
    for number, line in enumerate(text.splitlines(), 1):
        try:
            item = json.loads(line)
            if not isinstance(item, dict):
                message = "not a JSON object"
                raise TypeError(message)  # noqa: TRY301 - one place that says file and line
            take(item)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            faults.add(f"{_shown(path)}:{number} is malformed: {error!r}")


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.parent.parent.name == "stations" else path.name


def _flow(item: dict[str, Any], start: dict[str, Any]) -> Flow:
    for key, axis in (
        ("v", "nodes"),
        ("p", "service_points"),
        ("q", "service_points"),
        ("head_p", "feeders"),
        ("head_q", "feeders"),
    ):
        values = item[key]
        if len(values) != len(start[axis]):
            message = f"{key} has {len(values)} values for {len(start[axis])} {axis}"
            raise ValueError(message)
        if not math.isfinite(sum(value for value in values if value is not None) if key == "v" else sum(values)):
            message = f"{key} holds a value that is no number"
            raise ValueError(message)
    return Flow(float(item["t"]), item["v"], item["p"], item["head_p"])


class _Replay:
    """The plant alone: start, switches, flow, end."""

    name = "replay.jsonl"

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.ended = False

    def started(self, item: dict[str, Any]) -> None:
        self.evidence.replay_start = item

    def flows(self) -> list[Flow]:
        return self.evidence.replay

    def first(self) -> dict[str, Any]:
        return self.evidence.replay_start

    def take(self, item: dict[str, Any]) -> None:
        kind = item["kind"]
        if self.ended:
            message = f"a line of kind {kind!r} after the end"
            raise ValueError(message)
        if (kind == "start") is bool(self.first()):
            message = "the first line, and no other, is of kind 'start'"
            raise ValueError(message)
        match kind:
            case "start":
                for key, known in (
                    ("nodes", set(self.evidence.grid.node_ids)),
                    ("service_points", set(self.evidence.grid.service_points)),
                    ("feeders", set(self.evidence.grid.feeders)),
                ):
                    if set(item[key]) != known or len(item[key]) != len(known):
                        message = f"{key} are not those of the grid file"
                        raise ValueError(message)
                self.started(item)
            case "flow":
                flow, flows = _flow(item, self.first()), self.flows()
                if flows and flow.t <= flows[-1].t:
                    message = f"the flow at {flow.t} follows the flow at {flows[-1].t}"
                    raise ValueError(message)
                flows.append(flow)
            case "end":
                self.ended = True
                self.finished(float(item["t"]))
            case _:
                self.other(item)

    def finished(self, t: float) -> None:
        """Take the time of the last line."""

    def other(self, item: dict[str, Any]) -> None:
        if item["kind"] != "switches":
            message = f"kind {item['kind']!r} has no place here"
            raise ValueError(message)


class _Journal(_Replay):
    """What the plant saw and did."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._last_t = -math.inf

    def started(self, item: dict[str, Any]) -> None:
        self.evidence.start = item

    def flows(self) -> list[Flow]:
        return self.evidence.flows

    def first(self) -> dict[str, Any]:
        return self.evidence.start

    def finished(self, t: float) -> None:
        self.evidence.end_t = t

    def other(self, item: dict[str, Any]) -> None:
        t = float(item["t"])
        match item["kind"]:
            case "switches":
                unknown = [switch for switch in item["open"] if switch not in self.evidence.grid.switch_element]
                if unknown:
                    message = f"switches {unknown} are not in the grid file"
                    raise ValueError(message)
                self.evidence.switches.append((t, item["open"]))
            case "request":
                pdu = bytes.fromhex(item["pdu"])
                if pdu[0] not in KNOWN:
                    message = f"function code {pdu[0]:#04x} is not known to this judge"
                    raise ValueError(message)
                written(pdu)
                if t < self._last_t:
                    message = f"the request at {t} follows the request at {self._last_t}"
                    raise ValueError(message)
                self._last_t = t
                self.evidence.requests[item["port"], item["unit"]].append(Request(t, pdu))
            case "refused":
                bytes.fromhex(item["pdu"])
                int(item["exception"])
            case kind:
                message = f"kind {kind!r} is not known"
                raise ValueError(message)


def _response(item: dict[str, Any]) -> Response:
    return Response(
        float(item["t"]),
        item["lfdi"].upper(),
        item["peer"].upper(),
        item["mrid"].upper(),
        int(item["status"]),
        float(item["created_t"]),
    )


def _reading(item: dict[str, Any]) -> Reading:
    return Reading(
        float(item["received_t"]), item["lfdi"].upper(), item["point"], float(item["t"]), float(item["value"])
    )


class _Steps:
    """Controls, and outages with their ends."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def take(self, item: dict[str, Any]) -> None:
        t = float(item["t"])
        match item["kind"]:
            case "control":
                start_t = float(item["start_t"])
                self._evidence.controls.append(
                    Control(
                        item.get("check") or "",
                        item["mrid"].upper(),
                        item["group"],
                        t,
                        start_t,
                        start_t + float(item["duration_s"]),
                        item["setpoints"],
                        item.get("node", ""),
                    )
                )
            case "group":
                lfdis = frozenset(lfdi.upper() for lfdi in item["lfdis"])
                self._evidence.groups[item["node"], item["group"]] = lfdis
            case "switch":
                operation = Operation(t, item.get("check") or "", list(item["close"]), list(item["open"]))
                self._evidence.operations.append(operation)
            case "switched":
                operation = next(item for item in self._evidence.operations if math.isinf(item.until))
                operation.until, operation.moved = t, int(item["moved"])
            case "cut" if "node" in item:
                self._evidence.islands.append(Outage(t, math.inf, frozenset([item["node"]])))
            case "restore" if "node" in item:
                self._end(self._evidence.islands, t, frozenset([item["node"]]))
            case "cut":
                lfdis = frozenset(lfdi.upper() for lfdi in item["lfdis"])
                self._evidence.cuts.append(Outage(t, math.inf, lfdis))
            case "restore":
                self._end(self._evidence.cuts, t, frozenset(lfdi.upper() for lfdi in item["lfdis"]))
            case "kill":
                whom = frozenset([item["process"]])
                self._evidence.kills.append(Outage(t, math.inf, whom, int(item["signal"])))
            case "restart":
                self._end(self._evidence.kills, t, frozenset([item["process"]]))

    @staticmethod
    def _end(outages: list[Outage], t: float, whom: frozenset[str]) -> None:
        """End the open outages of these; one that is restored in parts is split."""
        ended = False
        for outage in [outage for outage in outages if math.isinf(outage.until) and outage.whom & whom]:
            outages.remove(outage)
            outages.append(Outage(outage.t, t, outage.whom & whom, outage.signal))
            if outage.whom - whom:
                outages.append(Outage(outage.t, math.inf, outage.whom - whom, outage.signal))
            ended = True
        if not ended:
            message = f"nothing was away that could come back: {sorted(whom)}"
            raise ValueError(message)


def check_evidence(evidence: Evidence) -> tuple[list[str], dict[str, Any]]:
    """Judge completeness, form and the audit chain."""
    why = evidence.faults
    expected = len(evidence.grid.service_points)
    lfdis = {device.lfdi for device in evidence.devices}
    for what, found in (
        ("LFDIs", lfdis),
        ("service points", {device.service_point for device in evidence.devices}),
        ("Modbus addresses", {(device.port, device.unit) for device in evidence.devices}),
    ):
        if len(found) != expected or len(evidence.devices) != expected:
            why.add(f"the manifest has {len(found)} distinct {what} of {len(evidence.devices)}, expected {expected}")
    for device in evidence.devices:
        if not LFDI.fullmatch(device.lfdi):
            why.add("an LFDI is not 40 hexadecimal digits", device.lfdi)
        if device.service_point not in evidence.grid.service_points:
            why.add("the grid file has no such service point", device.service_point)
        if not device.rating_w > 0:
            why.add("a rating is not positive", device.service_point)
    heard = {item.lfdi for item in evidence.responses} | {item.lfdi for item in evidence.readings}
    for station in evidence.stations.values():
        heard |= {item.lfdi for item in station.responses} | {item.lfdi for item in station.readings}
    for lfdi in sorted(lfdis - heard):
        why.add("a device of the manifest sent neither a Response nor a reading", lfdi)
    for lfdi in sorted(heard - lfdis - set(evidence.station_of)):
        why.add("an LFDI that is not in the manifest sent something", lfdi)
    _check_peers(evidence, why)
    for address in sorted(set(evidence.requests) - {(device.port, device.unit) for device in evidence.devices}):
        why.add("requests went to an address that is not in the manifest", str(address))
    if not evidence.manifest.get("speed", 0) > 0:
        why.add("the manifest gives no speed")
    for key in ("scale_factors", "repeats"):
        if key not in evidence.start:
            why.add(f"the start line of the journal lacks {key}")
    _check_journal(evidence, why)
    _check_audit(evidence, why)
    figures = {
        "flows": len(evidence.flows),
        "requests": sum(len(items) for items in evidence.requests.values()),
        "responses": len(evidence.responses),
        "readings": len(evidence.readings),
        "audit_records": len(evidence.audit),
        "lfdis_heard": len(heard),
        "responses_by_another_peer": sum(item.peer != item.lfdi for item in evidence.responses),
        "stations": len(evidence.stations),
    }
    return why.lines(), figures


def _check_peers(evidence: Evidence, why: Why) -> None:
    """Require that a Response came from the device itself, or through a station that may stand for it."""
    for station in evidence.stations.values():
        for response in station.responses:
            if response.peer == response.lfdi:
                continue
            device = evidence.by_lfdi.get(response.lfdi)
            allowed = evidence.relays_of(device) if device and station.name == evidence.head.name else []
            if response.peer not in {relay.lfdi for relay in allowed}:
                who = device.service_point if device else response.lfdi
                peer = evidence.station_of.get(response.peer)
                through = peer.name if peer else response.peer
                why.add(
                    f"a Response at {station.name} came through a peer that does not stand for the device",
                    f"{who} through {through}",
                )


def _check_journal(evidence: Evidence, why: Why) -> None:
    if not evidence.start:
        why.add("the journal has no start line")
        return
    if not evidence.switches:
        why.add("the journal has no switches line")
    if math.isinf(evidence.end_t):
        why.add("the journal has no end line")
        return
    start_t = float(evidence.start["t"])
    times = [start_t, *(flow.t for flow in evidence.flows), evidence.end_t]
    for before, after in pairwise(times):
        if after - before > FLOW_GAP_S:
            why.add(f"the flow lines have a gap: every {FLOW_EVERY_S:g} s is required", f"{before:.0f} to {after:.0f}")
    if len(evidence.flows) > (evidence.end_t - start_t) / FLOW_EVERY_S * 1.05 + 2:
        why.add(f"the journal has {len(evidence.flows)} flow lines, more than one every {FLOW_EVERY_S:g} s")


def _check_audit(evidence: Evidence, why: Why) -> None:
    _check_chain(evidence.audit, "the audit", why)
    for station in evidence.stations.values():
        if not station.head:
            _check_chain(station.audit, f"the audit of {station.name}", why)
    about = {
        station.name: "".join(json.dumps([item.get("resource"), item.get("detail")]).upper() for item in station.audit)
        for station in evidence.stations.values()
    }
    about[""] = "".join(json.dumps([item.get("resource"), item.get("detail")]).upper() for item in evidence.audit)
    for control in evidence.controls:
        if control.mrid not in about[control.node if control.node in about else ""]:
            why.add("a control has no audit record", control.mrid)


def _check_chain(audit: list[dict[str, Any]], name: str, why: Why) -> None:
    if not audit:
        why.add(f"{name} chain is empty")
    previous, last = "0" * 64, None
    for item in audit:
        try:
            sequence = item["sequence"]
            kept = [item[key] for key in ("party", "sequence", "time", "principal", "verb", "resource", "outcome")]
            kept += [item["detail"], item["previous_sha256"]]
            digest = hashlib.sha256(json.dumps(kept).encode()).hexdigest()
            if last is not None and sequence != last + 1:
                why.add(f"{name} chain is not in sequence", f"{sequence} after {last}")
            if item["previous_sha256"] != previous:
                why.add(f"a record of {name} does not name the hash of the one before it", str(sequence))
            if item["sha256"] != digest:
                why.add(f"the hash of a record of {name} is not that of its content", str(sequence))
            previous, last = item["sha256"], sequence
        except (KeyError, TypeError) as error:
            why.add(f"a record of {name} is malformed: {error!r}")
