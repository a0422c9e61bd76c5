"""How much reactive power a unit wants: constant power factor, volt-var, watt-var or constant var.

At most one of them acts on a unit; where several are enabled the first in that order does (IEEE 1547-2018 5.3.1 wants
exactly one, so enabling two is the operator's mistake). All share one lag, with the response time of the one acting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tierline.plant.response import lag

if TYPE_CHECKING:
    from tierline.plant.inverter import Fleet
    from tierline.plant.service import Floats


def wanted_pu(fleet: Fleet, p_pu: Floats, v_pu: Floats, dt_s: float) -> Floats:
    """Return the reactive power wanted by each unit, after its response time [pu of VAMax].

    Units: `p_pu` is the active power wanted [pu of WMax].
    """
    settings, state = fleet.settings, fleet.state
    asked = settings.vv_curve.at(v_pu - _reference_pu(fleet, v_pu, dt_s) + 1.0)
    asked *= settings.vv_ena
    response_s = settings.vv_rsp_s
    others = settings.pf_ena | settings.wv_ena | settings.var_set_ena
    if others.any():
        response_s = np.where(others & ~settings.vv_ena, settings.q_rt_s, response_s)
        np.copyto(asked, settings.var_set_pct * 0.01, where=settings.var_set_ena & ~settings.vv_ena)
        np.copyto(asked, settings.wv_curve.at(p_pu), where=settings.wv_ena & ~settings.vv_ena)
        np.copyto(asked, power_factor_pu(fleet, p_pu), where=settings.pf_ena)
        np.copyto(response_s, settings.q_rt_s, where=settings.pf_ena)
    asked *= state.service.in_service
    out = lag(asked, state.q_in_pu, state.q_out_pu, response_s, dt_s)
    out *= state.service.in_service
    state.q_in_pu, state.q_out_pu = asked, out
    return out.copy()


def power_factor_pu(fleet: Fleet, p_pu: Floats) -> Floats:
    """Return the reactive power that goes with this active power at the power factor set [pu of VAMax]."""
    settings = fleet.settings
    per_watt = np.sqrt(1.0 - settings.pf * settings.pf) / settings.pf
    found: Floats = p_pu * settings.w_max_w / settings.va_max_va * np.where(settings.pf_inject, per_watt, -per_watt)
    return found


def _reference_pu(fleet: Fleet, v_pu: Floats, dt_s: float) -> Floats:
    """Return the reference voltage of volt-var; one that follows stays within 0.95 .. 1.05 pu (5.3.3)."""
    settings, state = fleet.settings, fleet.state
    if not settings.vv_v_ref_auto_ena.any():
        return settings.vv_v_ref_pu
    followed = lag(v_pu, state.v_pu, state.v_ref_auto_pu, 2.3 * settings.vv_v_ref_auto_s, dt_s)
    state.v_ref_auto_pu = np.where(state.service.in_service, followed, v_pu)
    return np.where(settings.vv_v_ref_auto_ena, np.clip(state.v_ref_auto_pu, 0.95, 1.05), settings.vv_v_ref_pu)
