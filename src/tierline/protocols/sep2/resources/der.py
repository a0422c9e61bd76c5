"""Programs, controls and curves, and what a DER says of itself."""

from typing import Annotated

from tierline.protocols.sep2.resources.kinds import (
    Bool,
    DurationSeconds,
    EpochSeconds,
    Hex8,
    Hex32,
    Int16,
    Int32,
    PerCent,
    PowerOfTen,
    RandomizeSeconds,
    SignedPerCent,
    String6,
    String192,
    UInt8,
    UInt16,
    UInt32,
)
from tierline.protocols.sep2.resources.objects import (
    ActivePower,
    AmpereHour,
    ApparentPower,
    CurrentRMS,
    DateTimeInterval,
    FixedVar,
    IdentifiedObject,
    Link,
    List,
    ListLink,
    PowerFactor,
    PowerFactorWithExcitation,
    ReactivePower,
    ReactiveSusceptance,
    Resource,
    RespondableSubscribableIdentifiedObject,
    SubscribableIdentifiedObject,
    SubscribableList,
    SubscribableResource,
    VoltageRMS,
    WattHour,
)
from tierline.protocols.sep2.resources.rows import Attribute, Edition, Element, Space, Value

_AUS = (Edition.CSIP_AUS_1_2, Space.CSIP_AUS)
_AUS_STORAGE = (Edition.CSIP_AUS_1_3_BETA, Space.CSIP_AUS)


class DERProgram(SubscribableIdentifiedObject, frozen=True, kw_only=True):
    """A program: controls, a default, curves, and a rank."""

    active_der_control_list_link: Annotated[ListLink | None, Element("ActiveDERControlListLink")] = None
    default_der_control_link: Annotated[Link | None, Element("DefaultDERControlLink")] = None
    der_control_list_link: Annotated[ListLink | None, Element("DERControlListLink")] = None
    der_curve_list_link: Annotated[ListLink | None, Element("DERCurveListLink")] = None
    primacy: Annotated[UInt8, Element("primacy")]
    """Lower is stronger."""


