import pytest

from tierline.model import functions, points
from tierline.model.functions import ValueType
from tierline.protocols.sunspec import mapping
from tierline.protocols.sunspec.codec import compile_layout
from tierline.protocols.sunspec.definitions import model_definition
from tierline.protocols.sunspec.inverter import ADOPTIONS, REVERSIONS
from tierline.protocols.sunspec.mapping import (
    CurveRow,
    DroopRow,
    FixedVarRow,
    PermissionRow,
    PowerFactorRow,
    ScalarRow,
)

ONE = {"NPt": 1, "NCrv": 2, "NCrvSet": 2, "NCtl": 2, "NPrt": 1}


def layout_of(model_id):
    groups = model_definition(model_id).group.groups
    names = {group.count for group in groups if group.count}
    if names:
        names |= {"NPt"} & {name for group in groups for name in _inner(group)}
    return compile_layout(model_id, {name: ONE[name] for name in names})


def _inner(group):
    for child in group.groups:
        if child.count:
            yield child.count
        yield from _inner(child)


def paths_of(row):
    match row:
        case PermissionRow():
            return [row.path]
        case ScalarRow():
            return [row.path, *filter(None, [row.enable]), *([row.mode[0]] if row.mode else [])]
        case PowerFactorRow():
            return [row.displacement, row.excitation, row.enable]
        case FixedVarRow():
            return [row.path, row.reference, row.enable]
        case CurveRow():
            points_ = [f"Crv[0].{row.part}Pt[0].{axis}" for axis in (row.x, row.y)]
            reference = ["Crv[0].DeptRef"] if row.references else []
            return ["Ena", "AdptCrvReq", "AdptCrvRslt", f"Crv[0].{row.part}ActPt", *points_, *reference]
        case DroopRow():
            return ["Ena", "AdptCtlReq", *(f"Ctl[0].{name}" for name in ("DbOf", "DbUf", "KOf", "KUf", "RspTms"))]


@pytest.mark.parametrize("row", mapping.FUNCTIONS, ids=lambda row: row.name)
def test_every_point_of_a_function_is_published_and_writable(row):
    layout = layout_of(row.model_id)
    for path in paths_of(row):
        assert layout.place(path).point.is_writable or path == "AdptCrvRslt"


@pytest.mark.parametrize("row", mapping.FUNCTIONS, ids=lambda row: row.name)
def test_every_function_is_canonical_and_of_the_kind_of_its_row(row):
    kinds = {
        PermissionRow: ValueType.BOOLEAN,
        ScalarRow: ValueType.NUMBER,
        PowerFactorRow: ValueType.POWER_FACTOR,
        FixedVarRow: ValueType.FIXED_VAR,
        CurveRow: ValueType.CURVE,
        DroopRow: ValueType.DROOP,
    }
    assert functions.FUNCTIONS[row.name].value is kinds[type(row)]


@pytest.mark.parametrize(
    "row", [row for row in mapping.FUNCTIONS if getattr(row, "timer", "")], ids=lambda row: row.name
)
def test_every_reversion_timer_is_published_and_known_to_the_simulated_inverter(row):
    layout = layout_of(row.model_id)
    for path in (f"{row.timer}RvrtTms", f"{row.timer}EnaRvrt", *row.reversion, *row.reversion.values()):
        assert layout.place(path).point.is_writable
    assert not layout.place(f"{row.timer}RvrtRem").point.is_writable
    assert row.reversion.items() <= REVERSIONS[row.timer].items()


def test_a_function_has_one_row():
    names = [row.name for row in mapping.FUNCTIONS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "row", [*mapping.MEASUREMENTS, *mapping.NAMEPLATE, *mapping.SETTINGS], ids=lambda row: f"{row.name}-{row.path}"
)
def test_every_reading_and_rating_is_published_and_canonical(row):
    place = layout_of(row.model_id).place(row.path)
    unit = points.POINTS[row.name].unit
    published = {"Pct": "%", "WH": "Wh", "Var": "var"}.get(place.point.units, place.point.units)
    assert published == ("" if row.name.endswith(("pf", "excited")) else unit.value)


