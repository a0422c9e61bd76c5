import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tierline.scenario
from tierline.model.errors import ConfigError
from tierline.plant.weather import Arrays, Weather, available_w, load_share, sky

TEXT = (Path(tierline.scenario.__file__).parent / "data/greensboro.json").read_text("utf-8")
GREENSBORO = Weather.from_json(TEXT)
HOUR = 3600.0


def one_array(dc_ac_ratio=1.2):
    """One array of 100 kW, tilted 20 degrees to the south, of nominal size."""
    return Arrays.varied(np.array([100e3]), np.full((3, 1), 0.5), dc_ac_ratio=dc_ac_ratio)


def test_the_committed_file_says_where_it_comes_from():
    assert "723170" in GREENSBORO.source
    assert GREENSBORO.licence
    assert {"june-sunny", "june-cloudy", "june-dull", "january-sunny"} == set(GREENSBORO.days)


def test_an_hour_holds_its_mean_in_its_middle():
    day = GREENSBORO.days["june-sunny"]
    assert sky(GREENSBORO, "june-sunny", 11.5 * HOUR).ghi_w_m2 == day.ghi_w_m2[11]
    between = sky(GREENSBORO, "june-sunny", 12.0 * HOUR).ghi_w_m2
    assert between == pytest.approx((day.ghi_w_m2[11] + day.ghi_w_m2[12]) / 2)


def test_midnight_is_continuous():
    before, after = (sky(GREENSBORO, "june-sunny", t).temperature_c for t in (24 * HOUR - 1, 24 * HOUR + 1))
    assert before == pytest.approx(after, abs=0.01)


@pytest.mark.parametrize(("day", "altitude"), [("june-sunny", 90 - 36.1 + 23.2), ("january-sunny", 90 - 36.1 - 18.0)])
def test_the_sun_culminates_in_the_south_as_high_as_latitude_and_season_say(day, altitude):
    suns = np.array([sky(GREENSBORO, day, minute * 60.0).sun for minute in range(24 * 60)])
    highest = suns[suns[:, 2].argmax()]
    assert np.degrees(np.arcsin(highest[2])) == pytest.approx(altitude, abs=0.5)
    assert highest[0] == pytest.approx(0, abs=0.01)
    assert highest[1] < 0
    np.testing.assert_allclose(np.linalg.norm(suns, axis=1), 1.0)


def test_the_sun_is_in_the_east_in_the_morning_and_in_the_west_in_the_afternoon():
    assert sky(GREENSBORO, "june-sunny", 8 * HOUR).sun[0] > 0
    assert sky(GREENSBORO, "june-sunny", 16 * HOUR).sun[0] < 0


def test_the_measured_global_irradiance_is_what_the_sun_position_makes_of_its_parts():
    """An independent check of the sun's height: horizontal = direct x sin(height) + diffuse."""
    for hour in range(9, 16):
        now = sky(GREENSBORO, "june-sunny", (hour + 0.5) * HOUR)
        assert now.dni_w_m2 * now.sun[2] + now.dhi_w_m2 == pytest.approx(now.ghi_w_m2, rel=0.04)


def test_nothing_is_available_at_night():
    assert available_w(sky(GREENSBORO, "june-sunny", 1 * HOUR), one_array())[0] == 0


def test_a_sunny_noon_gives_about_the_rating_and_a_dull_one_far_less():
    sunny = available_w(sky(GREENSBORO, "june-sunny", 12 * HOUR), one_array())[0]
    dull = available_w(sky(GREENSBORO, "june-dull", 12 * HOUR), one_array())[0]
    assert 80e3 < sunny < 100e3
    assert dull < 0.5 * sunny


def test_heat_costs_power():
    cool, hot = sky(GREENSBORO, "january-sunny", 12 * HOUR), sky(GREENSBORO, "june-sunny", 12 * HOUR)
    warmed = replace(cool, temperature_c=hot.temperature_c)
    assert available_w(warmed, one_array())[0] < available_w(cool, one_array())[0]


def test_power_grows_with_the_size_of_the_array():
    now = sky(GREENSBORO, "june-sunny", 10 * HOUR)
    assert available_w(now, one_array(1.4))[0] == pytest.approx(available_w(now, one_array(0.7))[0] * 2)


def test_units_differ_by_their_draws():
    arrays = Arrays.varied(np.full(3, 100e3), np.random.default_rng(1).random((3, 3)), dc_ac_ratio=1.2)
    found = available_w(sky(GREENSBORO, "june-sunny", 9 * HOUR), arrays)
    assert len(set(found.tolist())) == 3
    np.testing.assert_allclose(np.linalg.norm(arrays.normal, axis=1), 1.0)


def test_a_load_profile_is_interpolated_between_the_middles_of_its_hours():
    profile = [0.0] * 12 + [1.0] + [0.0] * 11
    assert load_share(profile, 12.5 * HOUR) == 1.0
    assert load_share(profile, 12.0 * HOUR) == pytest.approx(0.5)


def test_an_unknown_day_is_refused():
    with pytest.raises(ConfigError, match="no day 'may'; it has june-sunny"):
        sky(GREENSBORO, "may", 0.0)


def test_days_of_the_year_are_counted():
    assert GREENSBORO.days["january-sunny"].number == 29
    assert GREENSBORO.days["june-sunny"].number == 181


def changed(**keys):
    return json.dumps(json.loads(TEXT) | keys)


def changed_day(**keys):
    data = json.loads(TEXT)
    data["days"] = {"d": {k: v for k, v in (data["days"]["june-sunny"] | keys).items() if v is not None}}
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", '"format" must be "tierline-weather-1"'),
        ("{}", '"format" must be'),
        (changed(colour=1), "unknown key 'colour'"),
        (changed(place=3), "place must be a text, not 3"),
        (changed(latitude="north"), "latitude must be a number, not 'north'"),
        (changed(days={}), "days must be an object with at least one day"),
        (changed(days={"d": 3}), "day 'd' must be an object"),
        (changed_day(about=None), "day 'd': key 'about' is missing"),
        (changed_day(ghi_w_m2=[1.0]), "ghi_w_m2 must be 24 numbers"),
        (changed_day(month=13), "month 13 and day 30 are no date"),
    ],
)
def test_a_bad_weather_file_is_refused_with_what_and_where(text, message):
    with pytest.raises(ConfigError, match=message):
        Weather.from_json(text)