class DERProgramList(SubscribableList, frozen=True, kw_only=True):
    """A page of programs."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[DERProgram, ...], Element("DERProgram")] = ()


class FreqDroopType(Value, frozen=True, kw_only=True):
    """Frequency droop: dead bands in mHz, droops in thousandths, response time in 0.01 s."""

    dbof: Annotated[UInt32, Element("dBOF")]
    dbuf: Annotated[UInt32, Element("dBUF")]
    kof: Annotated[UInt16, Element("kOF")]
    kuf: Annotated[UInt16, Element("kUF")]
    open_loop_tms: Annotated[UInt16, Element("openLoopTms")]


class DERControlBase(Value, frozen=True, kw_only=True):
    """The control functions. Percentages in 0.01 %, `ramp_tms` in 0.01 s; curves are linked."""

    op_mod_connect: Annotated[Bool | None, Element("opModConnect")] = None
    op_mod_energize: Annotated[Bool | None, Element("opModEnergize")] = None
    op_mod_fixed_pf_absorb_w: Annotated[PowerFactorWithExcitation | None, Element("opModFixedPFAbsorbW")] = None
    op_mod_fixed_pf_inject_w: Annotated[PowerFactorWithExcitation | None, Element("opModFixedPFInjectW")] = None
    op_mod_fixed_var: Annotated[FixedVar | None, Element("opModFixedVar")] = None
    op_mod_fixed_w: Annotated[SignedPerCent | None, Element("opModFixedW")] = None
    op_mod_freq_droop: Annotated[FreqDroopType | None, Element("opModFreqDroop")] = None
    op_mod_freq_watt: Annotated[Link | None, Element("opModFreqWatt")] = None
    op_mod_hfrt_may_trip: Annotated[Link | None, Element("opModHFRTMayTrip")] = None
    op_mod_hfrt_must_trip: Annotated[Link | None, Element("opModHFRTMustTrip")] = None
    op_mod_hvrt_may_trip: Annotated[Link | None, Element("opModHVRTMayTrip")] = None
    op_mod_hvrt_momentary_cessation: Annotated[Link | None, Element("opModHVRTMomentaryCessation")] = None
    op_mod_hvrt_must_trip: Annotated[Link | None, Element("opModHVRTMustTrip")] = None
    op_mod_lfrt_may_trip: Annotated[Link | None, Element("opModLFRTMayTrip")] = None
    op_mod_lfrt_must_trip: Annotated[Link | None, Element("opModLFRTMustTrip")] = None
    op_mod_lvrt_may_trip: Annotated[Link | None, Element("opModLVRTMayTrip")] = None
    op_mod_lvrt_momentary_cessation: Annotated[Link | None, Element("opModLVRTMomentaryCessation")] = None
    op_mod_lvrt_must_trip: Annotated[Link | None, Element("opModLVRTMustTrip")] = None
    op_mod_max_lim_w: Annotated[PerCent | None, Element("opModMaxLimW")] = None
    op_mod_target_var: Annotated[ReactivePower | None, Element("opModTargetVar")] = None
    op_mod_target_w: Annotated[ActivePower | None, Element("opModTargetW")] = None
    op_mod_volt_var: Annotated[Link | None, Element("opModVoltVar")] = None
    op_mod_volt_watt: Annotated[Link | None, Element("opModVoltWatt")] = None
    op_mod_watt_pf: Annotated[Link | None, Element("opModWattPF")] = None
    op_mod_watt_var: Annotated[Link | None, Element("opModWattVar")] = None
    ramp_tms: Annotated[UInt16 | None, Element("rampTms")] = None
    op_mod_imp_lim_w: Annotated[ActivePower | None, Element("opModImpLimW", *_AUS)] = None
    op_mod_exp_lim_w: Annotated[ActivePower | None, Element("opModExpLimW", *_AUS)] = None
    op_mod_gen_lim_w: Annotated[ActivePower | None, Element("opModGenLimW", *_AUS)] = None
    op_mod_load_lim_w: Annotated[ActivePower | None, Element("opModLoadLimW", *_AUS)] = None
    op_mod_storage_target_w: Annotated[ActivePower | None, Element("opModStorageTargetW", *_AUS_STORAGE)] = None


class EventStatus(Value, frozen=True, kw_only=True):
    """Where an event stands."""

    current_status: Annotated[UInt8, Element("currentStatus")]
    """0 scheduled, 1 active, 2 cancelled, 3 cancelled with randomisation, 4 superseded."""
    date_time: Annotated[EpochSeconds, Element("dateTime")]
    potentially_superseded: Annotated[Bool, Element("potentiallySuperseded")]
    potentially_superseded_time: Annotated[EpochSeconds | None, Element("potentiallySupersededTime")] = None
    reason: Annotated[String192 | None, Element("reason")] = None


class Event(RespondableSubscribableIdentifiedObject, frozen=True, kw_only=True):
    """Something that holds for an interval."""

    creation_time: Annotated[EpochSeconds, Element("creationTime")]
    event_status: Annotated[EventStatus, Element("EventStatus")]
    interval: Annotated[DateTimeInterval, Element("interval")]


class RandomizableEvent(Event, frozen=True, kw_only=True):
    """An event whose start and duration each device may vary."""

    randomize_duration: Annotated[RandomizeSeconds | None, Element("randomizeDuration")] = None
    randomize_start: Annotated[RandomizeSeconds | None, Element("randomizeStart")] = None


class DERControl(RandomizableEvent, frozen=True, kw_only=True):
    """A control event for DER."""

    der_control_base: Annotated[DERControlBase, Element("DERControlBase")]
    device_category: Annotated[Hex32 | None, Element("deviceCategory")] = None


class DERControlList(SubscribableList, frozen=True, kw_only=True):
    """A page of controls; the list of active controls has the same type on the wire."""

    items: Annotated[tuple[DERControl, ...], Element("DERControl")] = ()


class DefaultDERControl(SubscribableIdentifiedObject, frozen=True, kw_only=True):
    """What holds while no event does. Times in 0.01 s, frequencies in 0.01 Hz, voltages in 0.01 %, ramps in 0.01 %/s."""

    der_control_base: Annotated[DERControlBase, Element("DERControlBase")]
    set_es_delay: Annotated[UInt32 | None, Element("setESDelay")] = None
    set_es_high_freq: Annotated[UInt16 | None, Element("setESHighFreq")] = None
    set_es_high_volt: Annotated[Int16 | None, Element("setESHighVolt")] = None
    set_es_low_freq: Annotated[UInt16 | None, Element("setESLowFreq")] = None
    set_es_low_volt: Annotated[Int16 | None, Element("setESLowVolt")] = None
    set_es_ramp_tms: Annotated[UInt32 | None, Element("setESRampTms")] = None
    set_es_random_delay: Annotated[UInt32 | None, Element("setESRandomDelay")] = None
    set_grad_w: Annotated[UInt16 | None, Element("setGradW")] = None
    set_soft_grad_w: Annotated[UInt16 | None, Element("setSoftGradW")] = None


class CurveData(Value, frozen=True, kw_only=True):
    """One point of a curve."""

    excitation: Annotated[Bool | None, Element("excitation")] = None
    xvalue: Annotated[Int32, Element("xvalue")]
    yvalue: Annotated[Int32, Element("yvalue")]


class DERCurve(IdentifiedObject, frozen=True, kw_only=True):
    """A curve; times in 0.01 s, `v_ref` in 0.01 %."""

    autonomous_v_ref_enable: Annotated[Bool | None, Element("autonomousVRefEnable")] = None
    autonomous_v_ref_time_constant: Annotated[UInt32 | None, Element("autonomousVRefTimeConstant")] = None
    creation_time: Annotated[EpochSeconds, Element("creationTime")]
    curve_data: Annotated[tuple[CurveData, ...], Element("CurveData", limit=10)]
    curve_type: Annotated[UInt8, Element("curveType")]
    open_loop_tms: Annotated[UInt16 | None, Element("openLoopTms")] = None
    ramp_dec_tms: Annotated[UInt16 | None, Element("rampDecTms")] = None
    ramp_inc_tms: Annotated[UInt16 | None, Element("rampIncTms")] = None
    ramp_pt1_tms: Annotated[UInt16 | None, Element("rampPT1Tms")] = None
    v_ref: Annotated[PerCent | None, Element("vRef")] = None
    x_multiplier: Annotated[PowerOfTen, Element("xMultiplier")]
    y_multiplier: Annotated[PowerOfTen, Element("yMultiplier")]
    y_ref_type: Annotated[UInt8, Element("yRefType")]


class DERCurveList(List, frozen=True, kw_only=True):
    """A page of curves."""

    items: Annotated[tuple[DERCurve, ...], Element("DERCurve")] = ()


class DER(SubscribableResource, frozen=True, kw_only=True):
    """One DER of a device: where its four descriptions are."""

    associated_der_program_list_link: Annotated[ListLink | None, Element("AssociatedDERProgramListLink")] = None
    associated_usage_point_link: Annotated[Link | None, Element("AssociatedUsagePointLink")] = None
    current_der_program_link: Annotated[Link | None, Element("CurrentDERProgramLink")] = None
    der_availability_link: Annotated[Link | None, Element("DERAvailabilityLink")] = None
    der_capability_link: Annotated[Link | None, Element("DERCapabilityLink")] = None
    der_settings_link: Annotated[Link | None, Element("DERSettingsLink")] = None
    der_status_link: Annotated[Link | None, Element("DERStatusLink")] = None


class DERList(List, frozen=True, kw_only=True):
    """A page of a device's DERs."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[DER, ...], Element("DER")] = ()


