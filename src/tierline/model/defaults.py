"""Default values and adjustable ranges of functions and settings, per category, as typed rows with their source.

One row per parameter; `default_for` puts the rows of a function together as a value. A row that is not verified is shown
as such and never written to a device without an operator's confirmation: ask `writable_unasked`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from tierline.model.control import Curve, CurvePoint, Droop, PowerFactor, Reference
from tierline.model.functions import FUNCTIONS, Unit, ValueType
from tierline.model.identity import Mrid


class Profile(StrEnum):
    """A set of defaults; the two differ in the regions of low-voltage ride-through and are never mixed."""

    IEEE1547_2018 = "ieee1547-2018"
    RULE21 = "rule21"


class Category(StrEnum):
    """Performance categories of IEEE 1547-2018: A and B in normal operation, I, II and III in abnormal."""

    A = "A"
    B = "B"
    I = "I"  # noqa: E741  # the standard's own name
    II = "II"
    III = "III"


ALL = frozenset(Category)
"""For rows that are the same for every device."""

Number = Decimal | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRow:
    """The default and range of one parameter of one function or setting."""

    profile: Profile
    function: str
    """Key in `FUNCTIONS`, or of a rating in `model.points.POINTS`."""
    parameter: str
    """Which part of the value; empty where the value is a single number."""
    categories: frozenset[Category]
    value: Number
    low: Decimal | None
    """Lower end of the adjustable range; None: none given, or the note says how it depends on another parameter."""
    high: Decimal | None
    unit: Unit
    clause: str
    """Clause of IEEE 1547-2018, or section of Rule 21."""
    source: str
    """Where the value was read."""
    verified: bool
    """Whether it was read in a source that speaks for the standard; False: recalled, or a model's own value."""
    note: str = ""


DefaultValue = Decimal | bool | Droop | PowerFactor | tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """The default of one function, put together from its rows."""

    function: str
    value: DefaultValue
    parameters: Mapping[str, DefaultRow]
    """All rows of the function, by parameter, those outside the value (`enabled`, `open_loop_s`) included."""

    @property
    def verified(self) -> bool:
        """Whether every row that the value is made of is; a single number has one, other values are judged by all."""
        rows = [self.parameters[""]] if "" in self.parameters else self.parameters.values()
        return all(row.verified for row in rows)

    @property
    def enabled(self) -> bool | None:
        """Whether the function is on by default; None where no source says."""
        row = self.parameters.get("enabled")
        return None if row is None else bool(row.value)


_OPENDER = "EPRI OpenDER fe7877c (BSD-3)"
_OPENDER_MODEL = "EPRI OpenDER fe7877c (BSD-3), a value of its model"
_RECALLED = "recalled, no source seen"
_BORROWED = "taken over from IEEE 1547-2018, no source seen"
_UNVERIFIED = frozenset({_RECALLED, _BORROWED})
_DELTA = "Delta M42U manual, table SA9.1"

_A, _B = frozenset({Category.A}), frozenset({Category.B})
_I, _II, _III = frozenset({Category.I}), frozenset({Category.II}), frozenset({Category.III})
_I_II = _I | _II


def _end(value: str) -> Decimal | None:
    return Decimal(value) if value else None


def _ieee(
    function: str,
    clause: str,
    *rows: tuple[str, frozenset[Category], str | bool, str, str, Unit]
    | tuple[str, frozenset[Category], str | bool, str, str, Unit, str],
    model: bool = False,
) -> tuple[DefaultRow, ...]:
    """Make rows of IEEE 1547-2018: parameter, categories, value, low, high, unit and perhaps a note."""
    return tuple(
        DefaultRow(
            profile=Profile.IEEE1547_2018,
            function=function,
            parameter=row[0],
            categories=row[1],
            value=row[2] if isinstance(row[2], bool) else Decimal(row[2]),
            low=_end(row[3]),
            high=_end(row[4]),
            unit=row[5],
            clause=clause,
            source=_OPENDER_MODEL if model else _OPENDER,
            verified=not model,
            note=row[6] if len(row) == 7 else "",
        )
        for row in rows
    )


