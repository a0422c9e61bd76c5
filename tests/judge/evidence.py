"""The evidence, and what follows from it and the grid file: who belonged to which group when, and who stands for whom."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from records import Station, Stay, Why, Wiring

if TYPE_CHECKING:
    from pathlib import Path

    from grid import Grid
    from records import Control, Device, Explanation, Flow, Operation, Outage, Reading, Request, Response

POLL_S = 300.0


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
    def alone(self) -> bool:
        """Whether nobody stands above the gateways."""
        return bool(self.manifest.get("alone"))

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
