"""Whether a unit is in service: permission, enter-service criteria, trips and momentary cessation.

Source: IEEE 1547-2018 4.10 (enter service), 6.4.1 and 6.5.1 (trips), 6.4.2 (momentary cessation of category III).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
"""One number per unit; shape (n,)."""
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
"""One truth value per unit; shape (n,)."""

LEVELS: Final = 3
"""Trip levels on each side; IEEE 1547-2018 has two, Rule 21 three below nominal voltage."""


class Side(IntEnum):
    """What a trip level is a level of."""

    OVER_VOLTAGE = 0
    UNDER_VOLTAGE = 1
    OVER_FREQUENCY = 2
    UNDER_FREQUENCY = 3


TRIPS: Final[Mapping[Side, tuple[tuple[float, float], ...]]] = MappingProxyType(
    {
        Side.OVER_VOLTAGE: ((1.20, 0.16), (1.10, 13.0)),
        Side.UNDER_VOLTAGE: ((0.50, 2.0), (0.88, 21.0)),
        Side.OVER_FREQUENCY: ((62.0, 0.16), (61.2, 300.0)),
        Side.UNDER_FREQUENCY: ((56.5, 0.16), (58.5, 300.0)),
    }
)
"""Default trip settings of abnormal operating category III: level [pu, Hz] and clearing time [s].