class DERCapability(Resource, frozen=True, kw_only=True):
    """Nameplate ratings."""

    modes_supported: Annotated[Hex32, Element("modesSupported")]
    rtg_abnormal_category: Annotated[UInt8 | None, Element("rtgAbnormalCategory")] = None
    rtg_max_a: Annotated[CurrentRMS | None, Element("rtgMaxA")] = None
    rtg_max_ah: Annotated[AmpereHour | None, Element("rtgMaxAh")] = None
    rtg_max_charge_rate_va: Annotated[ApparentPower | None, Element("rtgMaxChargeRateVA")] = None
    rtg_max_charge_rate_w: Annotated[ActivePower | None, Element("rtgMaxChargeRateW")] = None
    rtg_max_discharge_rate_va: Annotated[ApparentPower | None, Element("rtgMaxDischargeRateVA")] = None
    rtg_max_discharge_rate_w: Annotated[ActivePower | None, Element("rtgMaxDischargeRateW")] = None
    rtg_max_v: Annotated[VoltageRMS | None, Element("rtgMaxV")] = None
    rtg_max_va: Annotated[ApparentPower | None, Element("rtgMaxVA")] = None
    rtg_max_var: Annotated[ReactivePower | None, Element("rtgMaxVar")] = None
    rtg_max_var_neg: Annotated[ReactivePower | None, Element("rtgMaxVarNeg")] = None
    rtg_max_w: Annotated[ActivePower, Element("rtgMaxW")]
    rtg_max_wh: Annotated[WattHour | None, Element("rtgMaxWh")] = None
    rtg_min_pf_over_excited: Annotated[PowerFactor | None, Element("rtgMinPFOverExcited")] = None
    rtg_min_pf_under_excited: Annotated[PowerFactor | None, Element("rtgMinPFUnderExcited")] = None
    rtg_min_v: Annotated[VoltageRMS | None, Element("rtgMinV")] = None
    rtg_normal_category: Annotated[UInt8 | None, Element("rtgNormalCategory")] = None
    rtg_over_excited_pf: Annotated[PowerFactor | None, Element("rtgOverExcitedPF")] = None
    rtg_over_excited_w: Annotated[ActivePower | None, Element("rtgOverExcitedW")] = None
    rtg_reactive_susceptance: Annotated[ReactiveSusceptance | None, Element("rtgReactiveSusceptance")] = None
    rtg_under_excited_pf: Annotated[PowerFactor | None, Element("rtgUnderExcitedPF")] = None
    rtg_under_excited_w: Annotated[ActivePower | None, Element("rtgUnderExcitedW")] = None
    rtg_v_nom: Annotated[VoltageRMS | None, Element("rtgVNom")] = None
    type: Annotated[UInt8, Element("type")]
    doe_modes_supported: Annotated[Hex8 | None, Element("doeModesSupported", *_AUS)] = None
    vpp_modes_supported: Annotated[Hex8 | None, Element("vppModesSupported", *_AUS_STORAGE)] = None