def _rule21(
    function: str,
    clause: str,
    source: str,
    *rows: tuple[str, str | bool, str, str, Unit] | tuple[str, str | bool, str, str, Unit, str],
) -> tuple[DefaultRow, ...]:
    """Make rows of Rule 21, which knows no categories: parameter, value, low, high, unit and perhaps a note."""
    return tuple(
        DefaultRow(
            profile=Profile.RULE21,
            function=function,
            parameter=row[0],
            categories=ALL,
            value=row[1] if isinstance(row[1], bool) else Decimal(row[1]),
            low=_end(row[2]),
            high=_end(row[3]),
            unit=row[4],
            clause=clause,
            source=source,
            verified=source not in _UNVERIFIED,
            note=row[5] if len(row) == 6 else "",
        )
        for row in rows
    )


_V, _P, _Q, _S, _HZ, _NO = Unit.PCT_VREF, Unit.PCT_WMAX, Unit.PCT_VA, Unit.S, Unit.HZ, Unit.NONE

_IEEE_FUNCTIONS = (
    *_ieee(
        "volt_var",
        "5.3.3",
        ("v1_pct", _A, "90", "82", "", _V, "high end: v2_pct - 2"),
        ("v1_pct", _B, "92", "82", "", _V, "high end: v2_pct - 2"),
        ("q1_pct", _A, "25", "0", "", _Q, "high end: the capability to inject"),
        ("q1_pct", _B, "44", "0", "", _Q, "high end: the capability to inject"),
        ("v2_pct", _A, "100", "97", "100", _V),
        ("v2_pct", _B, "98", "97", "100", _V),
        ("q2_pct", _A | _B, "0", "", "", _Q),
        ("v3_pct", _A, "100", "100", "103", _V),
        ("v3_pct", _B, "102", "100", "103", _V),
        ("q3_pct", _A | _B, "0", "", "", _Q),
        ("v4_pct", _A, "110", "", "118", _V, "low end: v3_pct + 2"),
        ("v4_pct", _B, "108", "", "118", _V, "low end: v3_pct + 2"),
        ("q4_pct", _A, "-25", "", "0", _Q, "low end: the capability to absorb"),
        ("q4_pct", _B, "-44", "", "0", _Q, "low end: the capability to absorb"),
        ("open_loop_s", _A, "10", "1", "90", _S),
        ("open_loop_s", _B, "5", "1", "90", _S),
        ("v_ref_pct", _A | _B, "100", "95", "105", Unit.PCT, "percent of the nominal voltage"),
        ("autonomous_v_ref", _A | _B, False, "", "", _NO),
        ("autonomous_v_ref_time_constant_s", _A | _B, "300", "300", "5000", _S),
    ),
    *_ieee(
        "watt_var",
        "5.3.4",
        ("p1_pct", _A | _B, "20", "", "", _P, "high end: p2_pct - 10"),
        ("p2_pct", _A | _B, "50", "40", "80", _P),
        ("p3_pct", _A | _B, "100", "", "100", _P, "low end: p2_pct + 10"),
        ("q1_pct", _A | _B, "0", "", "", _Q),
        ("q2_pct", _A | _B, "0", "", "", _Q),
        ("q3_pct", _A, "-25", "", "", _Q),
        ("q3_pct", _B, "-44", "", "", _Q),
        ("p1_load_pct", _A | _B, "-20", "", "", _P),
        ("p2_load_pct", _A | _B, "-50", "-80", "-40", _P),
        ("p3_load_pct", _A | _B, "-100", "-100", "", _P),
        ("q3_load_pct", _A | _B, "44", "", "", _Q, "the capability to inject is that of B in A too"),
    ),
    *(
        row
        for function, clause in (("fixed_pf_inject_w", "5.3.2"), ("fixed_pf_absorb_w", "5.3.2"), ("fixed_var", "5.3.5"))
        for row in (
            *_ieee(function, clause, ("enabled", ALL, False, "", "", _NO)),
            *_ieee(function, clause, ("open_loop_s", ALL, "5", "0", "10", _S), model=True),
        )
    ),
    *_ieee(
        "volt_watt",
        "5.4.2",
        ("enabled", ALL, False, "", "", _NO),
        ("v1_pct", ALL, "106", "105", "109", _V),
        ("p1_pct", ALL, "100", "", "", _P),
        ("v2_pct", ALL, "110", "", "110", _V, "low end: v1_pct + 1"),
        (
            "p2_pct",
            ALL,
            "0",
            "",
            "100",
            _P,
            "the standard says the minimum power, OpenDER 0; low end: the minimum power",
        ),
        ("open_loop_s", ALL, "10", "0.5", "60", _S),
    ),
    *_ieee("es_low_volt_pct", "4.10.2", ("", ALL, "91.7", "88", "95", _V)),
    *_ieee("es_high_volt_pct", "4.10.2", ("", ALL, "105", "105", "106", _V)),
    *_ieee("es_low_freq_hz", "4.10.2", ("", ALL, "59.5", "59.0", "59.9", _HZ)),
    *_ieee("es_high_freq_hz", "4.10.2", ("", ALL, "60.1", "60.1", "61.0", _HZ)),
    *_ieee("es_delay_s", "4.10.3", ("", ALL, "300", "0", "600", _S)),
    *_ieee("es_ramp_s", "4.10.3", ("", ALL, "300", "1", "1000", _S)),
    *_ieee(
        "es_random_delay_s",
        "4.10.3",
        ("", ALL, "0", "1", "1000", _S, "0 is off (OpenDER); only below 500 kVA, and instead of the ramp"),
    ),
    *_ieee(
        "max_lim_w_pct",
        "4.6.2",
        ("", ALL, "100", "0", "100", _P),
        ("enabled", ALL, False, "", "", _NO),
    ),
    *_ieee("max_lim_w_pct", "4.6.2", ("open_loop_s", ALL, "15", "", "30", _S), model=True),
    *_ieee(
        "rtg_max_var",
        "5.2",
        ("", _A | _B, "44", "", "", _Q, "the least capability to inject"),
    ),
    *_ieee(
        "rtg_max_var_neg",
        "5.2",
        ("", _A, "-25", "", "", _Q, "the least capability to absorb"),
        ("", _B, "-44", "", "", _Q, "the least capability to absorb"),
    ),
    *_ieee("mode_transition_s", "4.6.3", ("", ALL, "15", "5", "300", _S), model=True),
    *_ieee("setting_execution_s", "4.6.3", ("", ALL, "0", "0", "30", _S), model=True),
)

