"""How things are said."""

import pytest

from tierline.cli import wording


@pytest.mark.parametrize(
    ("watts", "said"),
    [(None, "-"), (0, "0 W"), (950.0, "950 W"), (15_000, "15 kW"), (-2_310_000, "-2.31 MW"), (6_357_100, "6.357 MW")],
)
def test_a_power_is_said(watts, said):
    assert wording.power(watts) == said


@pytest.mark.parametrize(("seconds", "said"), [(0, "0s"), (90, "1m30s"), (5400, "1h30m"), (172_801, "2d1s")])
def test_a_duration_is_said_as_it_is_read(seconds, said):
    assert wording.duration(seconds) == said


def test_values_are_said_as_they_are_typed():
    assert wording.setpoints({"a": 50.0, "b": False, "c": {"x": [1]}}) == 'a=50, b=false, c={"x": [1]}'


def test_times_are_said_in_utc():
    assert wording.time("2026-06-18T14:00:00.25+02:00") == "2026-06-18 12:00:00 UTC"
    assert wording.time(None) == "-"
    assert wording.clock("2026-06-18T14:00:00+02:00") == "12:00:00"


def test_a_table_without_rows_says_so(capsys):
    wording.table(("a",), [], none="there is nothing")
    assert capsys.readouterr().out == "there is nothing\n"


def test_a_table_shows_markup_as_it_is(capsys):
    wording.table(("a", "b #"), [("[bold]x[/bold]", None), (["p", "q"], True)], none="")
    said = capsys.readouterr().out
    assert "[bold]x[/bold]" in said
    assert "p, q" in said
    assert "yes" in said
