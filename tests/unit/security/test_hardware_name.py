import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.errors import PeerError
from tierline.security.hardware_name import HardwareName, decode_hardware_name, encode_hardware_name

arcs = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=9)
oids = st.one_of(
    st.builds(
        lambda first, second, rest: ".".join(map(str, (first, second, *rest))),
        st.integers(0, 1),
        st.integers(0, 39),
        arcs,
    ),
    st.builds(lambda second, rest: ".".join(map(str, (2, second, *rest))), st.integers(0, 5000), arcs),
)


@given(oids, st.binary(max_size=400))
def test_every_hardware_name_survives_the_round_trip(oid, serial):
    name = HardwareName(type_oid=oid, serial=serial)
    assert decode_hardware_name(encode_hardware_name(name)) == name


def test_the_encoding_is_der():
    name = HardwareName(type_oid="1.3.6.1.4.1.40732.1.1", serial=b"42")
    assert encode_hardware_name(name).hex() == "3010" + "060a2b0601040182be1c0101" + "04023432"


@given(st.binary(max_size=60))
def test_anything_else_is_refused_or_canonical(data):
    try:
        name = decode_hardware_name(data)
    except PeerError:
        return
    assert encode_hardware_name(name) == data


@pytest.mark.parametrize(
    "data",
    [
        "",
        "30",
        "3000",
        "30030601",
        "3005060100040000",
        "30808000",
        "3106060128040131",
        "300606010004013100",
        "300606018004 0131",
    ],
)
def test_broken_encodings_are_refused(data):
    with pytest.raises(PeerError):
        decode_hardware_name(bytes.fromhex(data.replace(" ", "")))
