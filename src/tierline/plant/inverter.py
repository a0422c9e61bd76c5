"""A fleet of photovoltaic inverters as IEEE 1547-2018 describes them, stepped together.

Three rules. Everything is an array over the units, so a further function is a further row of settings and a further
small function below. Settings carry the names of the SunSpec DER models and may be written between steps by index.
Generation is positive, at the unit's terminals; reactive power injected is positive.

Agrees with EPRI's OpenDER in steady state and in every change of status. Where the two differ on purpose: a limit holds
from the first step after entering service (there it ramps down from full power); reactive power fades in and out with
the response time when a mode is switched (there a separate ramp); under watt priority active power never exceeds what
was asked for; a unit that starts outside the droop's deadband still reaches what droop allows (there it stays near 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from tierline.plant import active, rating, reactive, service
from tierline.plant.curve import Curves
from tierline.plant.service import Flags, Floats, ServiceSettings, ServiceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

VOLT_VAR_CATEGORY_B: Final = ((0.92, 0.44), (0.98, 0.0), (1.02, 0.0), (1.08, -0.44))
"""Default volt-var curve of category B [pu of nominal voltage, pu of VAMax]. Source: IEEE 1547-2018 table 8."""

VOLT_WATT_CATEGORY_B: Final = ((1.06, 1.0), (1.10, 0.0))
"""Default volt-watt curve [pu of nominal voltage, pu of WMax]. Source: IEEE 1547-2018 table 10."""

WATT_VAR_CATEGORY_B: Final = ((0.2, 0.0), (0.5, 0.0), (1.0, -0.44))
"""Default watt-var curve of category B [pu of WMax, pu of VAMax]. Source: IEEE 1547-2018 table 9."""


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
            var_max_inj_rtg_var=va * rating.VAR_REQUIRED_PU,
            var_max_abs_rtg_var=va * rating.VAR_REQUIRED_PU,
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
    pf_ena: Flags
    """Constant power factor. 704 PFWInjEna."""
    pf: Floats
    """The power factor, above 0 up to 1. 704 PFWInj.PF."""
    pf_inject: Flags
    """Inject reactive power (over-excited); otherwise absorb it. 704 PFWInj.Ext."""
    var_set_ena: Flags
    """Constant reactive power. 704 VarSetEna."""
    var_set_pct: Floats
    """The reactive power injected [% of VAMax], negative to absorb. 704 VarSetPct with VarSetMod VA_MAX_PCT."""
    wv_ena: Flags
    """Watt-var. 712 Ena."""
    wv_curve: Curves
    """The adopted watt-var curve [pu of WMax -> pu of VAMax]. 712 Crv[1]."""
    q_rt_s: Floats
    """Response time of the three modes above [s]; at most 10. Source: IEEE 1547-2018 5.3."""
    vw_ena: Flags
    """Volt-watt. 706 Ena."""
    vw_curve: Curves
    """The adopted volt-watt curve [pu voltage -> pu of WMax]. 706 Crv[1]."""
    vw_rsp_s: Floats
    """Open loop response time [s]. 706 RspTms."""
    fd_ena: Flags
    """Frequency droop; enabled by default. 711 Ena."""
    f_nom_hz: Floats
    """Nominal frequency [Hz]."""
    fd_db_of_hz: Floats
    """Deadband above nominal [Hz]. 711 DbOf."""
    fd_db_uf_hz: Floats
    """Deadband below nominal [Hz]. 711 DbUf."""
    fd_k_of: Floats
    """Per-unit frequency change for a per-unit change of power, above. 711 KOf."""
    fd_k_uf: Floats
    """The same below. 711 KUf."""
    fd_rsp_s: Floats
    """Open loop response time [s]. 711 RspTms."""
    service: ServiceSettings
    """Entering service and leaving it. 703 and 707 to 710."""

    @classmethod
    def defaults(cls, nameplate: Nameplate) -> Settings:
        """Return the defaults of IEEE 1547-2018 for category B, category III: every mode disabled but frequency droop."""
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
            pf_ena=np.zeros(n, dtype=np.bool_),
            pf=np.ones(n),
            pf_inject=np.zeros(n, dtype=np.bool_),
            var_set_ena=np.zeros(n, dtype=np.bool_),
            var_set_pct=np.zeros(n),
            wv_ena=np.zeros(n, dtype=np.bool_),
            wv_curve=Curves(n, WATT_VAR_CATEGORY_B),
            q_rt_s=np.full(n, 5.0),
            vw_ena=np.zeros(n, dtype=np.bool_),
            vw_curve=Curves(n, VOLT_WATT_CATEGORY_B),
            vw_rsp_s=np.full(n, 10.0),
            fd_ena=np.ones(n, dtype=np.bool_),
            f_nom_hz=np.full(n, 60.0),
            fd_db_of_hz=np.full(n, 0.036),
            fd_db_uf_hz=np.full(n, 0.036),
            fd_k_of=np.full(n, 0.05),
            fd_k_uf=np.full(n, 0.05),
            fd_rsp_s=np.full(n, 5.0),
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
    q_in_pu: Floats
    """Reactive power asked for in the last step [pu of VAMax]."""
    q_out_pu: Floats
    """The same after the response time [pu of VAMax]."""
    v_ref_auto_pu: Floats
    """Reference voltage that follows the measured one [pu]."""
    vw_in_pu: Floats
    """Volt-watt ceiling asked for in the last step [pu of WMax]."""
    vw_out_pu: Floats
    """The same after the response time [pu of WMax]."""
    droop_active: Flags
    """Frequency droop sets the power, or has not let go of it yet."""
    droop_side: NDArray[np.int8]
    """Where the frequency was in the last step: 1 above the deadband, -1 below, 0 inside."""
    droop_pre_pu: Floats
    """Active power before the frequency left the deadband [pu of WMax]."""
    droop_in_pu: Floats
    """Power that droop asked for in the last step [pu of WMax]."""
    droop_out_pu: Floats
    """The same after the response time [pu of WMax]."""
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
                q_in_pu=np.zeros(n),
                q_out_pu=np.zeros(n),
                v_ref_auto_pu=np.ones(n),
                vw_in_pu=np.ones(n),
                vw_out_pu=np.ones(n),
                droop_active=np.zeros(n, dtype=np.bool_),
                droop_side=np.zeros(n, dtype=np.int8),
                droop_pre_pu=np.zeros(n),
                droop_in_pu=np.zeros(n),
                droop_out_pu=np.zeros(n),
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
    p_w = active.wanted_pu(fleet, available, rested, v_pu, f_hz, dt_s)
    q_var = reactive.wanted_pu(fleet, p_w, v_pu, dt_s)
    producing = state.service.in_service & ~state.service.ceased
    p_w *= producing
    p_w *= settings.w_max_w
    q_var *= producing
    q_var *= settings.va_max_va
    rating.limit(fleet, p_w, q_var, v_pu)

    available *= settings.w_max_w
    available -= 1e-6 * settings.w_max_w
    state.throttled = producing & (p_w < available)
    state.energy_wh += p_w * (dt_s / 3600.0)
    state.p_w, state.q_var, state.v_pu, state.f_hz = p_w, q_var, v_pu, f_hz
    return state
