"""A complete evidence folder of five levels, made by simple formulas: what the judge must call good.

After what the spine shows: two parties at the inverters of feeder-4 (while other feeders are limited), a target (while the curve is in force), an island
and moved switches. As in `synthetic`, nothing is taken from the judge.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from synthetic import (
    AT_704,
    CIRCUIT,
    CUT,
    LOSS,
    RESTORE,
    SPEED,
    T0,
    VOLT_VAR,
    WMAX_LIM_PCT_ENA,
    Event,
    Folder,
    Good,
    Lines,
    chain,
    text_of,
    trace,
    write,
    write_one,
)

WSET_ENA, WSET_PCT = AT_704 + 22, AT_704 + 28

# Two channels at feeder-4: the utility's and, by pool, the aggregator's.
LIMIT = Event("E0" * 16, "feeder-4", 200, 800, 50)
WIDER = {
    "pool-even": Event("E1" * 16, "customers-4", 260, 400, 80),
    "pool-odd": Event("E2" * 16, "customers-4", 260, 400, 80),
}
TIGHTER = {
    "pool-even": Event("E3" * 16, "customers-4", 575, 675, 30),
    "pool-odd": Event("E4" * 16, "customers-4", 575, 675, 30),
}
FIXED = Event("E5" * 16, "feeder-4", 850, 1150, 40)
LOST = {
    "pool-even": Event("E6" * 16, "customers-4", 900, 1100, 20),
    "pool-odd": Event("E7" * 16, "customers-4", 900, 1100, 20),
}
TARGET = Event("D1" * 16, "asked", 1200, 1500)
REFUSED = Event("D2" * 16, "not-asked", 1220, 1420)
TARGET_SHARE = 0.3  # of the rating of every customer
RUNNING = Event("F0" * 16, "feeder-3", 1700, 2300, 40)
DUE = Event("F1" * 16, "feeder-3", 2350, 2600, 70)
ISLAND, JOINED = 1800, 2700
MOVING = {
    "feeder-1": Event("F2" * 16, "feeder-1", 2900, 3900, 60),
    "feeder-3": Event("F3" * 16, "feeder-3", 2900, 3900, 50),
    "feeder-4": Event("F4" * 16, "feeder-4", 2900, 3900, 40),
}
SWITCHED = [(3000, 107, 236), (3300, 48, 252)]
TOLD = 100  # s after a move until the device knows

STATIONS = [
    ("market", 5, "market", "", []),
    ("utility", 4, "utility", "", ["market"]),
    ("substation-a", 4, "utility", "trafo_142", ["utility"]),
    ("pool-even", 3, "pool-even", "", ["utility", "market"]),
    ("pool-odd", 3, "pool-odd", "", ["utility"]),
]
WAYS = ("direct", "aggregator", "dual")
POOLS = ("pool-even", "pool-odd")


def station_lfdi(name: str) -> str:
    """Make the LFDI of a station."""
    return hashlib.sha256(name.encode()).hexdigest()[:40].upper()


class Five(Good):
    """Builds the folder of five levels."""

    end = 4000
    checks = ("circuit", "loss", "volt_var", "channels", "dispatch", "island", "switching", "privacy")

    def __init__(self) -> None:
        super().__init__()
        for index, device in enumerate(self.devices):
            place = index % 20
            device["way"] = "direct" if place < 12 else "aggregator" if place < 17 else "dual"
            device["aggregator"] = "" if device["way"] == "direct" else POOLS[index % 2]
        self.way = {device["service_point"]: device["way"] for device in self.devices}
        self.pool = {device["service_point"]: device["aggregator"] for device in self.devices}
        self.customers = {pool: [point for point in self.points if self.pool[point] == pool] for pool in POOLS}
        self.opened, self.fed = self._wirings()
        self.cut = [next(point for point in self.feeders["feeder-3"] if self.way[point] == way) for way in WAYS]
        self.behind = {point for feeder in ("feeder-3", "feeder-4") for point in self.feeders[feeder]}
        self.dual = [point for point in self.feeders["feeder-4"] if self.way[point] == "dual"]
        self.stays = {point: self._stays(point) for point in self.points}
        self.orders = {point: self._orders(point) for point in self.points}

    def _wirings(self) -> tuple[list[list[int]], list[dict[str, list[str]]]]:
        opened = [[switch["id"] for switch in self.grid["switches"] if not switch["closed"]]]
        for _, closed, opens in SWITCHED:
            opened.append([*(switch for switch in opened[-1] if switch != closed), opens])
        fed = []
        for state in opened:
            grid = {
                **self.grid,
                "switches": [{**item, "closed": item["id"] not in state} for item in self.grid["switches"]],
            }
            fed.append(trace(grid))
        return opened, fed

    def _stays(self, point: str) -> list[tuple[str, int, int]]:
        """In which groups of the moving events a device was, from when to when."""
        edges = [2900, *(t for t, _, _ in SWITCHED), 3900]
        found: list[tuple[str, int, int]] = []
        for index, fed in enumerate(self.fed):
            group = next(feeder for feeder, points in fed.items() if point in points)
            if group not in MOVING:
                continue
            if found and found[-1][0] == group:
                found[-1] = (group, found[-1][1], edges[index + 1])
            else:
                found.append((group, edges[index], edges[index + 1]))
        return found

    def _orders(self, point: str) -> list[tuple[float, float, float]]:
        """What a device obeys: from, until, and how much of its rating."""
        orders: list[tuple[float, float, float]] = [
            (event.start + 3, event.end + 3, event.pct / 100)
            for event in (CIRCUIT, LOSS, LIMIT, FIXED, RUNNING, DUE)
            if point in self.feeders[event.group]
        ]
        if point in self.feeders["feeder-4"] and (pool := self.pool[point]):
            orders += [(event.start + 3, event.end + 3, event.pct / 100) for event in (WIDER[pool], TIGHTER[pool])]
        if self.pool[point] == "pool-even":
            orders.append((TARGET.start + 3, TARGET.end + 3, TARGET_SHARE))
        for group, since, until in self.stays[point]:
            orders.append((self.known(since) + 1, self.known(until) + 1, MOVING[group].pct / 100))
        return orders

    @staticmethod
    def known(t: int) -> int:
        """When a device knows of the beginning or end of a stay."""
        return t + (2 if t in {2900, 3900} else TOLD)

    def power(self, point: str, t: float, *, with_controls: bool) -> float:
        """80 % of the rating, or what is ordered after a ramp of 20 s."""
        share = 0.8
        for since, until, asked in self.orders[point] if with_controls else ():
            ramp = min(max((t - since) / 20, 0), 1) - min(max((t - until) / 20, 0), 1)
            share = min(share, 0.8 - ramp * (0.8 - asked))
        return round(share * self.rating[point], 1)

    # What the plant writes

    def plant(self, *, with_controls: bool) -> Lines:
        """The journal, with the switches as they move."""
        lines = super().plant(with_controls=with_controls)
        for (t, closed, opens), opened in zip(SWITCHED, self.opened, strict=False):
            meshed = [switch for switch in opened if switch != closed]
            lines.append({"kind": "switches", "t": T0 + t, "open": meshed})
            lines.append({"kind": "switches", "t": T0 + t + 2, "open": [*meshed, opens]})
        head, tail = [lines[0]], [item for item in lines if item["kind"] == "end"]
        return head + sorted((item for item in lines[1:] if item["kind"] != "end"), key=lambda item: item["t"]) + tail

    def requests(self) -> Lines:
        """What the gateways wrote beyond the spine."""
        lines = super().requests()

        def send(point: str, t: float, pdu: str) -> None:
            port, unit = self.address[point]
            lines.append({"kind": "request", "t": T0 + t, "port": port, "unit": unit, "pdu": pdu})

        for event in (RUNNING, DUE):
            for point in self.feeders[event.group]:
                send(point, event.start + 2, write(WMAX_LIM_PCT_ENA, 1, event.pct * 10))
                send(point, event.end + 2, write_one(WMAX_LIM_PCT_ENA, 0))
        for point in self.feeders["feeder-4"]:
            send(point, LIMIT.start + 2, write(WMAX_LIM_PCT_ENA, 1, LIMIT.pct * 10))
            if pool := self.pool[point]:
                send(point, TIGHTER[pool].start + 2, write(WMAX_LIM_PCT_ENA, 1, TIGHTER[pool].pct * 10))
                send(point, TIGHTER[pool].end + 2, write(WMAX_LIM_PCT_ENA, 1, LIMIT.pct * 10))
            send(point, LIMIT.end + 2, write_one(WMAX_LIM_PCT_ENA, 0))
            send(point, FIXED.start + 2, write(WSET_PCT, FIXED.pct * 100))
            send(point, FIXED.start + 2.5, write(WSET_ENA, 1, 0))
            send(point, FIXED.end + 2, write_one(WSET_ENA, 0))
        for point in self.customers["pool-even"]:
            watts = round(TARGET_SHARE * self.rating[point])
            send(point, TARGET.start + 2, write(WSET_ENA, 1, 1, watts >> 16, watts))
            send(point, TARGET.end + 2, write_one(WSET_ENA, 0))
        for point, stays in self.stays.items():
            for group, since, _ in stays:
                send(point, self.known(since), write(WMAX_LIM_PCT_ENA, 1, MOVING[group].pct * 10))
            if stays:
                send(point, self.known(stays[-1][2]), write_one(WMAX_LIM_PCT_ENA, 0))
        return lines

    # What is answered

    def responses(self) -> Lines:
        """What the head hears: of the spine's events and of its own others, each through whoever stands between."""
        lines = super().responses()
        said = [
            (event, point, (150, event.start + 1, event.end + 1))
            for event in (LIMIT, FIXED)
            for point in self.feeders["feeder-4"]
        ]
        said += [
            (event, point, (1620, event.start + 1, event.end + 1))
            for event in (RUNNING, DUE)
            for point in self.feeders["feeder-3"]
        ]
        for point, stays in self.stays.items():
            for group, since, until in stays:
                received = 2850 if since == 2900 else self.known(since) - 1
                ended = (until + 1,) if until == 3900 else ()
                said.append((MOVING[group], point, (received, self.known(since), *ended)))
        for event, point, times in said:
            for status, created in enumerate(times, 1):
                lines.append(self._answer(point, event.mrid, status, created, created + 2))
        for line in lines:
            point = next(point for point, lfdi in self.lfdi.items() if lfdi == line["lfdi"])
            line["peer"] = self._through(point, line["lfdi"])
            created = line["created_t"] - T0
            if line["peer"] == station_lfdi("substation-a") and ISLAND - 5 < created < JOINED:
                line["t"] = T0 + JOINED + 20
        return sorted(lines, key=lambda item: item["t"])

    def _answer(self, point: str, mrid: str, status: int, created: int, received: float) -> dict[str, Any]:
        lfdi = self.lfdi[point]
        return {
            "t": T0 + received,
            "lfdi": lfdi,
            "peer": lfdi,
            "mrid": mrid,
            "status": status,
            "created_t": T0 + created,
        }

    def _through(self, point: str, lfdi: str) -> str:
        if self.way[point] == "aggregator":
            return station_lfdi(self.pool[point])
        return station_lfdi("substation-a") if point in self.behind else lfdi

    def heard(self, station: str, at_head: Lines) -> Lines:
        """What another station hears: what it passes on, and answers to its own events."""
        lines = [
            {
                **line,
                "peer": line["lfdi"],
                "t": max(line["created_t"] + 1, line["t"] - 1) if line["t"] < T0 + JOINED else line["created_t"] + 1,
            }
            for line in at_head
            if line["peer"] == station_lfdi(station)
        ]
        if station in POOLS:
            for event in (WIDER[station], TIGHTER[station]):
                for point in self._of_four(station):
                    for status, created in ((1, 155), (2, event.start + 1), (3, event.end + 1)):
                        lines.append(self._answer(point, event.mrid, status, created, created + 1))
            for point in self._of_four(station):
                for status, created in ((1, 155), (13, LOST[station].start + 1)):
                    lines.append(self._answer(point, LOST[station].mrid, status, created, created + 1))
        if station == "pool-even":
            for point in self.customers[station]:
                for status, created in ((1, 1190), (2, TARGET.start + 3), (3, TARGET.end + 1)):
                    lines.append(self._answer(point, self.part(point), status, created, created + 1))
        if station == "market":
            for name, event, answers in (
                ("pool-even", TARGET, ((1, 1150), (2, TARGET.start + 1), (3, TARGET.end + 1))),
                ("utility", REFUSED, ((252, 1150),)),
            ):
                lfdi = station_lfdi(name)
                for status, created in answers:
                    line = {"t": T0 + created + 1, "lfdi": lfdi, "peer": lfdi, "mrid": event.mrid, "status": status}
                    lines.append({**line, "created_t": T0 + created})
        return sorted(lines, key=lambda item: item["t"])

    def _of_four(self, pool: str) -> list[str]:
        return [point for point in self.feeders["feeder-4"] if self.pool[point] == pool]

    def part(self, point: str) -> str:
        """The mRID of a customer's part of the target."""
        return TARGET.mrid[:16] + self.lfdi[point][:16]

    # What is measured

    def received(self, point: str, t: int) -> int:
        """What is behind the substation comes up after the island."""
        received = super().received(point, t)
        if self._through(point, "") == station_lfdi("substation-a") and ISLAND - 10 < t < JOINED + 25:
            return JOINED + 30
        return received

    def measured(self, station: str, at_head: Lines) -> Lines:
        """What another station keeps."""
        if station == "market":
            return self._sums(self.measured("pool-even", at_head))
        lines: Lines = []
        mine = set(self.customers.get(station, ()))
        if station == "substation-a":
            mine = {point for point in self.behind if self.way[point] != "aggregator"}
        lfdis = {self.lfdi[point]: point for point in mine}
        for line in at_head:
            if (point := lfdis.get(line["lfdi"])) is not None:
                t = line["t"] - T0
                held = point in self.cut and CUT - 5 < t < RESTORE + 40
                lines.append({**line, "received_t": T0 + RESTORE + 38 if held else line["t"] + 3})
        return sorted(lines, key=lambda item: (item["received_t"], item["t"]))

    def _sums(self, kept: Lines) -> Lines:
        lines: Lines = []
        for t in range(T0 + 1055, T0 + 1700, 60):
            newest: dict[str, tuple[float, float]] = {}
            for item in kept:
                if item["received_t"] <= t:
                    newest[item["lfdi"]] = max(newest.get(item["lfdi"], (0.0, 0.0)), (item["t"], item["value"]))
            value = round(sum(value for _, value in newest.values()), 1)
            lfdi = station_lfdi("pool-even")
            lines.append({"received_t": t + 2, "lfdi": lfdi, "point": "w", "t": t, "duration_s": 0, "value": value})
        return lines

    # What is said

    def explanations(self) -> Lines:
        """What the gateways with two channels, and the market's, say of their decisions."""
        lines: Lines = []

        def say(point: str, t: int, *entries: tuple[Event, str, str, str, bool | None]) -> None:
            told = [
                {
                    "function": function, "value": value, "channel": party, "party": party, "mrid": event.mrid, "is_event": True,
                    "applied": binding is not False, "applied_value": value, "binding": binding, "displaced": False, "reason": "",
                }
                for event, function, value, party, binding in entries
            ]  # fmt: skip
            lines.append({"t": T0 + t, "lfdi": self.lfdi[point], "entries": told})

        for point in self.points:
            say(point, 100)
        for point in self.dual:
            pool = self.pool[point]
            own = (LIMIT, "max_lim_w_pct", "50", "utility")
            say(point, 202, (*own, True))
            say(point, 262, (*own, True), (WIDER[pool], "max_lim_w_pct", "80", pool, False))
            say(point, 402, (*own, True))
            say(point, 577, (*own, False), (TIGHTER[pool], "max_lim_w_pct", "3E+1", pool, True))
            say(point, 677, (*own, True))
            say(point, 802)
            say(point, 852, (FIXED, "fixed_w_pct", "40", "utility", None))
            say(point, 1152)
        for point in self.customers["pool-even"]:
            part = Event(self.part(point), "", TARGET.start, TARGET.end)
            say(point, 1203, (part, "target_w", str(round(TARGET_SHARE * self.rating[point])), "pool-even", None))
            say(point, 1503)
        return sorted(lines, key=lambda item: item["t"])

    def messages(self) -> Lines:
        """A few bodies of each kind."""

        def sent(node: str, party: str, to: str, body: str) -> dict[str, Any]:
            return {"t": T0 + 100, "node": node, "party": party, "peer": to, "what": "200 /x", "body": body}

        lines = [
            sent("market", "market", station_lfdi("pool-even"), "<DERControl/>"),
            sent(
                "utility",
                "utility",
                station_lfdi("substation-a"),
                "<description>feeder-3, canary-reason-of-utility</description>",
            ),
            sent("substation-a", "utility", station_lfdi("utility"), "<EndDevice/>"),
            sent("pool-even", "pool-even", station_lfdi("market"), "<MirrorUsagePoint/>"),
            sent("pool-odd", "pool-odd", station_lfdi("utility"), f"<lFDI>{self.lfdi['pv_001']}</lFDI>"),
        ]
        for point in self.points:
            lines.append(sent(f"gw-{point}", "owners", station_lfdi("utility"), f"<mfSerNum>{point}</mfSerNum>"))
            lines.append(
                sent("utility", "utility", self.lfdi[point], f"<description>{point} of feeder-1</description>")
            )
        return lines

    def steps(self) -> Lines:
        """What the scenario did beyond the spine."""
        lines = super().steps()

        def control(check: str, node: str, event: Event, t: int, setpoints: dict[str, float]) -> None:
            lines.append(
                {
                    "kind": "control", "t": T0 + t, "check": check, "node": node, "mrid": event.mrid, "group": event.group,
                    "start_t": T0 + event.start, "duration_s": event.end - event.start, "setpoints": setpoints,
                }
            )  # fmt: skip

        control("channels", "utility", LIMIT, 120, {"max_lim_w_pct": LIMIT.pct})
        control("channels", "utility", FIXED, 120, {"fixed_w_pct": FIXED.pct})
        for pool in POOLS:
            lines.append(
                {
                    "kind": "group", "t": T0 + 60, "node": pool, "group": "customers-4",
                    "lfdis": [self.lfdi[point] for point in self._of_four(pool)],
                }
            )  # fmt: skip
            control("channels", pool, WIDER[pool], 120, {"max_lim_w_pct": 80})
            control("channels", pool, TIGHTER[pool], 120, {"max_lim_w_pct": 30})
            control("channels", pool, LOST[pool], 120, {"fixed_w_pct": 20})
        for group, name in (("asked", "pool-even"), ("not-asked", "utility")):
            lines.append(
                {"kind": "group", "t": T0 + 60, "node": "market", "group": group, "lfdis": [station_lfdi(name)]}
            )
        target_w = TARGET_SHARE * sum(self.rating[point] for point in self.customers["pool-even"])
        control("dispatch", "market", TARGET, 1100, {"target_w": target_w})
        control("dispatch", "market", REFUSED, 1100, {"target_w": 1_000_000})
        control("island", "utility", RUNNING, 1610, {"max_lim_w_pct": RUNNING.pct})
        control("island", "utility", DUE, 1610, {"max_lim_w_pct": DUE.pct})
        lines.append({"kind": "cut", "t": T0 + ISLAND, "check": "island", "node": "substation-a"})
        lines.append({"kind": "restore", "t": T0 + JOINED, "check": "island", "node": "substation-a"})
        for event in MOVING.values():
            control("switching", "utility", event, 2800, {"max_lim_w_pct": event.pct})
        for index, (t, closed, opens) in enumerate(SWITCHED):
            places = [
                {point: feeder for feeder, points in fed.items() for point in points}
                for fed in self.fed[index : index + 2]
            ]
            moved = sum(places[0][point] != places[1][point] for point in self.points)
            lines.append({"kind": "switch", "t": T0 + t - 1, "check": "switching", "close": [closed], "open": [opens]})
            lines.append({"kind": "switched", "t": T0 + t + 10, "check": "switching", "moved": moved})
        return sorted(lines, key=lambda item: item["t"])

    def folder(self) -> Folder:
        """Build everything."""
        folder = super().folder()
        manifest = json.loads(folder["manifest"])
        manifest["stations"] = [
            {
                "name": name, "level": level, "party": party, "lfdi": station_lfdi(name), "element": element, "above": above,
                "head": name == "utility",
            }
            for name, level, party, element, above in STATIONS
        ]  # fmt: skip
        folder["manifest"] = json.dumps(manifest)
        at_head = [json.loads(line) for line in folder["responses"].splitlines()]
        measured = [json.loads(line) for line in folder["readings"].splitlines()]
        controls = [item for item in self.steps() if item["kind"] == "control"]
        for name, _, party, _, _ in STATIONS:
            records = [
                {
                    "verb": "create",
                    "resource": f"/control/{item['mrid']}",
                    "detail": {"reason": f"canary-reason-of-{name}"},
                    "party": party,
                }
                for item in controls
                if item.get("node", "utility") == name
            ] or [{"verb": "token", "resource": "token operator", "detail": {}, "party": party}]
            place = "" if name == "utility" else f"stations/{name}/"
            folder[f"{place}audit"] = text_of(chain(records))
            if place:
                folder[f"{place}responses"] = text_of(self.heard(name, at_head))
                folder[f"{place}readings"] = text_of(self.measured(name, measured))
            folder[f"logs/{name}.log"] = json.dumps({"event": "ready", "nodes": [name]}) + "\n"
        folder["logs/gateways-1.log"] = (
            json.dumps({"event": "ready", "nodes": [f"gw-{point}" for point in self.points]}) + "\n"
        )
        folder["explanations"] = text_of(self.explanations())
        folder["messages"] = text_of(self.messages())
        folder["canaries"] = json.dumps(
            [{"text": point, "what": "place", "may": ["utility", "owners"]} for point in (*self.points, *self.feeders)]
            + [
                {"text": f"canary-reason-of-{name}", "what": "reason", "may": [party]}
                for name, _, party, _, _ in STATIONS
            ]
        )
        return folder


__all__ = ["CIRCUIT", "LOSS", "SPEED", "VOLT_VAR", "Five"]
