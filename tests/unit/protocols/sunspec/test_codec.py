import itertools
import struct
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.model.errors import PeerError, Unsupported
from tierline.protocols.sunspec.codec import (
    _RANGES,
    _SENTINELS,
    Block,
    Layout,
    Place,
    compile_layout,
    counts_of,
    encode_point,
    fixed_length,
)
from tierline.protocols.sunspec.definitions import PointDefinition, PointType, model_definition

COUNTS = {
    705: {"NPt": 4, "NCrv": 3},
    706: {"NPt": 2, "NCrv": 2},
    707: {"NPt": 3, "NCrvSet": 2},
    708: {"NPt": 5, "NCrvSet": 3},
    709: {"NPt": 3, "NCrvSet": 2},
    710: {"NPt": 3, "NCrvSet": 2},
    711: {"NCtl": 3},
    712: {"NPt": 6, "NCrv": 3},
    714: {"NPrt": 2},
}
MODELS = (1, *range(701, 716))


def layout_of(model_id: int) -> Layout:
    return compile_layout(model_id, COUNTS.get(model_id))


def raw_value(place: Place, draw):
    kind = place.point.type
    if kind is PointType.STRING:
        text = draw(st.text(st.characters(min_codepoint=1, max_codepoint=0x7E), max_size=2 * place.size))
        return text or None
    low, high = _RANGES[kind]
    value = draw(st.integers(low, high))
    return None if value == _SENTINELS[kind] and kind is not PointType.PAD else value


@st.composite
def model_values(draw, layout: Layout):
    exponents = {
        place.path: draw(st.none() | st.integers(-10, 10))
        for place in layout.places
        if place.point.type is PointType.SUNSSF
    }
    values = dict(exponents)
    fixed = {"ID", "L", *layout.counts}
    for place in layout.places:
        if place.path in fixed or place.path in exponents:
            continue
        raw = raw_value(place, draw)
        if place.scale is not None and raw is not None:
            values[place.path] = Decimal(raw).scaleb(exponents[place.scale] or 0)
        else:
            values[place.path] = raw
    return values


