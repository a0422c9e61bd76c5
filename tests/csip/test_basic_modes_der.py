"""BASIC-004 to 014, the DER client under test: each control mode of CSIP's table 9 arrives at the device as it was meant."""

from decimal import Decimal

import pytest
from bench.documents import Assignment, Event, Program, mrid
from bench.modes import RAMPS, ROWS, curves_of, plain

pytestmark = pytest.mark.csip


async def carry_out(der, row):
    """Show an event with a row's modes; hold what the device held against what it must."""
    modes, wanted = ROWS[row]
    async with der.head_end() as server:
        event = Event(mrid("A1"), int(der.now()) + 50, 20, modes)
        program = Program(mrid("5E"), 10, [event], None, curves_of(modes))
        server.devices[0].assignments = [Assignment(mrid("F1"), [program])]
        async with der.following():
            await der.until(lambda: 3 in der.statuses(event.mrid))
            await der.until(lambda: der.device.holds == {})
    assert [plain(values) for _, values in der.device.history if values] == [wanted]
    assert der.statuses(event.mrid) == [1, 2, 3]


async def test_basic_007_der_keeps_to_ramp_rates_of_the_default(der):
    """Ramp rates.

    Stimulus: a default with setGradW and setSoftGradW, then with others.
    Required: the device holds them while nothing else does, at once when they are seen; no Response.
    Clause: CSIP 2.1 P29, table 9, G6, G7; IEEE 2030.5-2018 DefaultDERControl.
    """
    settings, wanted = RAMPS
    async with der.head_end() as server:
        program = Program(mrid("5E"), 10, [], dict(settings))
        server.devices[0].assignments = [Assignment(mrid("F1"), [program])]
        async with der.following():
            await der.until(lambda: der.device.holds)
            program.default["setGradW"] = "50"
            await der.until(lambda: len(der.device.history) == 2)
    assert [values for _, values in der.device.history] == [
        wanted,
        wanted | {"grad_w_pct_per_s": Decimal("0.5")},
    ]
    assert server.responses() == []


async def test_basic_004_der_carries_out_voltage_ride_through_curves(der):
    """Voltage ride-through.

    Stimulus: an event with momentary cessation and must-trip curves for high and low voltage (DERCurveType 4, 5, 9, 10).
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-004")


async def test_basic_005_der_carries_out_frequency_ride_through_curves(der):
    """Frequency ride-through.

    Stimulus: an event with must-trip curves for high and low frequency (DERCurveType 2, 7).
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-005")


async def test_basic_006_der_carries_out_a_volt_var_curve(der):
    """Volt-var.

    Stimulus: an event with a curve of type 11 with its open loop response time.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-006")


async def test_basic_008_der_carries_out_a_fixed_power_factor(der):
    """Fixed power factor.

    Stimulus: an event with a displacement and its excitation while injecting.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-008")


async def test_basic_009_der_carries_out_cease_to_energize(der):
    """Connect and disconnect.

    Stimulus: an event with opModEnergize false.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-009")


async def test_basic_010_der_carries_out_a_limit_of_active_power(der):
    """Limit of active power.

    Stimulus: an event with opModMaxLimW in hundredths of a percent.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-010")


async def test_basic_011_der_carries_out_a_volt_watt_curve(der):
    """Volt-watt.

    Stimulus: an event with a curve of type 12.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-011")


async def test_basic_012_der_carries_out_a_frequency_watt_curve(der):
    """Frequency-watt.

    Stimulus: an event with a curve of type 0.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-012")


async def test_basic_013_der_carries_out_active_power_in_percent(der):
    """Active power in percent.

    Stimulus: an event with opModFixedW, negative: charging.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-013")


async def test_basic_014_der_carries_out_active_power_in_watts(der):
    """Active power in watts.

    Stimulus: an event with opModTargetW with its multiplier.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(der, "BASIC-014")


async def test_basic_012_der_carries_out_a_frequency_droop(der):
    """Frequency-watt, as droop.

    Stimulus: an event with opModFreqDroop: dead bands in mHz, slopes in thousandths, response time in hundredths of a second.
    Required: the device holds exactly that while the event lasts and not after it; 1, 2, 3.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, FreqDroopType.
    """
    await carry_out(der, "BASIC-012 droop")