def test_ratings_are_read_only_and_settings_are_not():
    assert not any(layout_of(row.model_id).place(row.path).point.is_writable for row in mapping.NAMEPLATE)
    assert all(layout_of(row.model_id).place(row.path).point.is_writable for row in mapping.SETTINGS)


@pytest.mark.parametrize("row", mapping.ALARMS, ids=lambda row: row.symbol)
def test_every_alarm_has_its_published_bit_and_a_canonical_alarm(row):
    place = compile_layout(mapping.ALARM_MODEL).place(mapping.ALARM_PATH)
    assert place.point.symbols[row.symbol] == row.bit
    assert points.POINTS[row.name].kind is points.PointKind.ALARM


def test_every_published_alarm_is_mapped():
    symbols = compile_layout(mapping.ALARM_MODEL).place(mapping.ALARM_PATH).point.symbols
    assert {row.symbol for row in mapping.ALARMS} == set(symbols)


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("lvrt", "DERTripLV"), ("hvrt", "DERTripHV"), ("lfrt", "DERTripLF"), ("hfrt", "DERTripHF")],
)
def test_high_is_high_and_low_is_low(prefix, name):
    rows = [row for row in mapping.FUNCTIONS if row.name.startswith(prefix)]
    assert rows
    for row in rows:
        assert model_definition(row.model_id).group.name == name
        part = {"must_trip": "MustTrip.", "may_trip": "MayTrip.", "momentary_cessation": "MomCess."}
        assert row.part == part[row.name.removeprefix(f"{prefix}_")]


@pytest.mark.parametrize(("setting", "word"), [("high", "Hi"), ("low", "Lo")])
def test_the_enter_service_window_is_not_swapped(setting, word):
    rows = [row for row in mapping.FUNCTIONS if row.name.startswith(f"es_{setting}_")]
    assert {row.path for row in rows} == {f"ESV{word}", f"ESHz{word}"}


def test_ride_through_curves_have_time_on_the_canonical_x_axis():
    assert {row.x for row in mapping.FUNCTIONS if isinstance(row, CurveRow) and row.part} == {"Tms"}


def test_the_canonical_references_are_those_the_symbols_name():
    words = {"W_MAX_PCT": "SET_MAX_W", "W_AVAL_PCT": "STAT_W_AVAIL", "VAR_MAX_PCT": "SET_MAX_VAR"}
    words |= {"VAR_AVAL_PCT": "STAT_VAR_AVAIL", "VAR_AVAIL_PCT": "STAT_VAR_AVAIL"}
    for row in mapping.FUNCTIONS:
        if isinstance(row, CurveRow | FixedVarRow) and row.references:
            path = row.reference if isinstance(row, FixedVarRow) else "Crv[0].DeptRef"
            symbols = {
                code: words.get(name) for name, code in layout_of(row.model_id).place(path).point.symbols.items()
            }
            assert {reference.name: code for reference, code in row.references.items()} == {
                word: code for code, word in symbols.items() if word
            }


def test_modes_and_excitation_have_the_published_numbers():
    layout = compile_layout(704)
    assert layout.place("WSetMod").point.symbols == {"W_MAX_PCT": 0, "WATTS": 1}
    assert layout.place("VarSetMod").point.symbols["VARS"] == 4
    assert layout.place("PFWInj.Ext").point.symbols == {"OVER_EXCITED": 0, "UNDER_EXCITED": 1}


@pytest.mark.parametrize("model_id", sorted(ADOPTIONS))
def test_adoption_uses_published_points(model_id):
    adoption = ADOPTIONS[model_id]
    layout = layout_of(model_id)
    assert layout.place(adoption.request).point.is_writable
    assert layout.place(adoption.result).point.symbols == {"IN_PROGRESS": 0, "COMPLETED": 1, "FAILED": 2}
    assert layout.place(f"{adoption.group}[1].ReadOnly").point.symbols == {"RW": 0, "R": 1}
    if adoption.axis:
        assert layout.place(f"{adoption.group}[0].Pt[0].{adoption.axis}")
