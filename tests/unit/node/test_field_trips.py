from decimal import Decimal

import numpy as np
import pytest

from tierline.node.field_trips import may_be_adopted, take_over
from tierline.plant.service import LEVELS, ServiceSettings, Side

CATEGORY_III = ((50, 2), (50, 21), (88, 21))


def values_of(*, must=(), may=(), cease=(), quantity="V"):
    found = {}
    for part, points in (("MustTrip", must), ("MayTrip", may), ("MomCess", cease)):
        found[f"{part}.ActPt"] = len(points)
        for number, (level, after_s) in enumerate(points):
            found[f"{part}.Pt[{number}].{quantity}"] = Decimal(str(level))
            found[f"{part}.Pt[{number}].Tms"] = Decimal(str(after_s))
    return found


def rows(settings, side):
    first = LEVELS * side
    return [
        (float(settings.trip_at[k, 0]), float(settings.trip_after_s[k, 0]))
        for k in range(first, first + LEVELS)
        if np.isfinite(settings.trip_at[k, 0])
    ]


@pytest.mark.parametrize(
    ("model_id", "side", "must", "levels"),
    [
        (707, Side.UNDER_VOLTAGE, CATEGORY_III, [(0.5, 2), (0.88, 21)]),
        (707, Side.UNDER_VOLTAGE, CATEGORY_III[::-1], [(0.5, 2), (0.88, 21)]),
        (707, Side.UNDER_VOLTAGE, ((88, 5),), [(0.88, 5)]),
        (708, Side.OVER_VOLTAGE, ((120, 0.16), (120, 13), (110, 13)), [(1.2, 0.16), (1.1, 13)]),
        (709, Side.UNDER_FREQUENCY, ((56.5, 0.16), (56.5, 300), (58.5, 300)), [(56.5, 0.16), (58.5, 300)]),
        (710, Side.OVER_FREQUENCY, ((62, 0.16), (62, 300), (61.2, 300)), [(62, 0.16), (61.2, 300)]),
    ],
)
def test_steps_become_trip_levels(model_id, side, must, levels):
    quantity = "V" if model_id in {707, 708} else "Hz"
    values = values_of(must=must, quantity=quantity)
    assert may_be_adopted(model_id, values)
    settings = ServiceSettings.defaults(2)
    others = {each: rows(settings, each) for each in Side if each is not side}
    take_over(settings, 0, model_id, values)
    np.testing.assert_allclose(rows(settings, side), levels)
    assert {each: rows(settings, each) for each in others} == others


def test_each_model_ceases_on_its_own_side_and_an_empty_curve_never():
    settings = ServiceSettings.defaults(1)
    take_over(settings, 0, 707, values_of(must=CATEGORY_III, cease=((45, 3),)))
    assert (settings.mc_v_lo_pu[0], settings.mc_lo_after_s[0]) == (0.45, 3)
    assert settings.mc_v_hi_pu[0] == 1.1
    take_over(settings, 0, 708, values_of(must=((120, 1),), cease=((112, 4),)))
    assert (settings.mc_v_hi_pu[0], settings.mc_hi_after_s[0]) == (pytest.approx(1.12), 4)
    take_over(settings, 0, 707, values_of(must=CATEGORY_III))
    take_over(settings, 0, 708, values_of(must=((120, 1),)))
    assert (settings.mc_v_lo_pu[0], settings.mc_v_hi_pu[0]) == (-np.inf, np.inf)


def test_frequency_has_no_cessation_to_take_over():
    settings = ServiceSettings.defaults(1)
    values = values_of(must=((57, 1),), quantity="Hz")
    values["MomCess.ActPt"] = None  # not implemented
    assert may_be_adopted(709, values)
    take_over(settings, 0, 709, values)
    assert settings.mc_v_lo_pu[0] == 0.5


@pytest.mark.parametrize(
    ("must", "may", "cease"),
    [
        ((), (), ()),
        (((50, 2), (88, 21)), (), ()),
        (((88, 2), (88, 21), (50, 21)), (), ()),
        (((50, 2), (50, 21), (60, 21), (60, 30), (70, 30), (70, 40), (88, 40)), (), ()),
        (CATEGORY_III, ((50, 3), (50, 20), (88, 20)), ()),
        (CATEGORY_III, ((40, 1),), ()),
        (CATEGORY_III, ((40, 1), (60, 2)), ()),
        (CATEGORY_III, (), ((40, 1), (60, 2))),
        (CATEGORY_III, (), ((40, 1), (40, 2), (60, 2))),
    ],
    ids=[
        "no must-trip curve",
        "a slope",
        "towards normal first",
        "four levels",
        "trips before it may",
        "trips where it may not",
        "may-trip with a slope",
        "cessation with a slope",
        "two levels of cessation",
    ],
)
def test_what_the_plant_cannot_do_is_not_adopted(must, may, cease):
    assert not may_be_adopted(707, values_of(must=must, may=may, cease=cease))


def test_a_must_trip_curve_that_keeps_clear_of_may_trip_is_adopted():
    may = ((50, 1), (50, 20), (88, 20))
    assert may_be_adopted(707, values_of(must=CATEGORY_III, may=may, cease=((50, "0.083"),)))
