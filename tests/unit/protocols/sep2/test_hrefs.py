import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.errors import PeerError
from tierline.model.identity import der_id
from tierline.protocols.sep2.hrefs import Href, PageQuery, Place, _names, parse_path, parse_query

IDS = st.integers(0, 2**64 - 1).map(der_id)
NUMBERS = st.integers(0, 10**9 - 1)
KINDS = {"number": NUMBERS, "response": st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=28, max_size=28)}
LONGEST_ID = base64.b32encode(b"\xff" * 8).decode().rstrip("=").lower()


@st.composite
def hrefs(draw):
    place = draw(st.sampled_from(Place))
    return Href(place=place, **{name: draw(KINDS.get(name, IDS)) for name in _names(place)})


@given(hrefs())
def test_every_href_is_parsed_back(href):
    assert parse_path(str(href)) == href


@given(st.text())
def test_any_text_is_a_known_path_exactly_or_none(text):
    found = parse_path(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize("place", Place)
def test_paths_with_their_query_stay_below_64_characters(place):
    longest_of = {"number": 99, "set": "r", "response": "a" * 28}
    longest = Href(place=place, **{name: longest_of.get(name, LONGEST_ID) for name in _names(place)})
    assert len(f"{longest}?s=99999&l=255") < 64


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "dcap",
        "//dcap",
        "/dcap/",
        "/DCAP",
        "/dcap?s=0",
        "/edev/",
        "/edev/../dcap",
        "/edev/..%2f..%2fetc%2fpasswd",
        "/edev/ABC",
        "/edev/abcdefghijklmn",
        "/edev/a1",
        "/edev/abc/der/01",
        "/edev/abc/der/-1",
        "/edev/abc/der/1\n",
        "/edev/abc/der/1/../2",
        "/edev/abc/der/٣",
        "http://host/dcap",
        "/edev/abc/nothing",
        "/nothing",
        "/dcap\x00",
        "/" + "a" * 100,
        "/edev/abc/fsa/abc/derp/more/and/more",
    ],
)
def test_what_is_no_path_of_ours_is_none(path):
    assert parse_path(path) is None


def test_a_path_names_place_and_identifiers():
    href = parse_path("/edev/abcdefgh23456/der/1/dercap")
    assert href == Href(place=Place.DER_CAPABILITY, der="abcdefgh23456", number=1)
    assert str(Href(place=Place.DER_CONTROL, control="abc")) == "/derc/abc"


@pytest.mark.parametrize(
    "identifiers",
    [
        {},
        {"der": "abc", "fsa": "abc"},
        {"der": "ABC"},
        {"der": ""},
        {"der": "a/b"},
        {"der": "../x"},
        {"der": "abcdefghijklmn"},
    ],
)
def test_a_wrong_identifier_cannot_be_built_into_a_path(identifiers):
    with pytest.raises(ValueError, match=r"identifier|END_DEVICE takes"):
        Href(place=Place.END_DEVICE, **identifiers)


@pytest.mark.parametrize("number", [-1, 10**9])
def test_a_wrong_number_cannot_be_built_into_a_path(number):
    with pytest.raises(ValueError, match="no number of a resource"):
        Href(place=Place.DER, der="abc", number=number)


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("", PageQuery(start=0, limit=1, after=None)),
        ("s=0&l=255", PageQuery(start=0, limit=255)),
        ("l=256", PageQuery(limit=255)),
        ("l=4294967295", PageQuery(limit=255)),
        ("l=0", PageQuery(limit=0)),
        ("s=7", PageQuery(start=7)),
        ("a=1700000000&s=2&l=3", PageQuery(start=2, limit=3, after=1700000000)),
        ("x=1&&y", PageQuery()),
    ],
)
def test_a_query_says_which_page(query, page):
    assert parse_query(query) == page


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("s=-1", "?s"),
        ("s=", "?s"),
        ("s", "?s"),
        ("l=ten", "?l"),
        ("l=1.5", "?l"),
        ("l=٣", "?l"),
        ("l=²", "?l"),
        ("l=1_0", "?l"),
        ("l= 1", "?l"),
        ("l=%31", "?l"),
        ("l=4294967296", "?l"),
        ("s=" + "9" * 100_000, "?s"),
        ("a=9223372036854775808", "?a"),
        ("s=1&s=2", "?s"),
    ],
)
def test_a_bad_query_is_refused_with_its_parameter(query, path):
    with pytest.raises(PeerError) as refused:
        parse_query(query)
    assert refused.value.path == path
    assert len(str(refused.value)) < 200
