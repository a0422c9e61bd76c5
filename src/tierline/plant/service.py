"""Whether a unit is in service: permission, enter-service criteria, trips and momentary cessation.

Source: IEEE 1547-2018 4.10 (enter service), 6.4.1 and 6.5.1 (trips), 6.4.2 (momentary cessation of category III).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
"""One number per unit; shape (n,)."""
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
"""One truth value per unit; shape (n,)."""

OV2, OV1, UV1, UV2, OF2, OF1, UF1, UF2 = range(8)
"""Rows of the trip tables."""

# Default trip settings of abnormal operating category III: IEEE 1547-2018 tables 13 (voltage) and 18 (frequency).
_TRIP_AT: Final = (1.20, 1.10, 0.88, 0.50, 62.0, 61.2, 58.5, 56.5)
_TRIP_AFTER_S: Final = (0.16, 13.0, 21.0, 2.0, 0.16, 300.0, 300.0, 0.16)


def _full(n: int, value: float) -> Floats:
    return np.full(n, value)


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
    """Trip thresholds, rows OV2 .. UF2 [pu, Hz]; shape (8, n)."""
    trip_after_s: NDArray[np.float64]
    """Clearing times, rows OV2 .. UF2 [s]; shape (8, n)."""
    mc_enabled: Flags
    """Momentary cessation: no output while the voltage is outside the two limits below."""
    mc_v_hi_pu: Floats
    """Upper limit [pu]."""
    mc_v_lo_pu: Floats
    """Lower limit [pu]."""

    @classmethod
    def defaults(cls, n: int) -> ServiceSettings:
        """Return the defaults of category III. Source: IEEE 1547-2018 tables 4, 13, 16 and 18."""
        return cls(
            es=np.ones(n, dtype=np.bool_),
            connect=np.ones(n, dtype=np.bool_),
            es_v_hi_pu=_full(n, 1.05),
            es_v_lo_pu=_full(n, 0.917),
            es_hz_hi=_full(n, 60.1),
            es_hz_lo=_full(n, 59.5),
            es_dly_s=_full(n, 300.0),
            es_rnd_s=_full(n, 0.0),
            es_rmp_s=_full(n, 300.0),
            trip_at=np.tile(np.array(_TRIP_AT)[:, np.newaxis], n),
            trip_after_s=np.tile(np.array(_TRIP_AFTER_S)[:, np.newaxis], n),
            mc_enabled=np.ones(n, dtype=np.bool_),
            mc_v_hi_pu=_full(n, 1.10),
            mc_v_lo_pu=_full(n, 0.50),
        )


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
    """How long each trip condition has held [s]; shape (8, n)."""

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
            abnormal_s=np.zeros((8, n)),
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
    outside = (v_pu > settings.mc_v_hi_pu) | (v_pu <= settings.mc_v_lo_pu)
    state.ceased = outside & settings.mc_enabled & state.in_service


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
    np.greater(v_pu, at[OV2 : OV1 + 1], out=abnormal[OV2 : OV1 + 1])
    np.less(v_pu, at[UV1 : UV2 + 1], out=abnormal[UV1 : UV2 + 1])
    np.less(at[OF2 : OF1 + 1], f_hz, out=abnormal[OF2 : OF1 + 1])
    np.greater(at[UF1 : UF2 + 1], f_hz, out=abnormal[UF1 : UF2 + 1])
    if not abnormal.any():
        state.abnormal_s[:] = 0.0
        return np.zeros(v_pu.shape, dtype=np.bool_)
    state.abnormal_s += dt_s
    state.abnormal_s *= abnormal
    return np.asarray((abnormal & (state.abnormal_s >= settings.trip_after_s)).any(axis=0))