_MERGED = "the range is that of all categories together"

_IEEE_RIDE_THROUGH = (
    *_ieee(
        "hvrt_must_trip",
        "6.4.1",
        ("ov2_pct", _I_II | _III, "120", "120", "120", _V, "fixed"),
        ("ov2_s", _I_II | _III, "0.16", "0.16", "0.16", _S, "fixed"),
        ("ov1_pct", _I_II | _III, "110", "110", "120", _V),
        ("ov1_s", _I_II, "2", "1", "13", _S),
        ("ov1_s", _III, "13", "1", "13", _S),
    ),
    *_ieee(
        "lvrt_must_trip",
        "6.4.1",
        ("uv1_pct", _I_II, "70", "0", "88", _V, _MERGED),
        ("uv1_pct", _III, "88", "0", "88", _V, _MERGED),
        ("uv1_s", _I, "2", "2", "50", _S, f"{_MERGED}; recalled for I and II: 2..21"),
        ("uv1_s", _II, "10", "2", "50", _S, f"{_MERGED}; recalled for I and II: 2..21"),
        ("uv1_s", _III, "21", "2", "50", _S, f"{_MERGED}; recalled for III: 21..50"),
        ("uv2_pct", _I_II, "45", "0", "50", _V, _MERGED),
        ("uv2_pct", _III, "50", "0", "50", _V, _MERGED),
        ("uv2_s", _I_II, "0.16", "0.16", "21", _S, f"{_MERGED}; recalled for I and II: 0.16..2"),
        ("uv2_s", _III, "2", "0.16", "21", _S, f"{_MERGED}; recalled for III: 2..21"),
    ),
    *_ieee(
        "hfrt_must_trip",
        "6.5.1",
        ("of2_hz", _I_II | _III, "62.0", "61.8", "66", _HZ),
        ("of2_s", _I_II | _III, "0.16", "0.16", "1000", _S),
        ("of1_hz", _I_II | _III, "61.2", "61.0", "66", _HZ),
        ("of1_s", _I_II | _III, "300", "180", "1000", _S),
    ),
    *_ieee(
        "lfrt_must_trip",
        "6.5.1",
        ("uf1_hz", _I_II | _III, "58.5", "50", "59", _HZ),
        ("uf1_s", _I_II | _III, "300", "180", "1000", _S),
        ("uf2_hz", _I_II | _III, "56.5", "50", "57", _HZ),
        ("uf2_s", _I_II | _III, "0.16", "0.16", "1000", _S),
    ),
    *(
        row
        for function, level in (("hvrt_momentary_cessation", "110"), ("lvrt_momentary_cessation", "50"))
        for row in _ieee(
            function,
            "6.4.2",
            ("enabled", _I_II, False, "", "", _NO),
            ("enabled", _III, True, "", "", _NO),
            ("threshold_pct", _III, level, "", "", _V),
            ("act_s", _III, "0.083", "", "0.083", _S),
            ("restore_s", _III, "0.4", "", "0.4", _S),
        )
    ),
    *_ieee(
        "freq_droop",
        "6.5.2.7",
        ("enabled", _I_II | _III, True, "", "", _NO),
        ("dead_band_over_hz", _I_II | _III, "0.036", "0.017", "1.0", _HZ),
        ("dead_band_under_hz", _I_II | _III, "0.036", "0.017", "1.0", _HZ),
        ("slope_over", _I_II | _III, "0.05", "0.02", "0.05", Unit.PU_PER_PU),
        (
            "slope_under",
            _I_II | _III,
            "0.05",
            "0.02",
            "0.05",
            Unit.PU_PER_PU,
            "OpenDER accepts up to 10, which looks like a typing error",
        ),
        ("open_loop_s", _I_II | _III, "5", "0.2", "10", _S, f"{_MERGED}; recalled for I and II: 1..10"),
    ),
    *_ieee(
        "dynamic_reactive_current",
        "6.4.2.6",
        ("", _III, "2", "2", "6", Unit.PU_PER_PU, "the function is optional"),
    ),
)

