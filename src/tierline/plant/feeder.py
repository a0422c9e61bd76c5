"""The power flow: what every service point's voltage becomes when its units inject and switches move.

Built once per grid; each step updates injections in place and solves. Balanced three-phase, by Newton-Raphson in
power-grid-model (the extra `demo`), which is imported here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tierline.model.errors import ConfigError
from tierline.model.topology import Switch, TapSide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal
    from types import ModuleType

    from numpy.typing import NDArray

    from tierline.model.topology import Grid, Line, Transformer
    from tierline.plant.service import Floats

_STIFF_VA: Final = 1e12
"""Short-circuit power of a source that holds its voltage whatever flows [VA]."""

_WYE_GROUNDED, _DELTA = 1, 2
"""Winding codes of power-grid-model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One solution; arrays in the order of the grid's tables, nothing is copied."""

    v_pu: Floats
    """Voltage at each service point [pu of nominal], 0 where dead; shape (n service points,)."""
    node_v_pu: Floats
    """Voltage at each node [pu of nominal], 0 where dead; shape (n nodes,)."""
    head_p_w: Floats
    """Active power that leaves the busbar into each feeder [W]; shape (n feeders,)."""
    head_q_var: Floats
    """Reactive power that leaves the busbar into each feeder [var]; shape (n feeders,)."""


class PowerFlow:
    """A grid ready to be solved again and again.

    `frequency_hz` is the one the grid file's reactances hold for; it turns capacitance into susceptance.

    Raises: ConfigError when power-grid-model is not installed, or a transformer's shift is no multiple of 30 degrees.
    """

    def __init__(self, grid: Grid, *, frequency_hz: float = 50.0) -> None:
        self._pgm: Any = _power_grid_model()  # Any: an optional package without types in the base install
        self.grid = grid
        """The grid it was built for."""
        numbers = {row.id: k for k, row in enumerate(_rows(grid))}
        nodes = {node.id: k for k, node in enumerate(grid.nodes)}
        couplers = [s for s in grid.switches if s.element in nodes]
        branches = {branch.id for branch in grid.branches}
        self._ends: dict[tuple[str, str], list[Switch]] = {}
        for switch in grid.switches:
            if switch.element in branches:
                self._ends.setdefault(switch.ends, []).append(switch)
        self._couplers = couplers
        self._point_nodes = np.array([nodes[p.node] for p in grid.service_points], dtype=np.intp)
        lines = {line.id: k for k, line in enumerate(grid.lines)}
        self._heads = np.array([lines[f.branch] for f in grid.feeders], dtype=np.intp)
        self._head_from = np.array(
            [grid.lines[lines[f.branch]].from_node == f.node for f in grid.feeders], dtype=np.bool_
        )
        self._load_p_w = _floats(load.p_w for load in grid.loads)
        self._load_q_var = _floats(load.q_var for load in grid.loads)
        self._input = {name: table for name, table in _tables(self._pgm, grid, numbers, couplers).items() if table.size}
        self._model: Any = self._pgm.PowerGridModel(self._input, system_frequency=frequency_hz)  # Any: as above
        self._update = {
            name: self._blank("update", name, self._input[name]["id"])
            for name in ("sym_load", "sym_gen", "source")
            if name in self._input
        }
        self.set_switches({})

    def set_switches(self, switches: Mapping[int, bool]) -> None:
        """Move the switches; those not mentioned go to the position of the grid file.

        Raises: ConfigError for a switch the grid does not have.
        """
        unknown = switches.keys() - {s.id for s in self.grid.switches}
        if unknown:
            raise ConfigError(f"grid {self.grid.name!r} has no switch {min(unknown)}")
        update = {}
        for name, branches in (("line", self.grid.lines), ("transformer", self.grid.transformers)):
            if branches:
                rows = update[name] = self._blank("update", name, self._input[name]["id"])
                rows["from_status"] = [self._closed(b.ends[0], b.id, switches) for b in branches]
                rows["to_status"] = [self._closed(b.ends[1], b.id, switches) for b in branches]
        if self._couplers:
            rows = update["link"] = self._blank("update", "link", self._input["link"]["id"])
            rows["from_status"] = rows["to_status"] = [switches.get(s.id, s.closed) for s in self._couplers]
        self._model.update(update_data=update)

    def solve(self, p_w: Floats, q_var: Floats, *, load_share: float | Floats = 1.0, source_u_pu: float = 1.0) -> Flow:
        """Return the voltages for these injections.

        Units: p_w, q_var injected per service point, shape (n,); load_share of each load's peak, one number or one per
        load; source_u_pu of nominal voltage, the same at every source.
        Raises: ConfigError when no steady state exists.
        """
        if "sym_load" in self._update:
            self._update["sym_load"]["p_specified"] = self._load_p_w * load_share
            self._update["sym_load"]["q_specified"] = self._load_q_var * load_share
        if "sym_gen" in self._update:
            self._update["sym_gen"]["p_specified"] = p_w
            self._update["sym_gen"]["q_specified"] = q_var
        self._update["source"]["u_ref"] = source_u_pu
        self._model.update(update_data=self._update)
        try:
            found = self._model.calculate_power_flow(output_component_types=_WANTED)
        except self._pgm.errors.PowerGridError as error:
            raise ConfigError(
                f"grid {self.grid.name!r} has no steady state at {p_w.sum() / 1e6:.2f} MW of generation and "
                f"{source_u_pu} pu at the source; lower the loads or the generation of the scenario"
            ) from error
        node_v_pu: Floats = np.where(found["node"]["energized"] == 1, found["node"]["u_pu"], 0.0)
        line = found["line"]
        return Flow(
            v_pu=node_v_pu[self._point_nodes],
            node_v_pu=node_v_pu,
            head_p_w=np.where(self._head_from, line["p_from"][self._heads], line["p_to"][self._heads]),
            head_q_var=np.where(self._head_from, line["q_from"][self._heads], line["q_to"][self._heads]),
        )

    def _closed(self, node: str, branch: str, switches: Mapping[int, bool]) -> bool:
        return all(switches.get(s.id, s.closed) for s in self._ends.get((node, branch), ()))

    def _blank(self, kind: str, name: str, ids: NDArray[np.int32]) -> NDArray[np.void]:
        rows: NDArray[np.void] = self._pgm.initialize_array(kind, name, ids.size)
        rows["id"] = ids
        return rows


