"""What people type."""

import pytest
import typer

from tierline.cli import reading_args


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("6m", 360), ("1h30m", 5400), ("2d", 172_800), ("45", 45), ("-30s", -30), ("1.5h", 5400), ("0", 0)],
)
def test_a_duration_is_read(text, seconds):
    assert reading_args.duration_s(text) == seconds
    assert reading_args.whole_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "6 m", "6x", "6m!", "h6", "--6m", "6m5"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(typer.BadParameter, match="write 90s, 6m, 1h30m or 2d"):
        reading_args.duration_s(text)


@pytest.mark.parametrize("text", ["0.5s", "1.5", "inf", "nan"])
def test_whole_seconds_are_whole(text):
    with pytest.raises(typer.BadParameter):
        reading_args.whole_seconds(text)


def test_a_time_needs_its_zone():
    assert reading_args.instant("2026-06-18T12:00:00Z") == "2026-06-18T12:00:00+00:00"
    assert reading_args.instant("2026-06-18T14:00+02:00") == "2026-06-18T14:00:00+02:00"
    with pytest.raises(typer.BadParameter, match="has no time zone; write 2026-06-18T12:00Z"):
        reading_args.instant("2026-06-18T12:00")
    with pytest.raises(typer.BadParameter, match="is no time"):
        reading_args.instant("noon")


def test_values_are_read(tmp_path):
    (tmp_path / "curve.json").write_text('{"points": [[1, 2]]}')
    found = reading_args.setpoints(
        ["max_lim_w_pct=50", "connect=false", 'fixed_var={"percent": 5}', f"volt_var=@{tmp_path}/curve.json"]
    )
    assert found == {
        "max_lim_w_pct": 50,
        "connect": False,
        "fixed_var": {"percent": 5},
        "volt_var": {"points": [[1, 2]]},
    }


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["a"], "is not function=value"),
        (["=1"], "is not function=value"),
        (["a="], "is not function=value"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=fifty"], "neither a number, true, false, nor JSON"),
        (["a=@none.json"], "none.json cannot be read"),
        (["a=null"], "null is no value"),
    ],
)
def test_what_is_no_value_is_refused(pairs, words):
    with pytest.raises(typer.BadParameter, match=words):
        reading_args.setpoints(pairs)


def test_switch_positions_are_read():
    assert reading_args.positions([34], [107, 2]) == {34: False, 107: True, 2: True}
    with pytest.raises(typer.BadParameter, match="switch 2 cannot be opened and closed"):
        reading_args.positions([2], [2])