_RULE21 = (
    *_rule21(
        "anti_islanding", "Hh", "CPUC page on Rule 21: autonomous, no operating mode", ("enabled", True, "", "", _NO)
    ),
    *_rule21("anti_islanding", "Hh", _RECALLED, ("trip_s", "2", "", "2", _S)),
    *_rule21(
        "hvrt_must_trip",
        "Hh",
        _DELTA,
        ("hv2_pct", "120", "", "", _V),
        ("hv2_s", "0.16", "", "", _S),
        ("hv1_pct", "110", "", "", _V),
        ("hv1_s", "13", "", "", _S),
    ),
    *_rule21(
        "lvrt_must_trip",
        "Hh",
        _DELTA,
        ("lv1_pct", "88", "", "", _V),
        ("lv1_s", "21", "", "", _S),
        ("lv2_pct", "70", "", "", _V),
        ("lv2_s", "11", "", "", _S),
        ("lv3_pct", "50", "", "", _V),
        ("lv3_s", "1.5", "", "", _S),
    ),
    *(
        row
        for function, level in (("hvrt_momentary_cessation", "110"), ("lvrt_momentary_cessation", "50"))
        for row in _rule21(
            function,
            "Hh",
            _DELTA,
            ("enabled", True, "", "", _NO),
            ("threshold_pct", level, "", "", _V),
            ("act_s", "0.16", "", "0.16", _S, "cease without tripping"),
        )
    ),
    *_rule21(
        "hfrt_must_trip",
        "Hh",
        _RECALLED,
        ("hf2_hz", "62.0", "", "", _HZ),
        ("hf2_s", "0.16", "", "", _S),
        ("hf1_hz", "60.5", "", "", _HZ),
        ("hf1_s", "300", "", "", _S),
    ),
    *_rule21(
        "lfrt_must_trip",
        "Hh",
        _RECALLED,
        ("lf1_hz", "58.5", "", "", _HZ),
        ("lf1_s", "300", "", "", _S),
        ("lf2_hz", "57.0", "", "", _HZ),
        ("lf2_s", "0.16", "", "", _S),
    ),
    *_rule21(
        "hvrt_may_trip",
        "Hh",
        _DELTA,
        ("hv2_pct", "120", "", "", _V),
        ("hv2_s", "0", "", "", _S, "no ride-through is asked"),
        ("hv1_pct", "110", "", "", _V),
        ("hv1_s", "12", "", "", _S, "momentary cessation while it rides"),
    ),
    *_rule21(
        "lvrt_may_trip",
        "Hh",
        _DELTA,
        ("lv1_pct", "88", "", "", _V),
        ("lv1_s", "20", "", "", _S, "mandatory operation while it rides"),
        ("lv2_pct", "70", "", "", _V),
        ("lv2_s", "10", "", "", _S, "mandatory operation while it rides"),
        ("lv3_pct", "50", "", "", _V),
        ("lv3_s", "1", "", "", _S, "momentary cessation while it rides"),
    ),
    *_rule21(
        "hfrt_may_trip",
        "Hh",
        _RECALLED,
        ("hf2_hz", "62.0", "", "", _HZ),
        ("hf2_s", "0", "", "", _S, "no ride-through is asked"),
        ("hf1_hz", "60.5", "", "", _HZ),
        ("hf1_s", "299", "", "", _S),
    ),
    *_rule21(
        "lfrt_may_trip",
        "Hh",
        _RECALLED,
        ("lf1_hz", "58.5", "", "", _HZ),
        ("lf1_s", "299", "", "", _S),
        ("lf2_hz", "57.0", "", "", _HZ),
        ("lf2_s", "0", "", "", _S, "no ride-through is asked"),
    ),
    *_rule21(
        "volt_var",
        "Hh",
        _RECALLED,
        ("v1_pct", "92.0", "", "", _V),
        ("q1_pct", "30", "", "", _Q, "what the percentage refers to is not settled"),
        ("v2_pct", "96.7", "", "", _V),
        ("q2_pct", "0", "", "", _Q),
        ("v3_pct", "103.3", "", "", _V),
        ("q3_pct", "0", "", "", _Q),
        ("v4_pct", "107.0", "", "", _V),
        ("q4_pct", "-30", "", "", _Q, "what the percentage refers to is not settled"),
    ),
    *_rule21(
        "volt_var",
        "Hh",
        "Res. E-4920, by public notes of Enphase and SMA",
        ("reactive_power_priority", True, "", "", _NO, "since 2018-07-26"),
    ),
    *_rule21(
        "grad_w_pct_per_s",
        "Hh",
        _RECALLED,
        ("", "100", "1", "100", Unit.PCT_WMAX_PER_S, "the tariff speaks of the maximum current"),
    ),
    *_rule21(
        "soft_grad_w_pct_per_s",
        "Hh",
        _RECALLED,
        ("", "2", "1", "100", Unit.PCT_WMAX_PER_S, "the tariff speaks of the maximum current"),
    ),
    *(
        row
        for function in ("fixed_pf_inject_w", "fixed_pf_absorb_w")
        for row in _rule21(
            function,
            "Hh",
            _RECALLED,
            ("displacement", "1.0", "0.85", "1.0", Unit.PF, "capability 0.85 above 15 kW, 0.90 up to 15 kW, both ways"),
        )
    ),
    *_rule21("es_delay_s", "Hh", _RECALLED, ("", "15", "", "", _S, "after voltage and frequency are normal")),
    *_rule21("es_random_delay_s", "Hh", _RECALLED, ("", "15", "", "15", _S, "or a ramp instead")),
    *_rule21("freq_droop", "Hh", "Res. E-4898: mandatory activation", ("enabled", True, "", "", _NO)),
    *_rule21(
        "freq_droop",
        "Hh",
        _RECALLED,
        ("dead_band_over_hz", "0.036", "", "", _HZ),
        ("dead_band_under_hz", "0.036", "", "", _HZ),
        ("slope_over", "0.05", "", "", Unit.PU_PER_PU),
        ("slope_under", "0.05", "", "", Unit.PU_PER_PU),
    ),
    *_rule21("freq_droop", "Hh", _BORROWED, ("open_loop_s", "5", "", "", _S)),
    *_rule21("volt_watt", "Hh", "Res. E-4898: mandatory activation", ("enabled", True, "", "", _NO)),
    *_rule21(
        "volt_watt",
        "Hh",
        "CSIP 2.1, example 7.4",
        ("v1_pct", "106", "", "", _V),
        ("p1_pct", "100", "", "", _P),
        ("v2_pct", "110", "", "", _V),
        ("p2_pct", "0", "", "", _P),
    ),
)

