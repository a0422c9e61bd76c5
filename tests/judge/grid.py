"""The committed grid file, and what a feeder feeds: the judge's own tracing.

One rule: a line conducts when it has no open switch at either end, and a trace never passes back through a substation bus.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Feeder:
    """The head of a feeder: the first line seen from the substation bus."""

    id: str
    bus: str
    branch: str
    transformer: str


class Grid:
    """Nodes, lines, switches and service points of one grid file."""

    def __init__(self, document: dict[str, Any]) -> None:
        if document.get("format") != "tierline-grid-1":
            message = f"the grid file has format {document.get('format')!r}, expected 'tierline-grid-1'"
            raise ValueError(message)
        self.node_ids: list[str] = [node["id"] for node in document["nodes"]]
        self.lines: dict[str, tuple[str, str]] = {
            line["id"]: (line["from_node"], line["to_node"]) for line in document["lines"]
        }
        self.transformers: dict[str, tuple[str, str]] = {
            item["id"]: (item["hv_node"], item["lv_node"]) for item in document["transformers"]
        }
        self.switch_element: dict[Any, str] = {item["id"]: item["element"] for item in document["switches"]}
        self.switch_kind: dict[Any, str] = {item["id"]: item["kind"] for item in document["switches"]}
        self.sources: list[str] = [item["node"] for item in document["sources"]]
        self.service_points: dict[str, str] = {item["id"]: item["node"] for item in document["service_points"]}
        self.feeders: dict[str, Feeder] = {
            item["id"]: Feeder(item["id"], item["node"], item["branch"], item["transformer"])
            for item in document["feeders"]
        }

    @classmethod
    def read(cls, path: Path) -> Grid:
        """Read a grid file."""
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def _conducting(self, open_switches: Iterable[Any]) -> set[str]:
        opened = {self.switch_element[switch] for switch in open_switches}
        return {branch for branch in (*self.lines, *self.transformers) if branch not in opened}

    def _reach(self, seeds: Iterable[str], branches: set[str], walls: set[str]) -> set[str]:
        neighbours: dict[str, list[str]] = defaultdict(list)
        for branch in branches:
            one, other = self.lines.get(branch) or self.transformers[branch]
            neighbours[one].append(other)
            neighbours[other].append(one)
        reached = set(seeds)
        pending = list(reached)
        while pending:
            for node in neighbours[pending.pop()]:
                if node not in reached and node not in walls:
                    reached.add(node)
                    pending.append(node)
        return reached

    def fed_by(self, group: str, open_switches: Iterable[Any]) -> set[str]:
        """Find the service points fed by a feeder or transformer (its id), or by any source (`system`), with these switches open."""
        open_switches = tuple(open_switches)
        conducting = self._conducting(open_switches)
        energised = self._reach(self.sources, conducting, set())
        if group == "system":
            nodes = energised
        elif group in self.transformers:
            if group not in conducting or self.transformers[group][0] not in energised:
                return set()
            # What comes out of the secondary: all feeders of it, up to the next substation bus.
            inner = {item.id for item in self.feeders.values() if item.transformer == group}
            return {point for feeder in inner for point in self.fed_by(feeder, open_switches)}
        elif group in self.feeders:
            feeder = self.feeders[group]
            if feeder.branch not in conducting or feeder.bus not in energised:
                return set()
            one, other = self.lines[feeder.branch]
            first = other if one == feeder.bus else one
            substations = {item.bus for item in self.feeders.values()}
            nodes = self._reach([first], conducting & set(self.lines) - {feeder.branch}, substations)
        else:
            message = f"group {group!r} is neither 'system' nor a feeder or transformer of the grid file"
            raise ValueError(message)
        return {point for point, node in self.service_points.items() if node in nodes}
