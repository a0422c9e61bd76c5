"""Read an evidence folder (docs/evidence.md); what cannot be read becomes a fault, never an exception."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from alone import bring_together
from evidence import Evidence
from records import Control, Device, Explanation, Flow, Operation, Outage, Reading, Request, Response, Station
from registers import KNOWN, written

if TYPE_CHECKING:
    from pathlib import Path

    from grid import Grid
    from records import Why


OF_A_STATION = ("readings.jsonl", "audit.jsonl")
"""What only a node that serves keeps."""


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
        if not (evidence.alone and name in OF_A_STATION):
            _read_lines(folder / name, take, evidence.faults)
    if evidence.alone:
        _read_explanations(evidence, folder)
        bring_together(evidence)
    if evidence.stations:
        _read_stations(evidence, folder)
    return evidence


def _read_stations(evidence: Evidence, folder: Path) -> None:
    """Read what the levels add."""
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
    _read_explanations(evidence, folder)


def _read_explanations(evidence: Evidence, folder: Path) -> None:
    """Read what the gateways say of their decisions."""

    def explained(item: dict[str, Any]) -> None:
        evidence.explanations[item["lfdi"].upper()].append(Explanation(float(item["t"]), list(item["entries"])))

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
            case "limit":
                if not self._evidence.alone:
                    message = "owners spoke, and this judge knows what they say only where nobody stands above them"
                    raise ValueError(message)
                start_t = float(item["start_t"])
                said = {lfdi.upper(): mrid.upper() for lfdi, mrid in item["said"].items()}
                if len(set(said.values())) < len(said):
                    message = "two gateways gave a limit the same mRID"
                    raise ValueError(message)
                self._evidence.controls.append(
                    Control(
                        item.get("check") or "",
                        f"LIMIT {len(self._evidence.controls)}",
                        item["group"],
                        t,
                        start_t,
                        start_t + float(item["duration_s"]),
                        item["setpoints"],
                        said=said,
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