DEFAULTS: tuple[DefaultRow, ...] = (*_IEEE_FUNCTIONS, *_IEEE_RIDE_THROUGH, *_RULE21)
"""Every default, one parameter a row."""

_FOUR = (("v1_pct", "q1_pct"), ("v2_pct", "q2_pct"), ("v3_pct", "q3_pct"), ("v4_pct", "q4_pct"))
_TWO = (("v1_pct", "p1_pct"), ("v2_pct", "p2_pct"))
_CESSATION = (("act_s", "threshold_pct"),)

# A trip curve is drawn as steps in (time, level): a trip setting's level holds from its time to the next setting's time.
POINT_PARAMETERS: Mapping[tuple[Profile, str], tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        (Profile.IEEE1547_2018, "volt_var"): _FOUR,
        (Profile.IEEE1547_2018, "volt_watt"): _TWO,
        (Profile.IEEE1547_2018, "watt_var"): (
            ("p3_load_pct", "q3_load_pct"),
            ("p2_load_pct", "q2_pct"),
            ("p1_load_pct", "q1_pct"),
            ("p1_pct", "q1_pct"),
            ("p2_pct", "q2_pct"),
            ("p3_pct", "q3_pct"),
        ),
        (Profile.IEEE1547_2018, "hvrt_must_trip"): (("ov2_s", "ov2_pct"), ("ov1_s", "ov2_pct"), ("ov1_s", "ov1_pct")),
        (Profile.IEEE1547_2018, "lvrt_must_trip"): (("uv2_s", "uv2_pct"), ("uv1_s", "uv2_pct"), ("uv1_s", "uv1_pct")),
        (Profile.IEEE1547_2018, "hfrt_must_trip"): (("of2_s", "of2_hz"), ("of1_s", "of2_hz"), ("of1_s", "of1_hz")),
        (Profile.IEEE1547_2018, "lfrt_must_trip"): (("uf2_s", "uf2_hz"), ("uf1_s", "uf2_hz"), ("uf1_s", "uf1_hz")),
        (Profile.IEEE1547_2018, "hvrt_momentary_cessation"): _CESSATION,
        (Profile.IEEE1547_2018, "lvrt_momentary_cessation"): _CESSATION,
        (Profile.RULE21, "volt_var"): _FOUR,
        (Profile.RULE21, "volt_watt"): _TWO,
        **{
            (Profile.RULE21, f"{function}_{zone}_trip"): points
            for zone in ("must", "may")
            for function, points in (
                ("hvrt", (("hv2_s", "hv2_pct"), ("hv1_s", "hv2_pct"), ("hv1_s", "hv1_pct"))),
                (
                    "lvrt",
                    (
                        ("lv3_s", "lv3_pct"),
                        ("lv2_s", "lv3_pct"),
                        ("lv2_s", "lv2_pct"),
                        ("lv1_s", "lv2_pct"),
                        ("lv1_s", "lv1_pct"),
                    ),
                ),
                ("hfrt", (("hf2_s", "hf2_hz"), ("hf1_s", "hf2_hz"), ("hf1_s", "hf1_hz"))),
                ("lfrt", (("lf2_s", "lf2_hz"), ("lf1_s", "lf2_hz"), ("lf1_s", "lf1_hz"))),
            )
        },
        (Profile.RULE21, "hvrt_momentary_cessation"): _CESSATION,
        (Profile.RULE21, "lvrt_momentary_cessation"): _CESSATION,
    }
)
"""Which parameters are the x and y of a curve's points, in order."""


