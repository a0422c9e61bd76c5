from datetime import UTC, datetime

import pytest

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.protocols.sep2.client import (
    LONGEST,
    Answer,
    Ask,
    check,
    follow_list,
    get,
    post,
    put,
    read_list,
    same_origin,
)
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.resources import (
    DER,
    DERList,
    DERProgramList,
    EndDevice,
    EndDeviceList,
    Error,
    Link,
    ListLink,
)

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)


def answer(status=200, body=b"", location=""):
    return Answer(status=status, body=body, location=location, asked_at=NOON, answered_at=NOON)


def drive(steps, serve):
    """Answer every question; gives the result and what was asked."""
    asked = []
    try:
        ask = next(steps)
        while True:
            asked.append(ask)
            ask = steps.send(serve(ask))
    except StopIteration as stop:
        return stop.value, asked


def paged(items, most=255, total=None):
    """Serve a list in pages that are never longer than `most`."""

    def serve(ask):
        start = int(ask.path.rpartition("s=")[2].partition("&")[0])
        cut = tuple(items[start : start + most])
        shown = len(items) if total is None else total
        return answer(body=render(DERList(href="/der", all=shown, results=len(cut), poll_rate=60, items=cut)))

    return serve


def ders(count):
    return [DER(href=f"/der/{number}") for number in range(count)]


@pytest.mark.parametrize("most", [1, 2, 255])
def test_a_list_is_read_whole_in_pages_of_any_size(most):
    found, asked = drive(read_list(ListLink(href="/der"), DERList), paged(ders(5), most))
    assert list(found.items) == ders(5)
    assert found.poll_s == 60
    assert asked[0] == Ask("GET", "/der?s=0&l=255")
    assert len(asked) == -(-5 // most)


def test_a_path_that_has_a_query_keeps_it():
    _, asked = drive(read_list(Link(href="/der?of=me"), DERList), paged(ders(1)))
    assert asked == [Ask("GET", "/der?of=me&s=0&l=255")]


@pytest.mark.parametrize("link", [None, ListLink(href="/der", all=0)])
def test_an_absent_or_empty_list_is_not_asked_for(link):
    assert drive(follow_list(link, DERList), None) == ([], [])


def test_an_empty_list_that_nobody_counted_is_empty():
    assert drive(follow_list(ListLink(href="/der"), DERList), paged([]))[0] == []


def test_a_list_without_a_pollrate_states_none():
    body = render(DERProgramList(href="/derp", all=0, results=0))
    assert drive(read_list(Link(href="/derp"), DERProgramList), lambda _: answer(body=body))[0].poll_s is None


def test_a_list_that_grows_while_it_is_paged_is_read_anew():
    sizes = iter((3, 4, 4, 4, 4, 4, 4))

    def serve(ask):
        return paged(ders(next(sizes)), most=1)(ask)

    found, asked = drive(follow_list(Link(href="/der"), DERList), serve)
    assert found == ders(4)
    assert [ask.path[-9:] for ask in asked][:3] == ["s=0&l=255", "s=1&l=255", "s=0&l=255"]


def test_a_list_in_which_something_moved_back_is_read_anew():
    pages = iter((ders(3), [DER(href="/der/new"), *ders(2)], *(ders(3),) * 9))

    def serve(ask):
        return paged(next(pages), most=1)(ask)

    assert drive(follow_list(Link(href="/der"), DERList), serve)[0] == ders(3)


@pytest.mark.parametrize("total", [6, 4])
def test_a_list_that_never_fits_its_own_total_is_given_up(total):
    with pytest.raises(LinkError, match="changed while it was read, 3 times"):
        drive(follow_list(Link(href="/der"), DERList), paged(ders(5), total=total))


def test_a_list_without_end_is_refused_at_its_first_page():
    with pytest.raises(PeerError, match=f"at most {LONGEST}"):
        drive(follow_list(Link(href="/der"), DERList), paged(ders(1), total=2**32 - 1))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, Forbidden),
        (404, Forbidden),
        (410, Forbidden),
        (400, PeerError),
        (405, PeerError),
        (418, PeerError),
        (499, PeerError),
        (301, PeerError),
        (300, PeerError),
        (100, PeerError),
        (429, LinkError),
        (500, LinkError),
        (503, LinkError),
        (599, LinkError),
    ],
)
def test_an_answer_that_is_no_success_says_who_must_act(status, kind):
    with pytest.raises(kind, match=str(status)):
        check(answer(status), "/dcap")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_success_is_one(status):
    check(answer(status), "/dcap")


def test_another_resource_than_asked_for_is_refused():
    with pytest.raises(PeerError):
        drive(get("/edev", EndDeviceList), lambda _: answer(body=render(Error(reason_code=0))))


def test_a_refusal_is_not_repeated():
    for steps, method in ((post("/a", b"x"), "POST"), (put("/a", b"x"), "PUT")):
        assert next(steps) == Ask(method, "/a", b"x")
        with pytest.raises(PeerError):
            steps.send(answer(400))


def test_elements_nobody_knows_are_passed_over():
    body = render(EndDevice(sfdi=3, changed_time=0, href="/edev/1")).replace(
        b"<sFDI>", b'<new xmlns="urn:other"><deep>1</deep></new><sFDI>'
    )
    assert drive(get("/edev/1", EndDevice), lambda _: answer(body=body))[0].sfdi == 3


@pytest.mark.parametrize(
    ("href", "path"),
    [
        ("/edev?s=1", "/edev?s=1"),
        ("edev/1", "/edev/1"),
        ("https://192.0.2.1:8443/edev", "/edev"),
        ("HTTPS://192.0.2.1:8443/edev#x", "/edev"),
        ("//192.0.2.1:8443/edev", "/edev"),
        ("/edev/../dcap", "/dcap"),
        ("/edev/.?", "/edev/"),
        ("/edev#x", "/edev"),
        ("/edev/1%2F..", "/edev/1%2F.."),
    ],
)
def test_a_link_on_the_same_server_is_its_path(href, path):
    assert same_origin(href, "192.0.2.1:8443") == path


def test_servers_may_be_named_or_have_ipv6_addresses():
    assert same_origin("https://[::1]:8443/edev", "::1:8443") == "/edev"
    assert same_origin("/edev", "::1:8443") == "/edev"
    assert same_origin("https://Utility.Example/edev", "utility.example:443") == "/edev"


@pytest.mark.parametrize(
    "href",
    [
        "http://192.0.2.1:8443/edev",
        "https://192.0.2.1/edev",
        "https://192.0.2.1:8444/edev",
        "https://192.0.2.2:8443/edev",
        "https://192.0.2.1:8443@evil.example/edev",
        "//evil.example/edev",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://[::1/edev",
        "https://192.0.2.1:99999/edev",
        "/edev with a blank",
        "/édev",
        "/edev\x7f",
        "https://192.0.2.1:8443",
    ],
)
def test_a_link_that_leads_elsewhere_or_nowhere_is_not_followed(href):
    with pytest.raises(PeerError, match=r"not followed|is not a link"):
        same_origin(href, "192.0.2.1:8443")
