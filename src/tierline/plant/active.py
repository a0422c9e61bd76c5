"""How much active power a unit wants to generate: sun, soft start, limit, set-point, volt-watt, frequency droop.

The order of precedence is that of IEEE 1547-2018 4.7: volt-watt and frequency droop stand above limit and set-point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tierline.plant.response import lag

if TYPE_CHECKING:
    from tierline.plant.inverter import Fleet
    from tierline.plant.service import Flags, Floats


def wanted_pu(fleet: Fleet, available: Floats, rested: Flags, v_pu: Floats, f_hz: float, dt_s: float) -> Floats:
    """Return the active power wanted by each unit [pu of WMax].

    Units: `available` is what the sun gives [pu of WMax, at most 1]; `rested` tells who was out of service before this
    step.
    """
    settings, state = fleet.settings, fleet.state
    wanted = np.minimum(available, command_pu(fleet, rested, dt_s))
    np.minimum(wanted, state.service.ramp_pu, out=wanted)
    if settings.vw_ena.any():
        volt_watt = volt_watt_pu(fleet, rested, v_pu, dt_s)
        np.minimum(wanted, volt_watt, out=wanted)
        available = np.minimum(available, volt_watt)
    if np.isfinite(settings.w_rmp_pct_s).any():
        rising = state.p_w / settings.w_max_w + settings.w_rmp_pct_s * (0.01 * dt_s)
        np.minimum(wanted, rising, out=wanted, where=~state.starting)
    return droop_pu(fleet, wanted, available, f_hz, dt_s)


def command_pu(fleet: Fleet, rested: Flags, dt_s: float) -> Floats:
    """Return the ceiling that limit and set-point have reached on their way [pu of WMax]."""
    settings, state = fleet.settings, fleet.state
    target = np.where(settings.w_max_lim_pct_ena, settings.w_max_lim_pct, 100.0)
    np.minimum(target, settings.w_set_pct, out=target, where=settings.w_set_ena)
    target *= 0.01
    np.maximum(target, 0.0, out=target)
    per_step = np.minimum(1.0 / np.maximum(settings.ap_rt_s, 1e-9), settings.w_rmp_pct_s * 0.01)
    per_step *= dt_s
    command = np.minimum(target, state.command_pu + per_step)
    np.maximum(command, state.command_pu - per_step, out=command)
    np.copyto(command, target, where=rested)  # nothing to ramp from: it holds at once
    state.command_pu = command
    return command


def volt_watt_pu(fleet: Fleet, rested: Flags, v_pu: Floats, dt_s: float) -> Floats:
    """Return the ceiling of volt-watt after its response time [pu of WMax]; 1 where it is disabled."""
    settings, state = fleet.settings, fleet.state
    asked = np.where(settings.vw_ena, settings.vw_curve.at(v_pu), 1.0)
    rests = rested | ~settings.vw_ena
    out = lag(asked, state.vw_in_pu, state.vw_out_pu, settings.vw_rsp_s, dt_s)
    np.copyto(out, asked, where=rests)
    state.vw_in_pu, state.vw_out_pu = asked, out
    return out


def droop_pu(fleet: Fleet, wanted: Floats, available: Floats, f_hz: float, dt_s: float) -> Floats:
    """Return the power wanted once frequency droop has had its say [pu of WMax].

    Above the deadband power falls from what it was before, below it power rises as far as the sun allows, even above a
    limit. Afterwards the unit returns with the same response time. Source: IEEE 1547-2018 6.5.2.7.
    """
    settings, state = fleet.settings, fleet.state
    over = settings.fd_ena & (settings.fd_db_of_hz < f_hz - settings.f_nom_hz)
    under = settings.fd_ena & (settings.fd_db_uf_hz < settings.f_nom_hz - f_hz)
    side = over.astype(np.int8) - under
    outside = side != 0
    busy = (outside | state.droop_active) & state.service.in_service
    if not busy.any():
        state.droop_side = side
        state.droop_active = busy
        return wanted
    now = state.p_w / settings.w_max_w
    before = state.droop_active
    # From one side to the other is a disturbance of its own: what was before it is what the unit makes now.
    pre = np.where(outside & (side == state.droop_side), state.droop_pre_pu, now)
    np.copyto(pre, wanted, where=state.starting)  # no power before the disturbance: what it would make without it
    change = np.where(
        over,
        (settings.f_nom_hz + settings.fd_db_of_hz - f_hz) / (settings.f_nom_hz * settings.fd_k_of),
        (settings.f_nom_hz - settings.fd_db_uf_hz - f_hz) / (settings.f_nom_hz * settings.fd_k_uf),
    )
    asked = np.where(outside, np.clip(pre + change, fleet.nameplate.w_min_pu, np.maximum(available, 0.0)), wanted)
    out = lag(
        asked,
        np.where(before, state.droop_in_pu, now),
        np.where(before, state.droop_out_pu, now),
        settings.fd_rsp_s,
        dt_s,
    )
    state.droop_pre_pu, state.droop_side = pre, side
    state.droop_in_pu, state.droop_out_pu = asked, out
    state.droop_active = busy & (outside | (np.abs(out - asked) >= 1e-3))
    return np.where(state.droop_active, np.minimum(out, available), wanted)