def writable_unasked(row: DefaultRow | Default) -> bool:
    """Say whether it may be written to a device without an operator's confirmation."""
    return row.verified


def parameters_for(
    function: str, category: Category, *, profile: Profile = Profile.IEEE1547_2018
) -> Mapping[str, DefaultRow]:
    """Collect the rows of a function for one category, by parameter."""
    return MappingProxyType(
        {
            row.parameter: row
            for row in DEFAULTS
            if row.profile is profile and row.function == function and category in row.categories
        }
    )


def default_for(function: str, category: Category, *, profile: Profile = Profile.IEEE1547_2018) -> Default | None:
    """Put a function's default together; None where there is none, or where the function is only said to be off.

    The category is the normal one (A, B) for functions of normal operation, the abnormal one (I, II, III) for
    ride-through, trip and droop; enter-service rows hold for all.
    """
    rows = parameters_for(function, category, profile=profile)
    value = _value(function, profile, rows)
    return None if value is None else Default(function=function, value=value, parameters=rows)


def curve_of(
    default: Default, mrid: Mrid, *, y_reference: Reference = Reference.NONE, y_scale: Decimal = Decimal(1)
) -> Curve:
    """Make a curve of a default that has points.

    Reactive power stands in the rows in percent of the apparent power rating, for which IEEE 2030.5 has no reference:
    `y_scale` = rating in VA / set_max_var brings it to `Reference.SET_MAX_VAR`.

    Raises: TypeError when the default has no points.
    """
    if not isinstance(default.value, tuple):
        raise TypeError(f"the default of {default.function} is no curve: {default.value}")
    rows = default.parameters
    autonomous = rows.get("autonomous_v_ref")
    return Curve(
        mrid=mrid,
        points=tuple(CurvePoint(x=point.x, y=point.y * y_scale) for point in default.value),
        y_reference=y_reference,
        open_loop_s=_decimal(rows, "open_loop_s"),
        v_ref_pct=_decimal(rows, "v_ref_pct"),
        autonomous_v_ref=autonomous is not None and bool(autonomous.value),
        autonomous_v_ref_time_constant_s=_decimal(rows, "autonomous_v_ref_time_constant_s"),
    )


