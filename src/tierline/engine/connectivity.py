"""Which wires are live and which feeder a service point hangs on, from the positions of the switches.

Two rules. A branch conducts when all its switches are closed; a switch that the caller does not mention stands as the
grid file has it. A node belongs to the one feeder whose head reaches it over conducting branches; where a closed tie
lets several heads reach it, it keeps the feeder it has in the normal position, so making before breaking moves nobody.

Every function takes time linear in the size of the grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierline.model.topology import Feeder, Grid


class _Edge(NamedTuple):
    node: str
    """The other end."""
    wire: str
    """The branch that leads there; empty for a coupler between two nodes."""


_Edges = dict[str, list[_Edge]]


def energised(grid: Grid, switches: Mapping[int, bool]) -> frozenset[str]:
    """Return the nodes that some source reaches.

    Raises: ConfigError for a switch the grid does not have.
    """
    return frozenset(_reach(_edges(grid, switches), (source.node for source in grid.sources)))


def feeder_of(grid: Grid, switches: Mapping[int, bool]) -> dict[str, str | None]:
    """Return the feeder of every node and every service point; None for what is dead or above the feeders.

    Raises: ConfigError for a switch the grid does not have.
    """
    heads = _heads_by_node(grid, switches)
    loops = any(len(feeders) > 1 for feeders in heads.values())
    usual = _heads_by_node(grid, normal_positions(grid)) if loops else heads
    found = {node.id: _one_of(heads.get(node.id, ()), usual.get(node.id, ())) for node in grid.nodes}
    return found | {point.id: found[point.node] for point in grid.service_points}


def members(grid: Grid, switches: Mapping[int, bool], feeder: str) -> tuple[str, ...]:
    """Return the service points that hang on a feeder, in the order of the grid.

    Raises: ConfigError for a feeder or a switch the grid does not have.
    """
    if feeder not in {known.id for known in grid.feeders}:
        raise ConfigError(
            f"grid {grid.name!r} has no feeder {feeder!r}; it has {', '.join(f.id for f in grid.feeders)}"
        )
    feeders = feeder_of(grid, switches)
    return tuple(point.id for point in grid.service_points if feeders[point.id] == feeder)


def transformer_of(grid: Grid, switches: Mapping[int, bool]) -> dict[str, str | None]:
    """Return the transformer that feeds every node and every service point; None above it and where it is dead.

    Raises: ConfigError for a switch the grid does not have.
    """
    upstream = _upstream(grid, _edges(grid, switches))
    head_nodes = {feeder.id: feeder.node for feeder in grid.feeders}
    found: dict[str, str | None] = {node.id: upstream.get(node.id) for node in grid.nodes}
    feeders = feeder_of(grid, switches)
    for name, feeder in feeders.items():
        if name not in upstream:
            found[name] = None if feeder is None else upstream[head_nodes[feeder]]
    for point in grid.service_points:
        found[point.id] = found[point.node]
    return found


def can_feed(grid: Grid, element: str) -> frozenset[str]:
    """Return the service points that some position of the switches joins to a feeder or transformer, and to a source.

    Raises: ConfigError for an element that is neither.
    """
    starts = {feeder.id: feeder.node for feeder in grid.feeders} | {row.id: row.lv_node for row in grid.transformers}
    if element not in starts:
        raise ConfigError(f"grid {grid.name!r} has no transformer or feeder {element!r}; it has {', '.join(starts)}")
    joined = set(_reach(_edges(grid, {switch.id: True for switch in grid.switches}), (starts[element],)))
    if joined.isdisjoint(source.node for source in grid.sources):
        return frozenset()
    return frozenset(point.id for point in grid.service_points if point.node in joined)


def normal_positions(grid: Grid) -> dict[int, bool]:
    """Return the position every switch has when nothing is being switched."""
    return {switch.id: not switch.normally_open for switch in grid.switches}


def _edges(grid: Grid, switches: Mapping[int, bool]) -> _Edges:
    unknown = switches.keys() - {switch.id for switch in grid.switches}
    if unknown:
        raise ConfigError(f"grid {grid.name!r} has no switch {min(unknown)}")
    edges: _Edges = {node.id: [] for node in grid.nodes}
    interrupted: set[str] = set()
    for switch in grid.switches:
        closed = switches.get(switch.id, switch.closed)
        if switch.element not in edges:
            if not closed:
                interrupted.add(switch.element)
        elif closed:
            edges[switch.node].append(_Edge(switch.element, ""))
            edges[switch.element].append(_Edge(switch.node, ""))
    for branch in grid.branches:
        if branch.id not in interrupted:
            start, end = branch.ends
            edges[start].append(_Edge(end, branch.id))
            edges[end].append(_Edge(start, branch.id))
    return edges


def _reach(edges: _Edges, starts: Iterable[str], walls: Mapping[str, object] | None = None) -> list[str]:
    """Return what the starts reach without entering a wall, the starts included."""
    found = dict.fromkeys(starts)
    pending = list(found)
    while pending:
        for node, _ in edges[pending.pop()]:
            if node not in found and (walls is None or node not in walls):
                found[node] = None
                pending.append(node)
    return list(found)


def _upstream(grid: Grid, edges: _Edges) -> dict[str, str | None]:
    """Return the live nodes above the feeders, each with the last transformer on the way to it."""
    heads = {(feeder.node, feeder.branch) for feeder in grid.feeders}
    lower = {transformer.id: transformer.lv_node for transformer in grid.transformers}
    found: dict[str, str | None] = dict.fromkeys((source.node for source in grid.sources), None)
    pending = list(found)
    while pending:
        here = pending.pop()
        for node, wire in edges[here]:
            if node not in found and (here, wire) not in heads:
                found[node] = wire if lower.get(wire) == node else found[here]
                pending.append(node)
    return found


def _heads_by_node(grid: Grid, switches: Mapping[int, bool]) -> dict[str, tuple[str, ...]]:
    """Return which feeder heads reach each node below the live busbars."""
    edges = _edges(grid, switches)
    upstream = _upstream(grid, edges)
    entries: dict[str, list[str]] = {}
    for feeder in grid.feeders:
        start = _start(feeder, edges)
        if feeder.node in upstream and start is not None and start not in upstream:
            entries.setdefault(start, []).append(feeder.id)
    heads: dict[str, tuple[str, ...]] = {}
    for start in entries:
        if start not in heads:
            section = _reach(edges, (start,), upstream)
            reached = {name for node in section for name in entries.get(node, ())}
            found = tuple(feeder.id for feeder in grid.feeders if feeder.id in reached)
            heads.update(dict.fromkeys(section, found))
    return heads


def _start(feeder: Feeder, edges: _Edges) -> str | None:
    """Return the node behind the head of a feeder; None while the head does not conduct."""
    return next((node for node, wire in edges[feeder.node] if wire == feeder.branch), None)


def _one_of(heads: tuple[str, ...], usual: tuple[str, ...]) -> str | None:
    """Return the feeder of a node among the heads that reach it, all in the order of the grid."""
    kept = tuple(head for head in usual if head in heads)
    return next(iter(kept or heads), None)
