"""A fleet of photovoltaic inverters as IEEE 1547-2018 describes them, stepped together.

Three rules. Everything is an array over the units, so a further function is a further row of settings and a further
small function below. Settings carry the names of the SunSpec DER models and may be written between steps by index.
Generation is positive, at the unit's terminals; reactive power injected is positive.

Agrees with EPRI's OpenDER in steady state and in every change of status. Where the two differ on purpose: a limit holds
from the first step after entering service (there it ramps down from full power); reactive power fades in and out with
the response time when volt-var is switched (there a separate ramp); under watt priority active power never exceeds what
was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from tierline.plant import service
from tierline.plant.curve import Curves
from tierline.plant.service import Flags, Floats, ServiceSettings, ServiceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

VOLT_VAR_CATEGORY_B: Final = ((0.92, 0.44), (0.98, 0.0), (1.02, 0.0), (1.08, -0.44))
"""Default volt-var curve of category B [pu of nominal voltage, pu of VAMax]. Source: IEEE 1547-2018 table 8."""

_VAR_REQUIRED_PU: Final = 0.44
"""Reactive capability every unit of category B keeps under watt priority. Source: IEEE 1547-2018 table 7."""


class InverterStatus(IntEnum):
    """Operating state. Source: SunSpec model 701 InvSt."""

    OFF = 0
    SLEEPING = 1
    STARTING = 2
    RUNNING = 3
    THROTTLED = 4
    SHUTTING_DOWN = 5
    FAULT = 6
    STANDBY = 7


@dataclass(slots=True)
class Nameplate:
    """What the units are; every array has shape (n,)."""

    w_max_rtg_w: Floats
    """Active power rating [W]. SunSpec 702 WMaxRtg."""
    va_max_rtg_va: Floats
    """Apparent power rating [VA]. 702 VAMaxRtg."""
    var_max_inj_rtg_var: Floats
    """Reactive power it can inject [var]. 702 VarMaxInjRtg."""
    var_max_abs_rtg_var: Floats
    """Reactive power it can absorb [var], positive. 702 VarMaxAbsRtg."""
    i_max_pu: Floats
    """Current it can carry, in multiples of VAMaxRtg at nominal voltage."""
    w_min_pu: Floats
    """Available power below which it sleeps [pu of WMaxRtg]."""
    var_at_low_w: Flags
    """Full reactive capability at any active power; otherwise it falls below 20 % and ends at 5 % of WMaxRtg."""

    @classmethod
    def of(cls, w_max_w: Sequence[float] | Floats, *, oversize: float = 1.1) -> Nameplate:
        """Return category B units rated `oversize` times their active power."""
        w = np.array(w_max_w, dtype=np.float64)
        va = w * oversize
        return cls(
            w_max_rtg_w=w,
            va_max_rtg_va=va,
            var_max_inj_rtg_var=va * _VAR_REQUIRED_PU,
            var_max_abs_rtg_var=va * _VAR_REQUIRED_PU,
            i_max_pu=np.full(w.shape, 1.2),
            w_min_pu=np.full(w.shape, 0.005),
            var_at_low_w=np.zeros(w.shape, dtype=np.bool_),
        )


@dataclass(slots=True)
class Settings:
    """What an operator may set, read anew in every step; every array has shape (n,)."""

    w_max_w: Floats
    """Active power that 100 % stands for [W]. 702 WMax."""
    va_max_va: Floats
    """Apparent power not to be exceeded, and the base of curves [VA]. 702 VAMax."""
    var_max_inj_var: Floats
    """Reactive power not to be exceeded when injecting [var]. 702 VarMaxInj."""
    var_max_abs_var: Floats
    """Reactive power not to be exceeded when absorbing [var], positive. 702 VarMaxAbs."""
    watt_priority: Flags
    """Give up reactive power first, down to the required 44 %; otherwise active power is given up first."""
    w_max_lim_pct_ena: Flags
    """Limit active power. 704 WMaxLimPctEna."""
    w_max_lim_pct: Floats
    """The limit [% of WMax]. 704 WMaxLimPct."""
    w_set_ena: Flags
    """Hold active power at a set-point, as far as the sun allows. 704 WSetEna."""
    w_set_pct: Floats
    """The set-point [% of WMax]. 704 WSetPct."""
    w_rmp_pct_s: Floats
    """Fastest rise of active power, and fastest change by command [% of WMax / s]; inf = no limit. 704 WRmp."""
    ap_rt_s: Floats
    """Time in which a limit or set-point moves by 100 % [s]; at most 30. Source: IEEE 1547-2018 4.6.2."""
    vv_ena: Flags
    """Volt-var. 705 Ena."""
    vv_curve: Curves
    """The adopted volt-var curve [pu voltage -> pu of VAMax]. 705 Crv[1]."""
    vv_rsp_s: Floats
    """Open loop response time: 90 % of a step [s]. 705 RspTms."""
    vv_v_ref_pu: Floats
    """Reference voltage: moves the curve sideways by its distance from 1 [pu]. 705 VRef."""
    vv_v_ref_auto_ena: Flags
    """Let the reference voltage follow the measured one. 705 VRefAutoEna."""
    vv_v_ref_auto_s: Floats
    """Time constant of that [s]. 705 VRefAutoTms."""
    service: ServiceSettings
    """Entering service and leaving it. 703 and 707 to 710."""

    @classmethod
    def defaults(cls, nameplate: Nameplate) -> Settings:
        """Return the defaults of IEEE 1547-2018 for category B, category III: every mode disabled."""
        n = nameplate.w_max_rtg_w.size
        return cls(
            w_max_w=nameplate.w_max_rtg_w.copy(),
            va_max_va=nameplate.va_max_rtg_va.copy(),
            var_max_inj_var=nameplate.var_max_inj_rtg_var.copy(),
            var_max_abs_var=nameplate.var_max_abs_rtg_var.copy(),
            watt_priority=np.zeros(n, dtype=np.bool_),
            w_max_lim_pct_ena=np.zeros(n, dtype=np.bool_),
            w_max_lim_pct=np.full(n, 100.0),
            w_set_ena=np.zeros(n, dtype=np.bool_),
            w_set_pct=np.full(n, 100.0),
            w_rmp_pct_s=np.full(n, np.inf),
            ap_rt_s=np.full(n, 15.0),
            vv_ena=np.zeros(n, dtype=np.bool_),
            vv_curve=Curves(n, VOLT_VAR_CATEGORY_B),
            vv_rsp_s=np.full(n, 5.0),
            vv_v_ref_pu=np.ones(n),
            vv_v_ref_auto_ena=np.zeros(n, dtype=np.bool_),
            vv_v_ref_auto_s=np.full(n, 300.0),
            service=ServiceSettings.defaults(n),
        )


@dataclass(slots=True)
class State:
    """What the units do; rewritten by every step. Every array has shape (n,)."""

    p_w: Floats
    """Active power generated [W]."""
    q_var: Floats
    """Reactive power injected [var]."""
    v_pu: Floats
    """Voltage of the last step [pu]."""
    f_hz: float
    """Frequency of the last step [Hz]."""
    energy_wh: Floats
    """Active energy generated so far [Wh]."""
    starting: Flags
    """In the soft start."""
    throttled: Flags
    """Producing less than the sun would allow."""
    has_power: Flags
    """The sun suffices to run."""
    command_pu: Floats
    """The ceiling that limit and set-point have reached so far [pu of WMax]."""
    vv_in_pu: Floats
    """Volt-var request of the last step [pu of VAMax]."""
    vv_out_pu: Floats
    """Volt-var request after the response time [pu of VAMax]."""
    v_ref_auto_pu: Floats
    """Reference voltage that follows the measured one [pu]."""
    service: ServiceState
    """Who is in service, and the timers about it."""


@dataclass(slots=True)
class Fleet:
    """The units of one plant."""

    nameplate: Nameplate
    settings: Settings
    state: State

    @classmethod
    def of(cls, nameplate: Nameplate, *, in_service: bool = True) -> Fleet:
        """Return a fleet with the default settings, either running already or just connected."""
        n = nameplate.w_max_rtg_w.size
        return cls(
            nameplate=nameplate,
            settings=Settings.defaults(nameplate),
            state=State(
                p_w=np.zeros(n),
                q_var=np.zeros(n),
                v_pu=np.ones(n),
                f_hz=0.0,
                energy_wh=np.zeros(n),
                starting=np.full(n, not in_service),
                throttled=np.zeros(n, dtype=np.bool_),
                has_power=np.ones(n, dtype=np.bool_),
                command_pu=np.ones(n),
                vv_in_pu=np.zeros(n),
                vv_out_pu=np.zeros(n),
                v_ref_auto_pu=np.ones(n),
                service=ServiceState.initial(n, in_service=in_service),
            ),
        )

    @property
    def size(self) -> int:
        """How many units there are."""
        return self.nameplate.w_max_rtg_w.size

    def status(self) -> NDArray[np.int8]:
        """Return the `InverterStatus` of each unit; shape (n,)."""
        state, here = self.state, self.state.service
        permitted = self.settings.service.es & self.settings.service.connect
        out = np.where(here.tripped, InverterStatus.FAULT, InverterStatus.STANDBY)
        out = np.where(state.has_power, out, InverterStatus.SLEEPING)
        out = np.where(permitted, out, InverterStatus.OFF)
        on = np.where(state.throttled, InverterStatus.THROTTLED, InverterStatus.RUNNING)
        on = np.where(state.starting, InverterStatus.STARTING, on)
        on = np.where(here.ceased, InverterStatus.STANDBY, on)
        return np.where(here.in_service, on, out).astype(np.int8)


def step(fleet: Fleet, v_pu: Floats, f_hz: float, p_available_w: Floats, dt_s: float) -> State:
    """Advance every unit by one step and return the fleet's state.

    Units: v_pu and p_available_w have shape (n,); dt_s above 0. Keep dt_s well below the response times of interest:
    a response time below 1.15 dt_s acts at once.
    """
    settings, state = fleet.settings, fleet.state
    available = p_available_w / settings.w_max_w
    np.minimum(available, 1.0, out=available)
    state.has_power = available >= fleet.nameplate.w_min_pu
    state.starting = state.service.ramp_pu <= 1.0
    rested = ~state.service.in_service
    service.update(state.service, settings.service, v_pu, f_hz, state.has_power, dt_s)
    service.ramp(state.service, settings.service, dt_s)
    active = state.service.in_service & ~state.service.ceased

    p_w = _wanted_pu(fleet, available, rested, dt_s)
    p_w *= active
    p_w *= settings.w_max_w
    q_var = _volt_var_pu(fleet, v_pu, dt_s)
    q_var *= active
    q_var *= settings.va_max_va
    _limit_var(fleet, p_w, q_var)
    _limit_va(settings, p_w, q_var)
    if v_pu.min() * fleet.nameplate.i_max_pu.min() < 1.0:
        _limit_current(fleet, v_pu, p_w, q_var)

    available *= settings.w_max_w
    available -= 1e-6 * settings.w_max_w
    state.throttled = active & (p_w < available)
    state.energy_wh += p_w * (dt_s / 3600.0)
    state.p_w, state.q_var, state.v_pu, state.f_hz = p_w, q_var, v_pu, f_hz
    return state


def _wanted_pu(fleet: Fleet, available: Floats, rested: Flags, dt_s: float) -> Floats:
    """Return the active power that sun, soft start, limit, set-point and ramp rate leave [pu of WMax]."""
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
    wanted = np.minimum(available, command)
    np.minimum(wanted, state.service.ramp_pu, out=wanted)
    if np.isfinite(settings.w_rmp_pct_s).any():
        rising = state.p_w / settings.w_max_w + settings.w_rmp_pct_s * (0.01 * dt_s)
        np.minimum(wanted, rising, out=wanted, where=~state.starting)
    return wanted


def _volt_var_pu(fleet: Fleet, v_pu: Floats, dt_s: float) -> Floats:
    """Return the reactive power that volt-var asks for, after its response time [pu of VAMax]."""
    settings, state = fleet.settings, fleet.state
    shift = settings.vv_v_ref_pu
    if settings.vv_v_ref_auto_ena.any():
        shift = np.where(settings.vv_v_ref_auto_ena, _follow_voltage(fleet, v_pu, dt_s), shift)
    asked = settings.vv_curve.at(v_pu - shift + 1.0)
    asked *= settings.vv_ena
    asked *= state.service.in_service
    out = _lag(asked, state.vv_in_pu, state.vv_out_pu, settings.vv_rsp_s, dt_s)
    out *= state.service.in_service
    state.vv_in_pu, state.vv_out_pu = asked, out
    return out.copy()


def _follow_voltage(fleet: Fleet, v_pu: Floats, dt_s: float) -> Floats:
    """Return the reference voltage that follows the measured one within 0.95 .. 1.05 pu."""
    state = fleet.state
    followed = _lag(v_pu, state.v_pu, state.v_ref_auto_pu, 2.3 * fleet.settings.vv_v_ref_auto_s, dt_s)
    state.v_ref_auto_pu = np.where(state.service.in_service, followed, v_pu)
    return np.clip(state.v_ref_auto_pu, 0.95, 1.05)


def _lag(now: Floats, before: Floats, out: Floats, response_s: Floats, dt_s: float) -> Floats:
    """Return a first order lag of which 90 % show after the response time (bilinear, 2.3 time constants = 90 %)."""
    double_tau = response_s * (1.0 / 1.15)
    np.maximum(double_tau, dt_s, out=double_tau)  # faster than the step: the bilinear form would swing
    total = double_tau + dt_s
    found = now + before
    found *= dt_s
    double_tau -= dt_s
    double_tau *= out
    found += double_tau
    found /= total
    np.copyto(found, now, where=response_s < 1.15 * dt_s)
    return found


def _limit_var(fleet: Fleet, p_w: Floats, q_var: Floats) -> None:
    """Keep reactive power within what the unit can do at this active power. Source: IEEE 1547-2018 5.2."""
    share = p_w / (0.2 * fleet.settings.w_max_w)
    share *= share >= 0.25
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
    yielding = above & settings.watt_priority
    if yielding.any():
        kept = np.maximum(_VAR_REQUIRED_PU * settings.va_max_va, _root(va_squared - p_w * p_w))
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