def _value(function: str, profile: Profile, rows: Mapping[str, DefaultRow]) -> DefaultValue | None:
    single = rows.get("")
    if single is not None:
        return single.value
    points = POINT_PARAMETERS.get((profile, function), ())
    if points and all(x in rows and y in rows for x, y in points):
        return tuple(CurvePoint(x=Decimal(rows[x].value), y=Decimal(rows[y].value)) for x, y in points)
    if "dead_band_over_hz" in rows:
        return Droop(
            dead_band_over_hz=Decimal(rows["dead_band_over_hz"].value),
            dead_band_under_hz=Decimal(rows["dead_band_under_hz"].value),
            slope_over=Decimal(rows["slope_over"].value),
            slope_under=Decimal(rows["slope_under"].value),
            open_loop_s=Decimal(rows["open_loop_s"].value),
        )
    if "displacement" in rows:
        # at the default of 1 it neither injects nor absorbs
        return PowerFactor(displacement=Decimal(rows["displacement"].value), absorbing=False)
    known = FUNCTIONS.get(function)
    if known is not None and known.value is ValueType.BOOLEAN and "enabled" in rows:
        return rows["enabled"].value
    return None


def _decimal(rows: Mapping[str, DefaultRow], parameter: str) -> Decimal | None:
    row = rows.get(parameter)
    return None if row is None else Decimal(row.value)
