"""BASIC-004 to 014, the aggregator under test: each control mode of CSIP's table 9 arrives at the devices below it as it was meant."""

import pytest
from bench.documents import Assignment, Program, mrid
from bench.modes import RAMPS, ROWS, curves_of, plain

pytestmark = pytest.mark.csip


async def carry_out(agg, row):
    """Show a default with a row's modes; hold what the devices of both DERs held against what they must."""
    modes, wanted = ROWS[row]
    await show(agg, Program(mrid("5E"), 10, [], modes, curves_of(modes)), wanted)


async def show(agg, program, wanted):
    async with agg.head_end() as server:
        server.poll_s = 900
        for device in server.devices[1:]:
            device.assignments = [Assignment(mrid("F1"), [program])]
        async with agg.aggregating():
            await agg.until(lambda: all(leaf.device.holds for leaf in agg.leaves.values()))
    for leaf in agg.leaves.values():
        assert plain(leaf.device.holds) == wanted


async def test_basic_007_agg_passes_on_ramp_rates_of_the_default(agg):
    """Ramp rates.

    Stimulus: a default with setGradW and setSoftGradW.
    Required: the devices below hold them.
    Clause: CSIP 2.1 P29, table 9, G6, G7; IEEE 2030.5-2018 DefaultDERControl.
    """
    settings, wanted = RAMPS
    await show(agg, Program(mrid("5E"), 10, [], dict(settings)), wanted)


async def test_basic_004_agg_passes_on_voltage_ride_through_curves(agg):
    """Voltage ride-through.

    Stimulus: a default with momentary cessation and must-trip curves for high and low voltage (DERCurveType 4, 5, 9, 10).
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-004")


async def test_basic_005_agg_passes_on_frequency_ride_through_curves(agg):
    """Frequency ride-through.

    Stimulus: a default with must-trip curves for high and low frequency (DERCurveType 2, 7).
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-005")


async def test_basic_006_agg_passes_on_a_volt_var_curve(agg):
    """Volt-var.

    Stimulus: a default with a curve of type 11 with its open loop response time.
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-006")


async def test_basic_008_agg_passes_on_a_fixed_power_factor(agg):
    """Fixed power factor.

    Stimulus: a default with a displacement and its excitation while injecting.
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-008")


async def test_basic_009_agg_passes_on_cease_to_energize(agg):
    """Connect and disconnect.

    Stimulus: a default with opModEnergize false.
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-009")


async def test_basic_010_agg_passes_on_a_limit_of_active_power(agg):
    """Limit of active power.

    Stimulus: a default with opModMaxLimW in hundredths of a percent.
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-010")


async def test_basic_011_agg_passes_on_a_volt_watt_curve(agg):
    """Volt-watt.

    Stimulus: a default with a curve of type 12.
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-011")


async def test_basic_012_agg_passes_on_a_frequency_watt_curve(agg):
    """Frequency-watt.

    Stimulus: a default with a curve of type 0.
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-012")


async def test_basic_013_agg_passes_on_active_power_in_percent(agg):
    """Active power in percent.

    Stimulus: a default with opModFixedW, negative: charging.
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-013")


async def test_basic_014_agg_passes_on_active_power_in_watts(agg):
    """Active power in watts.

    Stimulus: a default with opModTargetW with its multiplier.
    Required: the devices below hold exactly that.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.3, DERControlBase.
    """
    await carry_out(agg, "BASIC-014")