class DERSettings(SubscribableResource, frozen=True, kw_only=True):
    """The owner's or installer's settings, units as in DefaultDERControl."""

    modes_enabled: Annotated[Hex32 | None, Element("modesEnabled")] = None
    set_es_delay: Annotated[UInt32 | None, Element("setESDelay")] = None
    set_es_high_freq: Annotated[UInt16 | None, Element("setESHighFreq")] = None
    set_es_high_volt: Annotated[Int16 | None, Element("setESHighVolt")] = None
    set_es_low_freq: Annotated[UInt16 | None, Element("setESLowFreq")] = None
    set_es_low_volt: Annotated[Int16 | None, Element("setESLowVolt")] = None
    set_es_ramp_tms: Annotated[UInt32 | None, Element("setESRampTms")] = None
    set_es_random_delay: Annotated[UInt32 | None, Element("setESRandomDelay")] = None
    set_grad_w: Annotated[UInt16, Element("setGradW")]
    set_max_a: Annotated[CurrentRMS | None, Element("setMaxA")] = None
    set_max_ah: Annotated[AmpereHour | None, Element("setMaxAh")] = None
    set_max_charge_rate_va: Annotated[ApparentPower | None, Element("setMaxChargeRateVA")] = None
    set_max_charge_rate_w: Annotated[ActivePower | None, Element("setMaxChargeRateW")] = None
    set_max_discharge_rate_va: Annotated[ApparentPower | None, Element("setMaxDischargeRateVA")] = None
    set_max_discharge_rate_w: Annotated[ActivePower | None, Element("setMaxDischargeRateW")] = None
    set_max_v: Annotated[VoltageRMS | None, Element("setMaxV")] = None
    set_max_va: Annotated[ApparentPower | None, Element("setMaxVA")] = None
    set_max_var: Annotated[ReactivePower | None, Element("setMaxVar")] = None
    set_max_var_neg: Annotated[ReactivePower | None, Element("setMaxVarNeg")] = None
    set_max_w: Annotated[ActivePower, Element("setMaxW")]
    set_max_wh: Annotated[WattHour | None, Element("setMaxWh")] = None
    set_min_pf_over_excited: Annotated[PowerFactor | None, Element("setMinPFOverExcited")] = None
    set_min_pf_under_excited: Annotated[PowerFactor | None, Element("setMinPFUnderExcited")] = None
    set_min_v: Annotated[VoltageRMS | None, Element("setMinV")] = None
    set_soft_grad_w: Annotated[UInt16 | None, Element("setSoftGradW")] = None
    set_v_nom: Annotated[VoltageRMS | None, Element("setVNom")] = None
    set_v_ref: Annotated[VoltageRMS | None, Element("setVRef")] = None
    set_v_ref_ofs: Annotated[VoltageRMS | None, Element("setVRefOfs")] = None
    updated_time: Annotated[EpochSeconds, Element("updatedTime")]
    doe_modes_enabled: Annotated[Hex8 | None, Element("doeModesEnabled", *_AUS)] = None
    vpp_modes_enabled: Annotated[Hex8 | None, Element("vppModesEnabled", *_AUS_STORAGE)] = None
    set_min_wh: Annotated[WattHour | None, Element("setMinWh", *_AUS_STORAGE)] = None