_WANTED: Final = {"node": ["energized", "u_pu"], "line": ["p_from", "q_from", "p_to", "q_to"]}


def _power_grid_model() -> ModuleType:
    try:
        import power_grid_model
        import power_grid_model.errors
    except ImportError as error:
        raise ConfigError("the power flow needs the package power-grid-model: pip install tierline[demo]") from error
    module: ModuleType = power_grid_model
    return module


def _rows(grid: Grid) -> Iterable[Any]:  # Any: rows of every table; only their ids are read
    yield from (*grid.nodes, *grid.lines, *grid.transformers, *grid.switches)
    yield from (*grid.sources, *grid.loads, *grid.service_points)


def _floats(values: Iterable[Decimal]) -> Floats:
    return np.array([float(value) for value in values])


def _tables(
    pgm: Any, grid: Grid, numbers: Mapping[str | int, int], couplers: list[Switch]
) -> dict[str, NDArray[np.void]]:  # Any: the optional package
    return {
        "node": _fill(pgm, "node", grid.nodes, numbers, u_rated=[n.kv * 1000 for n in grid.nodes]),
        "line": _fill(pgm, "line", grid.lines, numbers, **_line_columns(grid.lines, numbers)),
        "transformer": _fill(
            pgm, "transformer", grid.transformers, numbers, **_transformer_columns(grid.transformers, numbers)
        ),
        "link": _fill(
            pgm,
            "link",
            couplers,
            numbers,
            from_node=[numbers[s.node] for s in couplers],
            to_node=[numbers[s.element] for s in couplers],
            from_status=[0] * len(couplers),
            to_status=[0] * len(couplers),
        ),
        "source": _fill(
            pgm,
            "source",
            grid.sources,
            numbers,
            node=[numbers[s.node] for s in grid.sources],
            status=[1] * len(grid.sources),
            u_ref=[s.u_pu for s in grid.sources],
            sk=[_STIFF_VA] * len(grid.sources),
        ),
        "sym_load": _fill(pgm, "sym_load", grid.loads, numbers, **_power_columns(grid.loads, numbers)),
        "sym_gen": _fill(pgm, "sym_gen", grid.service_points, numbers, **_power_columns(grid.service_points, numbers)),
    }


