"""The control modes of BASIC-004 to 014 as they go over the wire, and what a device must hold then, worked out by hand."""

from decimal import Decimal

from bench.documents import Curve, mrid

D = Decimal


def curve(number, kind, points, **more):
    return Curve(mrid(f"CC{number}"), kind, points, **more)


TRIP = {"x_multiplier": -2, "y_ref_type": 4}
ROWS = {
    # ride-through curves: seconds and percent of the effective voltage
    "BASIC-004": (
        {
            "opModHVRTMomentaryCessation": curve(1, 4, [(0, 110), (1300, 110)], **TRIP),
            "opModHVRTMustTrip": curve(2, 5, [(16, 120), (1300, 110)], **TRIP),
            "opModLVRTMomentaryCessation": curve(3, 9, [(0, 50), (1000, 50)], **TRIP),
            "opModLVRTMustTrip": curve(4, 10, [(200, 45), (1000, 70)], **TRIP),
        },
        {
            "hvrt_momentary_cessation": ([(D(0), D(110)), (D(13), D(110))], None),
            "hvrt_must_trip": ([(D("0.16"), D(120)), (D(13), D(110))], None),
            "lvrt_momentary_cessation": ([(D(0), D(50)), (D(10), D(50))], None),
            "lvrt_must_trip": ([(D(2), D(45)), (D(10), D(70))], None),
        },
    ),
    "BASIC-005": (
        {
            "opModHFRTMustTrip": curve(1, 2, [(16, 620), (30000, 612)], x_multiplier=-2, y_multiplier=-1),
            "opModLFRTMustTrip": curve(2, 7, [(16, 565), (30000, 585)], x_multiplier=-2, y_multiplier=-1),
        },
        {
            "hfrt_must_trip": ([(D("0.16"), D(62)), (D(300), D("61.2"))], None),
            "lfrt_must_trip": ([(D("0.16"), D("56.5")), (D(300), D("58.5"))], None),
        },
    ),
    "BASIC-006": (
        {"opModVoltVar": curve(1, 11, [(92, 44), (98, 0), (102, 0), (108, -44)], open_loop_tms=500, y_ref_type=3)},
        {"volt_var": ([(D(92), D(44)), (D(98), D(0)), (D(102), D(0)), (D(108), D(-44))], D(5))},
    ),
    "BASIC-008": (
        {
            "opModFixedPFInjectW": "<displacement>950</displacement><excitation>true</excitation>"
            "<multiplier>-3</multiplier>"
        },
        {"fixed_pf_inject_w": (D("0.95"), True)},
    ),
    "BASIC-009": ({"opModEnergize": "false"}, {"energize": False}),
    "BASIC-010": ({"opModMaxLimW": "4321"}, {"max_lim_w_pct": D("43.21")}),
    "BASIC-011": (
        {"opModVoltWatt": curve(1, 12, [(106, 100), (110, 20)], open_loop_tms=1000, y_ref_type=1)},
        {"volt_watt": ([(D(106), D(100)), (D(110), D(20))], D(10))},
    ),
    "BASIC-012": (
        {
            "opModFreqWatt": curve(1, 0, [(600, 100), (610, 50), (620, 0)], x_multiplier=-1, y_ref_type=1),
        },
        {"freq_watt": ([(D(60), D(100)), (D(61), D(50)), (D(62), D(0))], None)},
    ),
    "BASIC-012 droop": (
        {
            "opModFreqDroop": "<dBOF>36</dBOF><dBUF>17</dBUF><kOF>50</kOF><kUF>40</kUF><openLoopTms>500</openLoopTms>",
        },
        {"freq_droop": (D("0.036"), D("0.017"), D("0.05"), D("0.04"), D(5))},
    ),
    "BASIC-013": ({"opModFixedW": "-2500"}, {"fixed_w_pct": D(-25)}),
    "BASIC-014": (
        {"opModTargetW": "<multiplier>2</multiplier><value>35</value>"},
        {"target_w": D(3500)},
    ),
}
"""Row to the elements of the base, and what the device holds: plain values, curves as (points, open loop in s)."""

RAMPS = ({"setGradW": "27", "setSoftGradW": "13"}, {"grad_w_pct_per_s": D("0.27"), "soft_grad_w_pct_per_s": D("0.13")})
"""BASIC-007: in a default only, beside its base."""


def plain(values):
    """Write what a device holds as the rows do."""
    return {name: _plain(value) for name, value in values.items()}


def _plain(value):
    if hasattr(value, "points"):
        return [(point.x, point.y) for point in value.points], value.open_loop_s
    if hasattr(value, "displacement"):
        return value.displacement, value.absorbing
    if hasattr(value, "slope_over"):
        names = ("dead_band_over_hz", "dead_band_under_hz", "slope_over", "slope_under", "open_loop_s")
        return tuple(getattr(value, name) for name in names)
    return value


def curves_of(modes):
    return [value for value in modes.values() if isinstance(value, Curve)]
