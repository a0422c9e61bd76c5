import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.errors import PeerError
from tierline.model.identity import (
    SFDI_MAX,
    der_id,
    lfdi_of_certificate,
    mrid,
    parse_lfdi,
    parse_mrid,
    pin,
    sfdi_of,
)

# LFDI and SFDI of published certificates; the first is the worked example of IEEE 2030.5-2018 6.3.
KNOWN = [
    ("3E4F45AB31EDFE5B67E343E5E4562E31984E23E5", 167261211391),
    ("0671C144D27DC9E612AFE7DC6C79EC089ED3DCC5", 17298934539),
    ("3B2435CDBBD3B891887F220EA9DF2979517A607C", 158756610191),
    ("FE9D4315AF233C2E9BFA89E3F5F9B645E5B157F2", 683475070343),
    ("D6390FDBE6CCE027FD7F1F480F933F1E96F599E8", 575050213741),
    ("DC21FD9F74D19601F7A967F1AFFE0C070F277935", 590914421672),
    ("3EDB2B0E590E9B15A62EE908535735FD6BF8659C", 168728127738),
    ("7F93B2A39895F625A02C0339A1C4C8E07F1B506B", 342461752899),
    ("05FAD1C7A64EEEDF1462B51D684D159163CD387B", 16051805383),
    ("889EA1F32C1180E7BEFD3AEE1FF0150DCFB4FB37", 366735603704),
]
HEX = st.text(alphabet=string.hexdigits, min_size=1)


@pytest.mark.parametrize(("lfdi", "sfdi"), KNOWN)
def test_the_sfdi_follows_from_the_lfdi(lfdi, sfdi):
    assert sfdi_of(parse_lfdi(lfdi)) == sfdi


@given(st.integers(0, (1 << 160) - 1))
def test_the_digits_of_an_sfdi_sum_to_0_mod_10(number):
    sfdi = sfdi_of(parse_lfdi(f"{number:040X}"))
    assert sum(int(digit) for digit in str(sfdi)) % 10 == 0
    assert sfdi // 10 == number >> 124
    assert 0 <= sfdi <= SFDI_MAX


def test_the_bound_of_the_schema_is_36_bits_of_ones_and_any_digit():
    assert SFDI_MAX == (2**36 - 1) * 10 + 9
    assert sfdi_of(parse_lfdi("F" * 40)) == 687194767357


def test_an_lfdi_is_the_hash_of_the_der_form():
    assert lfdi_of_certificate(b"der") == hashlib.sha256(b"der").digest()[:20].hex().upper()


@given(HEX.filter(lambda text: len(text) <= 40))
def test_any_hex_up_to_40_digits_is_an_lfdi_in_upper_case(text):
    lfdi = parse_lfdi(text)
    assert len(lfdi) == 40
    assert lfdi == lfdi.upper()
    assert int(lfdi, 16) == int(text, 16)
    assert parse_lfdi(lfdi, exact=True) == lfdi


@given(st.text().filter(lambda text: not set(text.strip()) <= set(string.hexdigits) or not text.strip()))
def test_what_is_not_hex_is_neither_lfdi_nor_mrid(text):
    with pytest.raises(PeerError, match="is not an LFDI"):
        parse_lfdi(text)
    with pytest.raises(PeerError, match="is not an mRID"):
        parse_mrid(text)


@pytest.mark.parametrize("length", [0, 39, 41])
def test_an_exact_lfdi_has_40_digits(length):
    with pytest.raises(PeerError, match="exactly 40 hexadecimal digits"):
        parse_lfdi("A" * length, exact=True)


def test_an_lfdi_of_41_digits_is_refused():
    with pytest.raises(PeerError, match="up to 40 hexadecimal digits"):
        parse_lfdi("A" * 41)


def test_white_space_round_an_lfdi_is_dropped():
    assert parse_lfdi(" 3e4f45ab31edfe5b67e343e5e4562e31984e23e5\n", exact=True) == KNOWN[0][0]


@given(HEX.filter(lambda text: len(text) <= 32))
def test_any_hex_up_to_32_digits_is_an_mrid_in_upper_case(text):
    found = parse_mrid(text)
    assert len(found) == 32
    assert found == found.upper()
    assert int(found, 16) == int(text, 16)


def test_an_mrid_of_33_digits_is_refused():
    with pytest.raises(PeerError, match="up to 32 hexadecimal digits"):
        parse_mrid("A" * 33)


@given(st.integers(0, (1 << 96) - 1), st.integers(0, (1 << 32) - 1))
def test_the_pen_stands_in_the_low_32_bits_of_an_mrid(random_bits, pen):
    made = mrid(random_bits, pen)
    assert int(made, 16) & 0xFFFFFFFF == pen
    assert int(made, 16) >> 32 == random_bits
    assert parse_mrid(made.lower()) == made


@pytest.mark.parametrize(("random_bits", "pen"), [(1 << 96, 0), (-1, 0), (0, 1 << 32), (0, -1)])
def test_an_mrid_is_made_of_96_bits_and_a_pen_of_32(random_bits, pen):
    with pytest.raises(ValueError, match="96 random bits and a 32-bit PEN"):
        mrid(random_bits, pen)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_der_ids_are_13_characters_and_differ_when_the_bits_do(one, other):
    made = der_id(one)
    assert len(made) == 13
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert (made == der_id(other)) == (one == other)


@pytest.mark.parametrize("bits", [-1, 1 << 64])
def test_a_der_id_needs_64_bits(bits):
    with pytest.raises(ValueError, match="needs 64 bits"):
        der_id(bits)


def valid_when_all_six_sum_to_0(number):
    return sum(int(digit) for digit in f"{number:06d}") % 10 == 0


def valid_when_the_last_is_the_sum_of_five(number):
    digits = [int(digit) for digit in f"{number:06d}"]
    return digits[5] == sum(digits[:5]) % 10


@pytest.mark.parametrize("random_bits", range(0, 10_000, 7))
def test_a_pin_is_valid_under_both_rules_in_use(random_bits):
    made = pin(random_bits)
    assert 0 <= made <= 999_999
    assert valid_when_all_six_sum_to_0(made)
    assert valid_when_the_last_is_the_sum_of_five(made)


@given(st.integers(0, 1 << 64))
def test_a_pin_can_be_made_of_any_random_bits(random_bits):
    made = pin(random_bits)
    assert valid_when_all_six_sum_to_0(made)
    assert valid_when_the_last_is_the_sum_of_five(made)


@pytest.mark.parametrize("known", [111115, 123455])
def test_the_published_pins_are_valid_under_both_rules(known):
    assert valid_when_all_six_sum_to_0(known)
    assert valid_when_the_last_is_the_sum_of_five(known)


def test_ten_thousand_pins_can_be_made():
    assert len({pin(bits) for bits in range(10_000)}) == 10_000
