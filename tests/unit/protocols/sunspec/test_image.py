import math
from decimal import Decimal

import pytest

from tierline.model.errors import ConfigError
from tierline.protocols.sunspec.codec import compile_layout
from tierline.protocols.sunspec.image import RegisterImage
from tierline.protocols.sunspec.modbus import ModbusFault

MODELS = [
    (compile_layout(1), {"Mn": "Acme"}),
    (compile_layout(701), {"W_SF": 1, "V_SF": -1, "Hz_SF": -3, "TotWh_SF": 0}),
]


def image() -> RegisterImage:
    return RegisterImage(MODELS)


def test_a_map_begins_with_the_marker_and_ends_with_the_end_model():
    made = image()
    assert made.read(40000, 4) == b"SunS\0\1\0\x42"
    assert made.read(made.end - 2, 2) == b"\xff\xff\0\0"


def test_models_follow_each_other():
    made = image()
    assert made.models[1].address == 40002
    assert made.models[701].address == made.models[1].end == 40070


@pytest.mark.parametrize(("address", "count"), [(39999, 1), (40000, 126 * 2), (50000, 1)])
def test_registers_outside_the_map_are_refused(address, count):
    with pytest.raises(ModbusFault) as refusal:
        image().read(address, count)
    assert refusal.value.code == 2


def test_values_are_set_by_name():
    made = image()
    made.set_values(701, {"W": Decimal(1230), "InvSt": 3})
    assert made.block(701).number("W") == 1230
    assert made.block(701).code("InvSt") == 3


@pytest.mark.parametrize(
    ("path", "value", "held"),
    [
        ("W", 1234.0, 1230),
        ("W", -1e9, -327670),
        ("W", 1e9, 327670),
        ("LNV", -5.0, 0),
        ("LNV", 1e9, Decimal("6553.4")),
        ("Hz", 60.0104, Decimal("60.010")),
        ("TotWhInj", 1e12, Decimal(10**12)),
        ("W", math.nan, None),
        ("W", None, None),
        ("W", Decimal(10), 10),
    ],
)
def test_a_gauge_shows_its_value_within_the_range_of_its_point(path, value, held):
    made = image()
    made.gauge(701, path).set(value)
    assert made.block(701).number(path) == held


def test_a_model_stands_once_in_a_map():
    with pytest.raises(ConfigError, match="model 1 stands twice"):
        RegisterImage([*MODELS, MODELS[0]])


def test_a_map_must_fit_below_register_65536():
    with pytest.raises(ConfigError, match="65535"):
        RegisterImage(MODELS, base=65400)


def test_the_model_at_an_address_is_found():
    made = image()
    assert made.model_at(40069) is made.models[1]
    assert made.model_at(40070) is made.models[701]
    assert made.model_at(40000) is None
