from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.protocols.sunspec.device import power_exponent, standard_image


def test_the_image_of_an_inverter_has_models_1_and_701_to_712(kind):
    assert list(standard_image(replace(kind, capacity_wh=Decimal(0))).models) == [1, *range(701, 713)]


def test_a_storage_has_model_713_too(kind):
    image = standard_image(kind)
    assert list(image.models)[-1] == 713
    assert image.block(713).number("WHRtg") == 10000


def test_a_three_phase_inverter_measures_all_its_voltages(kind):
    block = standard_image(replace(kind, phases=3)).block(701)
    assert all(block.has(path) for path in ("VL1", "VL2", "VL3", "VL1L2", "VL2L3", "VL3L1", "LLV"))


@pytest.mark.parametrize("rated", [1, 10, 250, 5000, 21_000, 500_000, 12_000_000])
def test_every_rating_fits_with_the_finest_scale_factor(rated):
    exponent = power_exponent(Decimal(rated))
    raw = Decimal(rated).scaleb(-exponent)
    assert raw * Decimal("1.5") <= 32767
    assert raw * 15 > 32767 or exponent == -3


def test_every_default_curve_would_be_adopted(kind):
    from tierline.protocols.sunspec.inverter import ADOPTIONS, SunSpecInverter, is_valid_curve

    inverter = SunSpecInverter(standard_image(kind))
    for model_id, adoption in ADOPTIONS.items():
        assert is_valid_curve(inverter.active(model_id), adoption)


def test_frequency_droop_and_trips_are_on_and_the_rest_is_off(kind):
    image = standard_image(kind)
    assert {model_id for model_id in range(705, 713) if image.block(model_id).code("Ena") == 1} == {
        707,
        708,
        709,
        710,
        711,
    }