class ConnectStatusType(Value, frozen=True, kw_only=True):
    """Connection bits and their time: 0 connected, 1 available, 2 operating, 3 test, 4 fault."""

    date_time: Annotated[EpochSeconds, Element("dateTime")]
    value: Annotated[Hex8, Element("value")]


class CodedStatus(Value, frozen=True, kw_only=True):
    """A code and its time; the shape of the inverter's, mode's and storage's status."""

    date_time: Annotated[EpochSeconds, Element("dateTime")]
    value: Annotated[UInt8, Element("value")]


class ManufacturerStatusType(Value, frozen=True, kw_only=True):
    """The maker's own status and its time."""

    date_time: Annotated[EpochSeconds, Element("dateTime")]
    value: Annotated[String6, Element("value")]


class StateOfChargeStatusType(Value, frozen=True, kw_only=True):
    """State of charge in 0.01 % and its time."""

    date_time: Annotated[EpochSeconds, Element("dateTime")]
    value: Annotated[PerCent, Element("value")]


class DERStatus(SubscribableResource, frozen=True, kw_only=True):
    """What a DER is doing."""

    alarm_status: Annotated[Hex32 | None, Element("alarmStatus")] = None
    gen_connect_status: Annotated[ConnectStatusType | None, Element("genConnectStatus")] = None
    inverter_status: Annotated[CodedStatus | None, Element("inverterStatus")] = None
    local_control_mode_status: Annotated[CodedStatus | None, Element("localControlModeStatus")] = None
    manufacturer_status: Annotated[ManufacturerStatusType | None, Element("manufacturerStatus")] = None
    operational_mode_status: Annotated[CodedStatus | None, Element("operationalModeStatus")] = None
    reading_time: Annotated[EpochSeconds, Element("readingTime")]
    state_of_charge_status: Annotated[StateOfChargeStatusType | None, Element("stateOfChargeStatus")] = None
    storage_mode_status: Annotated[CodedStatus | None, Element("storageModeStatus")] = None
    stor_connect_status: Annotated[ConnectStatusType | None, Element("storConnectStatus")] = None


class DERAvailability(SubscribableResource, frozen=True, kw_only=True):
    """What a DER could do: reserves in 0.01 %."""

    availability_duration: Annotated[DurationSeconds | None, Element("availabilityDuration")] = None
    max_charge_duration: Annotated[DurationSeconds | None, Element("maxChargeDuration")] = None
    reading_time: Annotated[EpochSeconds, Element("readingTime")]
    reserve_charge_percent: Annotated[PerCent | None, Element("reserveChargePercent")] = None
    reserve_percent: Annotated[PerCent | None, Element("reservePercent")] = None
    stat_var_avail: Annotated[ReactivePower | None, Element("statVarAvail")] = None
    stat_w_avail: Annotated[ActivePower | None, Element("statWAvail")] = None