def _fill(
    pgm: Any, name: str, rows: Any, numbers: Mapping[str | int, int], **columns: Any
) -> NDArray[np.void]:  # Any: the optional package, rows of several classes, columns of several types
    table: NDArray[np.void] = pgm.initialize_array("input", name, len(rows))
    table["id"] = [numbers[row.id] for row in rows]
    for column, values in columns.items():
        table[column] = values
    return table


def _line_columns(lines: tuple[Line, ...], numbers: Mapping[str | int, int]) -> dict[str, list[Any]]:
    return {  # Any: whole numbers and decimals, as the columns want them
        "from_node": [numbers[line.from_node] for line in lines],
        "to_node": [numbers[line.to_node] for line in lines],
        "from_status": [1] * len(lines),
        "to_status": [1] * len(lines),
        "r1": [line.r_ohm_per_km * line.length_km for line in lines],
        "x1": [line.x_ohm_per_km * line.length_km for line in lines],
        "c1": [float(line.c_nf_per_km * line.length_km) * 1e-9 for line in lines],
        "tan1": [0.0] * len(lines),
        "i_n": [line.i_max_a for line in lines],
    }


def _transformer_columns(rows: tuple[Transformer, ...], numbers: Mapping[str | int, int]) -> dict[str, list[Any]]:
    clocks = [_clock(row) for row in rows]
    return {  # Any: as above
        "from_node": [numbers[row.hv_node] for row in rows],
        "to_node": [numbers[row.lv_node] for row in rows],
        "from_status": [1] * len(rows),
        "to_status": [1] * len(rows),
        "u1": [row.hv_kv * 1000 for row in rows],
        "u2": [row.lv_kv * 1000 for row in rows],
        "sn": [row.sn_mva * 10**6 for row in rows],
        "uk": [row.vk_percent / 100 for row in rows],
        "pk": [row.vkr_percent / 100 * row.sn_mva * 10**6 for row in rows],
        "i0": [max(row.i0_percent / 100, row.pfe_kw / 1000 / row.sn_mva) for row in rows],
        "p0": [row.pfe_kw * 1000 for row in rows],
        "winding_from": [_WYE_GROUNDED if clock % 2 == 0 else _DELTA for clock in clocks],
        "winding_to": [_WYE_GROUNDED] * len(rows),
        "clock": clocks,
        "tap_side": [0 if row.tap_side is TapSide.HV else 1 for row in rows],
        "tap_pos": [row.tap_position for row in rows],
        "tap_min": [row.tap_min for row in rows],
        "tap_max": [row.tap_max for row in rows],
        "tap_nom": [row.tap_neutral for row in rows],
        "tap_size": [
            row.tap_step_percent * 10 * (row.hv_kv if row.tap_side is TapSide.HV else row.lv_kv) for row in rows
        ],
    }


def _clock(row: Transformer) -> int:
    if row.shift_degree % 30:
        raise ConfigError(f"transformer {row.id!r}: shift_degree {row.shift_degree} is no multiple of 30")
    return int(row.shift_degree / 30) % 12


def _power_columns(rows: Any, numbers: Mapping[str | int, int]) -> dict[str, list[Any]]:
    return {  # Any: loads and service points, which share id and node
        "node": [numbers[row.node] for row in rows],
        "status": [1] * len(rows),
        "type": [0] * len(rows),
        "p_specified": [0.0] * len(rows),
        "q_specified": [0.0] * len(rows),
    }
