"""What the nameplate and its settings leave of the power a unit wants. Arrays are changed in place.

Source: IEEE 1547-2018 5.2 (reactive capability and priority).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from tierline.plant.inverter import Fleet, Settings
    from tierline.plant.service import Floats

VAR_REQUIRED_PU: Final = 0.44
"""Reactive capability every unit of category B has, and keeps under watt priority. Source: IEEE 1547-2018 table 7."""

_MEETINGS: Final = 12
"""Rounds after which watt-var curve and apparent power circle meet within a thousandth for any curve in range."""


def limit(fleet: Fleet, p_w: Floats, q_var: Floats, v_pu: Floats) -> None:
    """Keep both powers within apparent power, reactive capability and current."""
    settings = fleet.settings
    if settings.pf_ena.any():
        _shrink_to_va(settings, p_w, q_var)
    _limit_var(fleet, p_w, q_var)
    _limit_va(settings, p_w, q_var)
    if v_pu.min() * fleet.nameplate.i_max_pu.min() < 1.0:
        _limit_current(fleet, v_pu, p_w, q_var)


def _shrink_to_va(settings: Settings, p_w: Floats, q_var: Floats) -> None:
    """Keep apparent power within VAMax at constant power factor: both powers yield alike."""
    share = np.where(settings.pf_ena, settings.va_max_va / np.maximum(np.hypot(p_w, q_var), 1e-9), 1.0)
    np.minimum(share, 1.0, out=share)
    p_w *= share
    q_var *= share


def _limit_var(fleet: Fleet, p_w: Floats, q_var: Floats) -> None:
    """Keep reactive power within what the unit can do at this active power."""
    share = p_w / (0.2 * fleet.settings.w_max_w)
    share *= share >= 0.25  # nothing is required below 5 % of rated active power
    np.minimum(share, 1.0, out=share)
    np.copyto(share, 1.0, where=fleet.nameplate.var_at_low_w)
    np.minimum(q_var, share * fleet.settings.var_max_inj_var, out=q_var)
    share *= -1.0
    np.maximum(q_var, share * fleet.settings.var_max_abs_var, out=q_var)


def _limit_va(settings: Settings, p_w: Floats, q_var: Floats) -> None:
    """Keep apparent power within VAMax, giving up what has no priority."""
    va_squared = settings.va_max_va * settings.va_max_va
    above = p_w * p_w + q_var * q_var > va_squared
    if not above.any():
        return
    following = above & settings.wv_ena & ~settings.vv_ena & ~settings.pf_ena
    if following.any():
        asked = np.abs(q_var)
        for _ in range(_MEETINGS):
            meeting = np.minimum(p_w, _root(va_squared - q_var * q_var))
            on_curve = settings.wv_curve.at(meeting / settings.w_max_w) * settings.va_max_va
            np.copyto(q_var, np.clip(on_curve, -asked, asked), where=following)
    yielding = above & settings.watt_priority & ~following
    if yielding.any():
        kept = np.maximum(VAR_REQUIRED_PU * settings.va_max_va, _root(va_squared - p_w * p_w))
        np.copyto(q_var, np.clip(q_var, -kept, kept), where=yielding)
    np.minimum(p_w, _root(va_squared - q_var * q_var), out=p_w)


def _limit_current(fleet: Fleet, v_pu: Floats, p_w: Floats, q_var: Floats) -> None:
    """Keep current within the rating at low voltage; reactive current stays, active current yields."""
    va = fleet.nameplate.i_max_pu * fleet.settings.va_max_va * v_pu
    np.minimum(q_var, va, out=q_var)
    np.maximum(q_var, -va, out=q_var)
    np.minimum(p_w, _root(va * va - q_var * q_var), out=p_w)


def _root(squared: Floats) -> Floats:
    return np.sqrt(np.maximum(squared, 0.0))