@pytest.mark.parametrize("model_id", MODELS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_every_value_of_a_model_survives_the_registers(model_id, data):
    layout = layout_of(model_id)
    values = data.draw(model_values(layout))
    decoded = layout.decode(layout.encode(values)).values()
    assert {path: decoded[path] for path in values} == values
    assert decoded["ID"] == model_id
    assert decoded["L"] == layout.length - 2


@pytest.mark.parametrize("model_id", MODELS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_every_register_pattern_is_decoded_or_refused_as_the_peers_fault(model_id, data):
    layout = layout_of(model_id)
    block = layout.decode(data.draw(st.binary(min_size=2 * layout.length, max_size=2 * layout.length)))
    for place in layout.places:
        try:
            block.value(place.path)
        except PeerError:
            continue


@pytest.mark.parametrize("model_id", MODELS)
def test_the_counts_of_a_model_are_found_on_the_device(model_id):
    layout = layout_of(model_id)
    fixed = layout.blank[: 2 * fixed_length(model_id)]
    assert counts_of(model_id, fixed, layout.length - 2) == COUNTS.get(model_id, {})


@pytest.mark.parametrize("model_id", MODELS)
def test_a_blank_model_implements_nothing_but_its_header(model_id):
    layout = layout_of(model_id)
    block = layout.decode(layout.blank)
    implemented = {place.path for place in layout.places if block.has(place.path)}
    assert implemented - {"Pad"} == {"ID", "L", *layout.counts}


def test_points_are_addressed_by_name_through_nested_groups():
    place = layout_of(705).place("Crv[1].Pt[0].V")
    assert (place.offset, place.size, place.point.type, place.scale) == (43 + 0, 1, PointType.UINT16, "V_SF")
    trip = layout_of(707)
    assert trip.place("Crv[0].MayTrip.Pt[0].Tms").offset == trip.place("Crv[0].MustTrip.Pt[2].Tms").end + 2


def test_the_model_701_of_the_publication_has_153_registers_in_its_body():
    assert compile_layout(701).length == 155


def test_a_model_without_its_counts_is_refused():
    with pytest.raises(Unsupported, match="NCrv"):
        compile_layout(705, {"NPt": 4})


def test_a_model_that_is_not_published_is_refused():
    with pytest.raises(Unsupported, match="999"):
        compile_layout(999)


def test_a_repeating_group_without_count_takes_the_rest_of_the_model():
    open_ended = 160
    group = next(group for group in model_definition(open_ended).group.groups if group.count == 0)
    layout = compile_layout(open_ended, {group.name: 3})
    assert counts_of(open_ended, layout.blank, layout.length - 2)[group.name] == 3


def test_counts_that_need_more_than_the_models_length_are_the_peers_fault():
    layout = layout_of(705)
    with pytest.raises(PeerError, match=r"705\.L"):
        counts_of(705, layout.blank, layout.length - 3)


def test_a_count_that_is_not_implemented_is_none_at_all():
    layout = layout_of(705)
    data = bytearray(layout.blank)
    offset = 2 * layout.place("NCrv").offset
    data[offset : offset + 2] = b"\xff\xff"
    assert counts_of(705, bytes(data), layout.length - 2)["NCrv"] == 0


def test_a_model_that_ends_early_reads_as_not_implemented_behind_its_end():
    layout = compile_layout(701)
    short = layout.encode({"W": Decimal(5), "MnAlrmInfo": "hot"})[: 2 * 100]
    block = layout.decode(short)
    assert block.number("W") == 5
    assert block.text("MnAlrmInfo") is None


def test_a_scale_factor_outside_its_range_makes_its_points_unreadable():
    layout = compile_layout(701)
    data = bytearray(layout.encode({"W": Decimal(5), "W_SF": 0}))
    data[2 * layout.place("W_SF").offset : 2 * layout.place("W_SF").end] = struct.pack(">h", 11)
    with pytest.raises(PeerError, match=r"701\.W_SF.*11"):
        layout.decode(bytes(data)).value("W")


def test_a_point_without_its_scale_factor_is_not_scaled():
    block = compile_layout(701).decode(compile_layout(701).encode({"W": Decimal(5)}))
    assert block.number("W") == 5
    assert block.resolution("W") == 1


def test_a_limit_is_rounded_down_when_asked():
    layout = compile_layout(704)
    scales = layout.decode(layout.encode({"WMaxLimPct_SF": 0}))
    (nearest,) = layout.encode_runs({"WMaxLimPct": Decimal("33.6")}, scales)
    (down,) = layout.encode_runs({"WMaxLimPct": Decimal("33.6")}, scales, rounding=ROUND_DOWN)
    assert (nearest.data, down.data) == (b"\0\x22", b"\0\x21")


def test_points_that_touch_are_written_as_one_run():
    layout = layout_of(705)
    scales = layout.decode(layout.encode({"V_SF": -1, "DeptRef_SF": -1}))
    runs = layout.encode_runs(
        {"Crv[1].Pt[1].V": Decimal(2), "Crv[1].Pt[0].V": Decimal(1), "Crv[1].Pt[0].Var": Decimal(-1), "Ena": 1}, scales
    )
    assert [(run.offset, run.count) for run in runs] == [(2, 1), (43, 3)]
    assert runs[1].data == struct.pack(">HhH", 10, -10, 20)


@pytest.mark.parametrize(
    ("path", "value"),
    [("W", Decimal(32768)), ("W", Decimal(-32768)), ("LNV", Decimal(-1)), ("LNV", Decimal(65535)), ("W", "much")],
)
def test_a_value_that_does_not_fit_is_refused(path, value):
    with pytest.raises(Unsupported, match=path):
        compile_layout(701).encode({path: value})


def test_a_text_that_does_not_fit_is_refused():
    with pytest.raises(Unsupported, match="Mn"):
        compile_layout(1).encode({"Mn": "x" * 33})
    with pytest.raises(Unsupported, match="Mn"):
        compile_layout(1).encode({"Mn": "a\0b"})


def test_a_text_that_is_not_text_is_the_peers_fault():
    layout = compile_layout(1)
    data = bytearray(layout.blank)
    data[4:6] = b"\xff\xfe"
    with pytest.raises(PeerError, match=r"1\.Mn"):
        layout.decode(bytes(data)).text("Mn")


def test_an_unknown_point_is_our_own_mistake():
    with pytest.raises(KeyError):
        compile_layout(1).encode({"Nonsense": 1})


def test_a_text_is_not_a_code_nor_a_number():
    block = compile_layout(1).decode(compile_layout(1).encode({"Mn": "Acme"}))
    with pytest.raises(TypeError, match=r"1\.Mn"):
        block.code("Mn")
    with pytest.raises(TypeError, match=r"1\.Mn"):
        block.number("Mn")


def test_the_wire_form_of_a_point_keeps_integer_and_power_of_ten():
    block = compile_layout(701).decode(compile_layout(701).encode({"Hz": Decimal("60.010"), "Hz_SF": -3}))
    assert block.wire("Hz") == (60010, -3)
    assert block.wire("W") is None
    assert block.wire("MnAlrmInfo") is None


def point_of(kind: PointType, size: int) -> Place:
    definition = PointDefinition(
        name="X",
        type=kind,
        size=size,
        scale=None,
        units="",
        is_writable=True,
        is_static=False,
        symbols={},
        constant=None,
    )
    return Place(path="X", offset=0, index=0, scale=None, point=definition)


def decode_one(place: Place, data: bytes):
    layout = Layout(
        model_id=9,
        name="test",
        places=(place,),
        by_path={"X": place},
        counts={},
        packing=struct.Struct(
            {PointType.FLOAT32: ">f", PointType.FLOAT64: ">d"}.get(place.point.type, f">{len(data)}s")
        ),
    )
    return Block(layout=layout, raw=layout.packing.unpack(data)).value("X")


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_survives_the_registers(value):
    place = point_of(PointType.FLOAT32, 2)
    data = encode_point(place, Decimal(value), 0)
    assert struct.pack(">f", float(decode_one(place, data))) == data


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float64_survives_the_registers(value):
    place = point_of(PointType.FLOAT64, 4)
    data = encode_point(place, Decimal(value), 0)
    assert float(decode_one(place, data)) == value


def test_a_float_that_is_no_number_is_not_implemented():
    place = point_of(PointType.FLOAT32, 2)
    assert encode_point(place, None, 0) == b"\x7f\xc0\0\0"
    assert decode_one(place, b"\x7f\xc0\0\0") is None
    assert decode_one(place, struct.pack(">f", float("inf"))) is None


@pytest.mark.parametrize(
    ("kind", "size", "text", "data"),
    [
        (PointType.IPADDR, 2, "192.0.2.7", bytes((192, 0, 2, 7))),
        (PointType.IPV6ADDR, 8, "2001:db8::1", bytes.fromhex("20010db8000000000000000000000001")),
        (PointType.EUI48, 4, "00:1A:2B:3C:4D:5E", bytes.fromhex("0000001a2b3c4d5e")),
    ],
)
def test_addresses_survive_the_registers(kind, size, text, data):
    place = point_of(kind, size)
    assert encode_point(place, text, 0) == data
    assert decode_one(place, data) == text


@pytest.mark.parametrize(("kind", "size"), [(PointType.IPADDR, 2), (PointType.IPV6ADDR, 8), (PointType.EUI48, 4)])
def test_an_address_that_is_not_implemented_is_none(kind, size):
    place = point_of(kind, size)
    assert decode_one(place, encode_point(place, None, 0)) is None


@given(start=st.integers(0, 150), length=st.integers(1, 155), most=st.integers(32, 125))
def test_no_read_cuts_a_point_in_two(start, length, most):
    layout = compile_layout(701)
    end = min(start + length, layout.length)
    spans = list(layout.spans(start, end, most))
    assert spans[0][0] == start
    assert spans[-1][1] == end
    edges = {place.offset for place in layout.places}
    for (_, last), (first, _) in itertools.pairwise(spans):
        assert last == first
        assert first in edges
    assert all(last - first <= most for first, last in spans)
