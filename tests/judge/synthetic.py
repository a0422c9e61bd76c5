"""A small but complete evidence folder, made by simple formulas from the committed grid file: what the judge must call good.

Nothing here is taken from the judge: the feeders are traced and the register addresses computed a second time.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from judge import GRID

if TYPE_CHECKING:
    from pathlib import Path

T0 = 1_800_000_000
SPEED = 30


class Event(NamedTuple):
    """One control: times in seconds after T0."""

    mrid: str
    group: str
    start: int
    end: int
    pct: int = 100


END = 1620
CIRCUIT = Event("AA" * 16, "feeder-1", 300, 720, 50)
LOSS = Event("BB" * 16, "feeder-3", 200, 1000, 60)
VOLT_VAR = Event("CC" * 16, "system", 1200, 1500)
CURVE = [[92, 44], [98, 0], [102, 0], [108, -44]]
CUT, RESTORE = 420, 1080
MODELS = [[1, 66], [701, 153], [702, 50], [703, 17], [704, 65], [705, 103]]
BASE = 40000
AT_704 = BASE + 2 + sum(2 + length for _, length in MODELS[:4])
AT_705 = AT_704 + 2 + 65
WMAX_LIM_PCT_ENA, ADPT_CRV_REQ, ENA, ADPT_CRV_RSLT = AT_704 + 14, AT_705 + 3, AT_705 + 2, AT_705 + 4
CURVE_2 = AT_705 + 15 + 30  # a curve takes 10 registers and 2 for each of 10 points

Lines = list[dict[str, Any]]
Folder = dict[str, Any]
"""File name without suffix -> its text, or its content where a test alters it."""


def trace(grid: dict[str, Any]) -> dict[str, list[str]]:
    """Find the service points of each feeder, with the switches as they are in the grid file."""
    opened = {switch["element"] for switch in grid["switches"] if not switch["closed"]}
    heads = {feeder["branch"]: feeder for feeder in grid["feeders"]}
    found: dict[str, list[str]] = {}
    for branch, feeder in heads.items():
        nodes: set[str] = set()
        frontier = {feeder["node"]}
        used = {branch}
        first = True
        while frontier:
            reached: set[str] = set()
            for line in grid["lines"]:
                ends = {line["from_node"], line["to_node"]}
                usable = line["id"] == branch if first else line["id"] not in heads and line["id"] not in opened
                if usable and ends & frontier:
                    used.add(line["id"])
                    reached |= ends - frontier - nodes
            nodes |= reached
            frontier, first = reached, False
        nodes.discard(feeder["node"])
        found[feeder["id"]] = [point["id"] for point in grid["service_points"] if point["node"] in nodes]
    return found


def words(*values: int) -> bytes:
    """Pack registers."""
    return b"".join((value & 0xFFFF).to_bytes(2, "big") for value in values)


def write(address: int, *values: int) -> str:
    """Make a write request."""
    return (b"\x10" + words(address, len(values)) + bytes([2 * len(values)]) + words(*values)).hex()


def write_one(address: int, value: int) -> str:
    """Make a write request of one register."""
    return (b"\x06" + words(address, value)).hex()


def read(address: int, count: int) -> str:
    """Make a read request."""
    return (b"\x03" + words(address, count)).hex()


class Good:
    """Builds the folder."""

    end = END
    checks = ("circuit", "loss", "volt_var")

    def __init__(self) -> None:
        self.grid = json.loads(GRID.read_text(encoding="utf-8"))
        self.feeders = trace(self.grid)
        self.points = [point["id"] for point in self.grid["service_points"]]
        self.nodes = [node["id"] for node in self.grid["nodes"]]
        self.lfdi = {point: hashlib.sha256(point.encode()).hexdigest()[:40].upper() for point in self.points}
        self.rating = {point["id"]: float(point["p_w"]) for point in self.grid["service_points"]}
        self.devices = [
            {
                "service_point": point,
                "lfdi": self.lfdi[point],
                "port": 15020 + index % 2,
                "unit": 1 + index // 2,
                "process": f"gateways-{1 + index % 2}",
                "rating_w": self.rating[point],
            }
            for index, point in enumerate(self.points)
        ]
        self.address = {device["service_point"]: (device["port"], device["unit"]) for device in self.devices}
        self.cut = self.feeders["feeder-3"][:3]

    def folder(self) -> Folder:
        """Build everything."""
        contents = {
            "manifest": {
                "tierline": "0.1.0",
                "scenario": "demo",
                "seed": 1,
                "speed": SPEED,
                "started_t": T0,
                "ended_t": T0 + self.end,
                "wall_s": self.end / SPEED,
                "ready_wall_s": 2,
                "grid": "oberrhein.json",
                "limits_pu": [0.95, 1.05],
                "checks": list(self.checks),
                "devices": self.devices,
            },
            "journal": self.plant(with_controls=True),
            "replay": self.plant(with_controls=False),
            "responses": self.responses(),
            "readings": self.readings(),
            "audit": chain(
                [{"verb": "create", "resource": f"/control/{item.mrid}"} for item in (CIRCUIT, LOSS, VOLT_VAR)]
            ),
            "steps": self.steps(),
        }
        return {name: text_of(content) for name, content in contents.items()}

    def power(self, point: str, t: float, *, with_controls: bool) -> float:
        """The power of one inverter: 80 % of its rating, or its limit after a ramp of 20 s."""
        share = 0.8
        for event in (CIRCUIT, LOSS) if with_controls else ():
            if point in self.feeders[event.group]:
                ramp = min(max((t - event.start - 3) / 20, 0), 1) - min(max((t - event.end - 3) / 20, 0), 1)
                share -= ramp * (0.8 - event.pct / 100)
        return round(share * self.rating[point], 1)

    def plant(self, *, with_controls: bool) -> Lines:
        """The journal, or its replay."""
        start = {
            "kind": "start",
            "t": T0,
            "seed": 1,
            "source_pu": 1.03,
            "nodes": self.nodes,
            "service_points": self.points,
            "feeders": list(self.feeders),
            "base": BASE,
            "models": MODELS,
            "repeats": {"705": {"NPt": 10, "NCrv": 3}},
            "scale_factors": {
                "704": {"WMaxLimPct_SF": -1, "WSet_SF": 0, "WSetPct_SF": -2},
                "705": {"V_SF": -1, "DeptRef_SF": -2, "RspTms_SF": -1},
            },
        }
        lines: Lines = []
        for t in range(0, self.end + 1, 10):
            power = {point: self.power(point, t, with_controls=with_controls) for point in self.points}
            high = 1.045 if with_controls and VOLT_VAR.start + 30 <= t < VOLT_VAR.end else 1.06
            voltage = [high if index % 3 == 0 else 1.02 for index in range(len(self.nodes))]
            head = {
                feeder: 1e6 - 0.99 * sum(power[point] for point in points) for feeder, points in self.feeders.items()
            }
            lines.append(
                {
                    "kind": "flow",
                    "t": T0 + t,
                    "v": voltage,
                    "p": list(power.values()),
                    "q": [0.0] * len(self.points),
                    "head_p": [round(value, 1) for value in head.values()],
                    "head_q": [0.0] * len(self.feeders),
                }
            )
        if with_controls:
            lines = sorted(lines + self.requests(), key=lambda item: item["t"])
        opened = [switch["id"] for switch in self.grid["switches"] if not switch["closed"]]
        switches = {"kind": "switches", "t": T0, "open": opened}
        return [start, switches, *lines, {"kind": "end", "t": T0 + self.end}]

    def requests(self) -> Lines:
        """What the gateways wrote and read."""
        lines: Lines = []

        def send(point: str, t: float, pdu: str) -> None:
            port, unit = self.address[point]
            lines.append({"kind": "request", "t": T0 + t, "port": port, "unit": unit, "pdu": pdu})

        for event in (CIRCUIT, LOSS):
            for point in self.feeders[event.group]:
                send(point, event.start + 2, write(WMAX_LIM_PCT_ENA, 1, event.pct * 10))
                send(point, event.end + 2, write_one(WMAX_LIM_PCT_ENA, 0))
        curve = [4, 1, 1, 1000, 1000, 0, 0, 0, 50, 0]
        for x_pct, y_pct in CURVE:
            curve += [x_pct * 10, y_pct * 100]
        for point in self.points:
            start = VOLT_VAR.start
            send(point, start + 1, write(CURVE_2, *curve))
            send(point, start + 2, write(ADPT_CRV_REQ, 2))
            send(point, start + 3, read(ADPT_CRV_RSLT, 1))
            send(point, start + 4, write_one(ENA, 1))
            send(point, VOLT_VAR.end + 3, write_one(ENA, 0))
        return lines

    def responses(self) -> Lines:
        """Received, started, completed; those of the cut come after the restoration, one of them twice."""
        lines: Lines = []
        for event, points in (
            (CIRCUIT, self.feeders["feeder-1"]),
            (LOSS, self.feeders["feeder-3"]),
            (VOLT_VAR, self.points),
        ):
            for point in points:
                for status, created in ((1, 150), (2, event.start + 1), (3, event.end + 1)):
                    received = created + 2
                    if event is LOSS and point in self.cut and status == 3:
                        received = RESTORE + 30
                    lines.append(
                        {
                            "t": T0 + received,
                            "lfdi": self.lfdi[point],
                            "peer": self.lfdi[point],
                            "mrid": event.mrid,
                            "status": status,
                            "created_t": T0 + created,
                        }
                    )
        again = next(item for item in lines if item["t"] == T0 + RESTORE + 30)
        lines.append({**again, "t": again["t"] + 15})
        return sorted(lines, key=lambda item: item["t"])

    def readings(self) -> Lines:
        """One point a minute from each; those of the cut are stored after the restoration."""
        lines: Lines = []
        for number, point in enumerate(self.points):
            for t in range(60 + number % 50, self.end - 60, 60):
                received = self.received(point, t)
                lines.append(
                    {
                        "received_t": T0 + received,
                        "lfdi": self.lfdi[point],
                        "point": "w",
                        "t": T0 + t,
                        "duration_s": 60,
                        "value": self.power(point, t, with_controls=True),
                    }
                )
        return sorted(lines, key=lambda item: (item["received_t"], item["t"]))

    def received(self, point: str, t: int) -> int:
        """When a reading reached the utility."""
        received = t + 5
        if 630 < received < 720:
            received = 725  # the utility was away
        if point in self.cut and CUT - 5 < t < RESTORE + 40:
            received = RESTORE + 40
        return received

    def steps(self) -> Lines:
        """What the scenario did."""
        lines: Lines = [{"kind": "ready", "t": T0 + 60}]
        for check, event, setpoints in (
            ("circuit", CIRCUIT, {"max_lim_w_pct": CIRCUIT.pct}),
            ("loss", LOSS, {"max_lim_w_pct": LOSS.pct}),
            ("volt_var", VOLT_VAR, {"volt_var": {"points": CURVE, "open_loop_s": 5, "y_ref": "set_max_var"}}),
        ):
            lines.append(
                {
                    "kind": "control",
                    "t": T0 + 120,
                    "check": check,
                    "mrid": event.mrid,
                    "group": event.group,
                    "start_t": T0 + event.start,
                    "duration_s": event.end - event.start,
                    "setpoints": setpoints,
                }
            )
        cut = [self.lfdi[point] for point in self.cut]
        lines += [
            {"kind": "cut", "t": T0 + CUT, "check": "loss", "lfdis": cut},
            {"kind": "kill", "t": T0 + 500, "check": "loss", "process": "gateways-2", "signal": 9},
            {"kind": "restart", "t": T0 + 560, "process": "gateways-2"},
            {"kind": "kill", "t": T0 + 640, "check": "loss", "process": "utility", "signal": 9},
            {"kind": "restart", "t": T0 + 710, "process": "utility"},
            {"kind": "restore", "t": T0 + RESTORE, "check": "loss", "lfdis": cut},
        ]
        return lines


def chain(records: Lines) -> Lines:
    """Chain audit records."""
    previous, lines = "0" * 64, []
    for sequence, record in enumerate(records, 1):
        item = {
            "party": "utility",
            "sequence": sequence,
            "time": "2027-01-15T08:02:00+00:00",
            "principal": "engineer",
            "outcome": "done",
            "detail": {"reason": "Überspannung"},
            **record,
            "previous_sha256": previous,
        }
        names = ("party", "sequence", "time", "principal", "verb", "resource", "outcome", "detail", "previous_sha256")
        previous = hashlib.sha256(json.dumps([item[name] for name in names]).encode()).hexdigest()
        lines.append({**item, "sha256": previous})
    return lines


def text_of(content: Any) -> str:
    """Serialise a file: one object, or one a line."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return json.dumps(content)
    return "".join(json.dumps(item) + "\n" for item in content)


ONE_OBJECT = {"manifest", "canaries"}


def copied(folder: Folder, *names: str) -> Folder:
    """Copy a folder, with the named files read so that they may be altered."""
    altered = dict(folder)
    for name in names:
        text = folder[name]
        altered[name] = json.loads(text) if name in ONE_OBJECT else [json.loads(line) for line in text.splitlines()]
    return altered


def save(folder: Folder, path: Path) -> Path:
    """Write a folder."""
    for name, content in folder.items():
        suffix = "" if "." in name else ".json" if name in ONE_OBJECT else ".jsonl"
        file = path / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content) if name in ONE_OBJECT and not isinstance(content, str) else text_of(content)
        file.write_text(text, encoding="utf-8")
    return path
