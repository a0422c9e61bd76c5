"""The plant: weather, inverters and feeder, stepped together.

The order of a step: the sun gives power, the inverters answer the voltage of the last step, the power flow gives the
new voltage. No clock and no randomness: the time and the draws are arguments.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from tierline.model.errors import ConfigError
from tierline.plant.feeder import Flow, PowerFlow
from tierline.plant.inverter import Fleet, Nameplate, step
from tierline.plant.weather import Arrays, Weather, available_w, load_share, sky

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tierline.model.topology import Grid
    from tierline.plant.service import Floats

DRAWS_PER_UNIT = 4
"""Random numbers a unit needs: three for its array, one for its enter-service delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantSetup:
    """What a scenario says about its plant."""

    grid: str
    """Name of the grid file."""
    weather: str
    """Name of the weather file."""
    day: str
    """Which day of the weather file."""
    starts_at_h: float
    """When the scenario starts [h since midnight, local standard time]."""
    source_u_pu: float = 1.0
    """Voltage the upper grid holds [pu]."""
    frequency_hz: float = 60.0
    """Frequency the inverters see."""
    v_min_pu: float = 0.95
    """Lowest voltage the operator accepts [pu]. Source: ANSI C84.1 range A."""
    v_max_pu: float = 1.05
    """Highest voltage the operator accepts [pu]. Source: ANSI C84.1 range A."""
    oversize: float = 1.1
    """Apparent over active power rating of the inverters."""
    watt_priority: bool = False
    """Inverters give up reactive power first."""
    dc_ac_ratio: float = 1.2
    """Rated direct-current over alternating-current power of the arrays."""
    load_share: tuple[float, ...] = field(default=(1.0,) * 24)
    """Share of their peak that the loads take, 24 hourly means."""

    @staticmethod
    def from_toml(text: str) -> PlantSetup:
        """Read the table [plant] of a scenario file.

        Raises: ConfigError naming the key at fault.
        """
        try:
            data = tomllib.loads(text).get("plant")
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"scenario file: not TOML: {error}") from error
        if not isinstance(data, dict):
            raise ConfigError("scenario file: the table [plant] is missing")
        return _read_setup(data)


class Plant:
    """One grid with its units, ready to be stepped."""

    def __init__(self, setup: PlantSetup, grid: Grid, weather: Weather, draws: NDArray[np.float64]) -> None:
        """Put the plant together.

        Units: draws in [0, 1), shape (DRAWS_PER_UNIT, n service points); they make units differ from each other.
        """
        n = len(grid.service_points)
        if draws.shape != (DRAWS_PER_UNIT, n):
            raise ConfigError(f"the plant needs draws of shape ({DRAWS_PER_UNIT}, {n}), not {draws.shape}")
        rating_w = np.array([float(point.p_w) for point in grid.service_points])
        self.setup = setup
        self.grid = grid
        self.weather = weather
        self.ids: tuple[str, ...] = tuple(point.id for point in grid.service_points)
        """Service point ids, in the order of every array."""
        self.fleet = Fleet.of(Nameplate.of(rating_w, oversize=setup.oversize))
        """The inverters; write their settings between steps, by index."""
        self.fleet.settings.watt_priority[:] = setup.watt_priority
        self.fleet.state.service.draw[:] = draws[3]
        self.arrays = Arrays.varied(rating_w, draws[:3], dc_ac_ratio=setup.dc_ac_ratio)
        self.source_u_pu = setup.source_u_pu
        """Voltage the upper grid holds now [pu]."""
        self.frequency_hz = setup.frequency_hz
        """Frequency now [Hz]."""
        self.available_w: Floats = np.zeros(n)
        """What the sun would have given in the last step [W]; shape (n,)."""
        self._power_flow = PowerFlow(grid)
        self._switches = {switch.id: switch.closed for switch in grid.switches}
        still = np.zeros(n)
        self.flow: Flow = self._power_flow.solve(still, still, load_share=0.0, source_u_pu=self.source_u_pu)
        """The power flow of the last step."""

    @property
    def switches(self) -> Mapping[int, bool]:
        """Return which switches are closed now."""
        return dict(self._switches)

    def operate(self, positions: Mapping[int, bool]) -> None:
        """Move some switches; the next step solves with them.

        Raises: ConfigError for a switch the grid does not have.
        """
        moved = {**self._switches, **positions}
        self._power_flow.set_switches(moved)
        self._switches = moved

    def step(self, now_s: float, dt_s: float) -> Flow:
        """Advance the plant by dt_s to the time now_s [s since midnight, local standard time].

        Keep dt_s at 1 s or below the fastest response time: inverters answer the voltage of the last step, so a steep
        volt-var curve that acts within one step swings.

        Raises: ConfigError when the grid has no steady state.
        """
        self.available_w = available_w(sky(self.weather, self.setup.day, now_s), self.arrays)
        state = step(self.fleet, self.flow.v_pu, self.frequency_hz, self.available_w, dt_s)
        self.flow = self._power_flow.solve(
            state.p_w,
            state.q_var,
            load_share=load_share(self.setup.load_share, now_s),
            source_u_pu=self.source_u_pu,
        )
        return self.flow

    def buses_above_limit(self) -> int:
        """Return how many nodes lie above the highest accepted voltage."""
        return int(np.count_nonzero(self.flow.node_v_pu > self.setup.v_max_pu))

    def buses_below_limit(self) -> int:
        """Return how many live nodes lie below the lowest accepted voltage."""
        v_pu = self.flow.node_v_pu
        return int(np.count_nonzero((v_pu > 0) & (v_pu < self.setup.v_min_pu)))


def _read_setup(data: dict[str, object]) -> PlantSetup:
    known = {f.name: f for f in fields(PlantSetup)}
    if unknown := sorted(set(data) - set(known)):
        raise ConfigError(f"scenario file: plant.{unknown[0]} is unknown; known are {', '.join(sorted(known))}")
    if missing := [name for name in ("grid", "weather", "day", "starts_at_h") if name not in data]:
        raise ConfigError(f"scenario file: plant.{missing[0]} is missing")
    return PlantSetup(**{name: _checked(value, str(known[name].type), name) for name, value in data.items()})  # type: ignore[arg-type]  # checked against the field's own type


def _checked(value: object, kind: str, name: str) -> object:
    if kind == "float" and type(value) in {int, float}:
        return value
    if kind in {"str", "bool"} and type(value).__name__ == kind:
        return value
    if kind.startswith("tuple") and isinstance(value, list) and len(value) == 24 and all(_is_share(x) for x in value):
        return tuple(float(x) for x in value)
    said = {"float": "a number", "str": "a text", "bool": "true or false"}.get(kind, "24 shares from 0 upwards")
    raise ConfigError(f"scenario file: plant.{name} must be {said}, not {value!r}")


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