Source: IEEE 1547-2018 tables 13 (voltage) and 18 (frequency).
"""


def _full(n: int, value: float) -> Floats:
    return np.full(n, value)


def _rows(side: Side) -> slice:
    return slice(LEVELS * side, LEVELS * (side + 1))


@dataclass(slots=True)
class ServiceSettings:
    """What the operator may set about entering and leaving service; every array has shape (n,) unless stated."""

    es: Flags
    """Permit service. False takes the unit out of service at once. SunSpec 703 ES."""
    connect: Flags
    """Started by the operator; False takes the unit out of service too. SunSpec 715 OpCtl, IEEE 2030.5 opModConnect."""
    es_v_hi_pu: Floats
    """Highest voltage at which service is entered [pu]. 703 ESVHi."""
    es_v_lo_pu: Floats
    """Lowest voltage at which service is entered [pu]. 703 ESVLo."""
    es_hz_hi: Floats
    """Highest frequency at which service is entered [Hz]. 703 ESHzHi."""
    es_hz_lo: Floats
    """Lowest frequency at which service is entered [Hz]. 703 ESHzLo."""
    es_dly_s: Floats
    """How long voltage and frequency must have been good [s]. 703 ESDlyTms."""
    es_rnd_s: Floats
    """Longest random delay after that [s]. 703 ESRndTms."""
    es_rmp_s: Floats
    """Time of the soft start from 0 to full power [s]; 0 = none. 703 ESRmpTms."""
    trip_at: NDArray[np.float64]
    """Trip levels, `LEVELS` rows a side in the order of `Side` [pu, Hz]; shape (4 * LEVELS, n). Use `set_trips`."""
    trip_after_s: NDArray[np.float64]
    """Clearing times likewise [s]."""
    mc_enabled: Flags
    """Momentary cessation: no output while the voltage is outside the two limits below. 707 and 708 MomCess."""
    mc_v_hi_pu: Floats
    """Upper limit [pu]; inf where there is none."""
    mc_v_lo_pu: Floats
    """Lower limit [pu]; below 0 where there is none."""
    mc_hi_after_s: Floats
    """How long the voltage must have been above [s]."""
    mc_lo_after_s: Floats
    """How long the voltage must have been below [s]."""

    @classmethod
    def defaults(cls, n: int) -> ServiceSettings:
        """Return the defaults of category III. Source: IEEE 1547-2018 tables 4, 13, 16 and 18."""
        settings = cls(
            es=np.ones(n, dtype=np.bool_),
            connect=np.ones(n, dtype=np.bool_),
            es_v_hi_pu=_full(n, 1.05),
            es_v_lo_pu=_full(n, 0.917),
            es_hz_hi=_full(n, 60.1),
            es_hz_lo=_full(n, 59.5),
            es_dly_s=_full(n, 300.0),
            es_rnd_s=_full(n, 0.0),
            es_rmp_s=_full(n, 300.0),
            trip_at=np.zeros((len(Side) * LEVELS, n)),
            trip_after_s=np.zeros((len(Side) * LEVELS, n)),
            mc_enabled=np.ones(n, dtype=np.bool_),
            mc_v_hi_pu=_full(n, 1.10),
            mc_v_lo_pu=_full(n, 0.50),
            mc_hi_after_s=_full(n, 0.083),
            mc_lo_after_s=_full(n, 0.083),
        )
        for side, levels in TRIPS.items():
            settings.set_trips(side, slice(None), levels)
        return settings

    def set_trips(self, side: Side, unit: int | slice, levels: Sequence[tuple[float, float]]) -> None:
        """Give one unit, or several, the trips of one side: level [pu, Hz] and clearing time [s] of each.

        Raises: ConfigError for more than LEVELS.
        """
        if len(levels) > LEVELS:
            raise ConfigError(f"a unit has at most {LEVELS} trip levels a side, not {len(levels)}")
        never = (np.inf if side in {Side.OVER_VOLTAGE, Side.OVER_FREQUENCY} else -np.inf, np.inf)
        padded = np.array([*levels, *[never] * (LEVELS - len(levels))])
        self.trip_at[_rows(side)].T[unit] = padded[:, 0]
        self.trip_after_s[_rows(side)].T[unit] = padded[:, 1]


@dataclass(slots=True)
class ServiceState:
    """Timers and verdicts of the last step; every array has shape (n,) unless stated."""

    in_service: Flags
    """Connected and allowed to produce."""
    tripped: Flags
    """Out of service because of voltage or frequency, and not yet allowed back."""
    ceased: Flags
    """In momentary cessation."""
    good_s: Floats
    """How long voltage, frequency and permission have been good [s]."""
    ready_s: Floats
    """How long all criteria have been met beyond the delay [s]; counts against the random delay."""
    draw: Floats
    """The random delay as a share of `es_rnd_s`, in [0, 1); whoever owns the fleet draws it."""
    ramp_pu: Floats
    """Soft-start ceiling on the output; above 1 when the start is complete."""
    abnormal_s: NDArray[np.float64] = field(repr=False)
    """How long each trip condition has held [s]; shape (4 * LEVELS, n)."""
    outside_s: NDArray[np.float64] = field(repr=False)
    """How long the voltage has been above, and below, the limits of momentary cessation [s]; shape (2, n)."""

    @classmethod
    def initial(cls, n: int, *, in_service: bool) -> ServiceState:
        """Return units that either run already or have just been connected."""
        return cls(
            in_service=np.full(n, in_service),
            tripped=np.zeros(n, dtype=np.bool_),
            ceased=np.zeros(n, dtype=np.bool_),
            good_s=np.zeros(n),
            ready_s=np.zeros(n),
            draw=np.zeros(n),
            ramp_pu=_full(n, RAMP_DONE_PU if in_service else 0.0),
            abnormal_s=np.zeros((len(Side) * LEVELS, n)),
            outside_s=np.zeros((2, n)),
        )


RAMP_DONE_PU: Final = 1.1
"""Where the soft-start ramp ends: a little above 1, so that reaching full power tells it is complete."""


def update(
    state: ServiceState, settings: ServiceSettings, v_pu: Floats, f_hz: float, has_power: Flags, dt_s: float
) -> None:
    """Advance who is in service by one step.

    Entering: voltage and frequency inside the window, and permission, for the delay; then power, for the random delay.
    Leaving: at once without permission or power, after its clearing time at a trip threshold.
    """
    permitted = settings.es & settings.connect
    good = (v_pu >= settings.es_v_lo_pu) & (v_pu <= settings.es_v_hi_pu) & permitted
    good &= (settings.es_hz_lo <= f_hz) & (settings.es_hz_hi >= f_hz)
    state.good_s += dt_s
    state.good_s *= good
    ready = (state.good_s >= settings.es_dly_s) & has_power & good & ~state.in_service
    entering = ready & (state.ready_s >= settings.es_rnd_s * state.draw)
    state.ready_s += dt_s
    state.ready_s *= ready
    leaving = _trips(state, settings, v_pu, f_hz, dt_s)
    state.tripped |= leaving
    state.tripped &= ~entering | leaving
    state.in_service |= entering
    state.in_service &= permitted & has_power & ~leaving
    state.outside_s += dt_s
    state.outside_s[0] *= v_pu > settings.mc_v_hi_pu
    state.outside_s[1] *= v_pu <= settings.mc_v_lo_pu
    above, below = state.outside_s
    ceasing = (above > 0) & (above >= settings.mc_hi_after_s) | (below > 0) & (below >= settings.mc_lo_after_s)
    state.ceased = ceasing & settings.mc_enabled & state.in_service


def ramp(state: ServiceState, settings: ServiceSettings, dt_s: float) -> None:
    """Raise the soft-start ceiling of the units in service and clear that of the others."""
    step = np.divide(
        dt_s, settings.es_rmp_s, out=np.full_like(state.ramp_pu, RAMP_DONE_PU), where=settings.es_rmp_s > 0
    )
    step += state.ramp_pu
    np.minimum(step, RAMP_DONE_PU, out=step)
    np.multiply(step, state.in_service, out=state.ramp_pu)


def _trips(state: ServiceState, settings: ServiceSettings, v_pu: Floats, f_hz: float, dt_s: float) -> Flags:
    at = settings.trip_at
    abnormal = np.empty(at.shape, dtype=np.bool_)
    over_v, under_v, over_f, under_f = (_rows(side) for side in Side)
    np.greater(v_pu, at[over_v], out=abnormal[over_v])
    np.less(v_pu, at[under_v], out=abnormal[under_v])
    np.less(at[over_f], f_hz, out=abnormal[over_f])
    np.greater(at[under_f], f_hz, out=abnormal[under_f])
    if not abnormal.any():
        state.abnormal_s[:] = 0.0
        return np.zeros(v_pu.shape, dtype=np.bool_)
    state.abnormal_s += dt_s
    state.abnormal_s *= abnormal
    return np.asarray((abnormal & (state.abnormal_s >= settings.trip_after_s)).any(axis=0))
