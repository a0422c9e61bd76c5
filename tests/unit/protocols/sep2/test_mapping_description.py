from decimal import Decimal

import pytest

from tierline.model.errors import PeerError
from tierline.ports import DeviceFacts
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.mapping import description
from tierline.protocols.sep2.resources import der, objects

LFDI = "AB" * 20


def facts(**changes):
    given = {
        "manufacturer": "maker",
        "model": "M" * 40,
        "serial": "1",
        "version": "2",
        "nameplate": {
            "rtg_max_w": Decimal(100_000),
            "rtg_max_va": Decimal(110_000),
            "rtg_max_var": Decimal(48_400),
            "rtg_min_pf_over_excited": Decimal("-0.85"),
            "rtg_v_nom": Decimal("277.1"),
            "rtg_normal_category": 2,
            "unheard_of": 3,
        },
        "settings": {"set_max_w": Decimal(90_000)},
        "functions": frozenset({"max_lim_w_pct", "volt_var", "monitoring"}),
    }
    return DeviceFacts(**{**given, **changes})


def test_the_nameplate_is_written_in_its_units(is_valid):
    wire = description.write_capability(facts(), "/dercap")
    assert (wire.modes_supported, wire.type, wire.rtg_normal_category) == (1 << 20 | 1 << 23, 4, 2)
    assert wire.rtg_max_w == objects.ActivePower(multiplier=1, value=10_000)
    assert wire.rtg_min_pf_over_excited == objects.PowerFactor(displacement=85, multiplier=-2)
    assert wire.rtg_v_nom == objects.VoltageRMS(multiplier=-1, value=2771)
    is_valid(render(wire))


def test_settings_are_the_nameplates_unless_set(is_valid):
    wire = description.write_settings(facts(), 1_700_000_000, "/derg")
    assert wire.set_max_w == objects.ActivePower(multiplier=1, value=9_000)
    assert wire.set_max_va == objects.ApparentPower(multiplier=1, value=11_000)
    assert (wire.modes_enabled, wire.updated_time, wire.set_grad_w) == (1 << 20 | 1 << 23, 1_700_000_000, 0)
    is_valid(render(wire))


@pytest.mark.parametrize("write", [description.write_capability, lambda told: description.write_settings(told, 0)])
def test_a_device_without_an_active_power_rating_cannot_be_described(write):
    with pytest.raises(PeerError, match="states no rtg_max_w"):
        write(facts(nameplate={}))


def test_the_kind_of_the_device_is_said_when_it_is_known():
    nameplate = {"rtg_max_w": Decimal(1), "der_type": 83}
    assert description.write_capability(facts(nameplate=nameplate)).type == 83


def test_the_status_comes_back(is_valid):
    status = {
        "inverter_status": 4,
        "connect_status": 7,
        "operational_mode": 2,
        "local_control_mode": 1,
        "storage_mode": 0,
        "alarm_status": 5,
        "soc_pct": Decimal("99.99"),
    }
    wire = description.write_status(status, 1_700_000_000, "/ders")
    is_valid(render(wire))
    assert wire.state_of_charge_status.value == 9999
    assert (wire.storage_mode_status.value, wire.local_control_mode_status.value) == (0, 1)
    assert description.read_status(parse(render(wire), der.DERStatus)) == {
        "inverter_status": 4,
        "connect_status": 7,
        "operational_mode": 2,
        "alarm_status": 5,
    }


def test_what_is_not_known_is_not_said(is_valid):
    wire = description.write_status({}, 7)
    assert wire == der.DERStatus(reading_time=7)
    assert description.read_status(wire) == {}
    assert description.write_availability({}, 7) == der.DERAvailability(reading_time=7)
    is_valid(render(wire))


def test_what_could_be_done_is_said(is_valid):
    wire = description.write_availability({"stat_w_avail": Decimal(81_000), "stat_var_avail": 400}, 7, "/dera")
    assert wire.stat_w_avail == objects.ActivePower(multiplier=1, value=8_100)
    assert wire.stat_var_avail == objects.ReactivePower(multiplier=0, value=400)
    is_valid(render(wire))


def test_the_makers_data_are_cut_to_their_length(is_valid):
    wire = description.write_device_information(facts(), LFDI, "/di")
    assert (wire.mf_model, wire.lfdi, wire.mf_id, wire.mf_info) == ("M" * 32, LFDI, 0, "maker")
    is_valid(render(wire))
    assert description.write_device_information(facts(manufacturer=""), LFDI).mf_info is None
