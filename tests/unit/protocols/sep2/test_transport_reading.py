import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.model.identity import Lfdi
from tierline.protocols.sep2.transport.limits import Limits
from tierline.protocols.sep2.transport.messages import Peer, Rejected
from tierline.protocols.sep2.transport.reading import Phase, RequestReader, ResponseReader
from tierline.protocols.sep2.transport.writing import request_bytes

PEER = Peer(lfdi=Lfdi("0" * 40), fingerprint="0" * 64, address="::1")
SMALL = Limits(head_bytes=200, target_bytes=40, body_bytes=50)
GET = b"GET /dcap?s=0 HTTP/1.1\r\nHost: [::1]:8443\r\nAccept: application/sep+xml; level=-S1\r\n\r\n"


def read(data, limits=SMALL):
    reader = RequestReader(limits, PEER)
    reader.feed(data)
    return reader


def status(data, limits=SMALL):
    reader = read(data, limits)
    assert not reader.ready
    return reader.fault.status if reader.fault else None


def test_a_request_is_read_whole():
    (request,) = read(GET).ready
    assert (request.method, request.path, request.query, request.body) == ("GET", "/dcap", "s=0", b"")
    assert request.headers == {"host": "[::1]:8443", "accept": "application/sep+xml; level=-S1"}
    assert request.peer is PEER


def test_the_phases_follow_the_message():
    reader = RequestReader(SMALL, PEER)
    seen = []
    for piece in (b"PUT /a HTTP/1.1\r\nHo", b"st: a\r\nContent-Length: 2\r\n\r\n", b"x", b"y"):
        seen.append(reader.phase)
        reader.feed(piece)
    assert seen == [Phase.BETWEEN, Phase.HEADERS, Phase.BODY, Phase.BODY]
    assert reader.phase is Phase.BETWEEN


methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])
segments = st.lists(st.from_regex(r"[a-z0-9_~.-]{1,8}", fullmatch=True), min_size=1, max_size=3)
messages = st.tuples(methods, segments, st.binary(max_size=50))


@given(st.lists(messages, min_size=1, max_size=6), st.data())
def test_any_division_of_the_stream_gives_the_same_requests(sent, data):
    stream = b"".join(request_bytes(method, "/" + "/".join(parts), "host", {}, body) for method, parts, body in sent)
    reader = RequestReader(SMALL, PEER)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
    assert reader.fault is None
    assert [(r.method, r.path, r.body) for r in reader.ready] == [(m, "/" + "/".join(p), b) for m, p, b in sent]


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_no_bytes_crash_the_reader_of_requests(pieces):
    reader = RequestReader(SMALL, PEER)
    for piece in pieces:
        reader.feed(piece)
    assert reader.fault is None or 400 <= reader.fault.status <= 505


FRAGMENTS = st.sampled_from(
    [
        b"GET ", b"PUT ", b"POST ", b"/", b"/a?b", b"*", b"https://a/", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b"\r\n",
        b"\r\n\r\n", b"\n", b"\r", b"Host: a\r\n", b"Host:\r\n", b"Content-Length: 3\r\n", b"Content-Length: 3   \r\n",
        b"Content-Length: \r\n", b"Content-Length: 99999999999\r\n", b"Content-Length: 0x3\r\n", b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n", b"transfer-encoding:\tchunked \r\n", b"Connection: close\r\n", b"Upgrade: x\r\n",
        b"Connection: upgrade\r\n", b"Expect: 100-continue\r\n", b" folded\r\n", b"3\r\n", b"0\r\n", b"abc", b"\x00", b"\xff", b":",
    ]
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(FRAGMENTS, max_size=16), st.integers(1, 7))
def test_no_mixture_of_http_crashes_the_reader_or_lets_an_ambiguous_length_through(pieces, size):
    stream = b"".join(pieces)
    reader = RequestReader(SMALL, PEER)
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
    for request in reader.ready:
        assert request.path.startswith("/")
        assert len(request.body) <= SMALL.body_bytes
        assert not {"content-length", "transfer-encoding"} <= request.headers.keys()


@settings(max_examples=200)
@given(st.lists(FRAGMENTS, max_size=16), st.integers(1, 7))
def test_no_mixture_of_http_crashes_the_reader_of_answers(pieces, size):
    stream = b"HTTP/1.1 200 OK\r\n" + b"".join(pieces)
    reader = ResponseReader(SMALL, head=False)
    try:
        for start in range(0, len(stream), size):
            reader.feed(stream[start : start + size])
        reader.end()
    except Rejected:
        return
    assert reader.response is not None


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", 400),
        (HEAD + b" folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET https://a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"G\xc3T / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET /" + b"a" * 40 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: +1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1, 1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 51\r\n\r\n", 413),
        (HEAD + b"Content-Type: a\r\nContent-Type: b\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
        (HEAD + b"X: " + b"a" * 200, 431),
        (HEAD + b"X: a\r\n" * 40 + b"\r\n", 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n33\r\n" + b"x" * 51 + b"\r\n0\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 400 + b"\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 250 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_wrong_gets_the_status_that_says_so(data, expected):
    assert status(data) == expected


def test_headers_that_come_in_many_small_pieces_are_bounded_all_the_same():
    reader = RequestReader(SMALL, PEER)
    for byte in HEAD + b"X: " + b"a" * 300:
        reader.feed(bytes([byte]))
    assert reader.fault is not None
    assert reader.fault.status == 431


def test_trailers_are_ignored():
    (request,) = read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nHost: evil\r\n\r\n").ready
    assert (request.headers["host"], request.body) == ("a", b"x")


def test_a_wish_to_change_the_protocol_is_ignored_and_ends_the_connection():
    reader = read(HEAD + b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\nPRI * HTTP/2.0")
    assert len(reader.ready) == 1
    assert reader.last
    assert reader.fault is None


def test_nothing_is_read_after_connection_close():
    reader = read(HEAD + b"Connection: close\r\n\r\n" + GET)
    reader.feed(GET)
    assert len(reader.ready) == 1
    assert reader.last
    assert reader.fault is None


def test_http_1_0_needs_no_host_and_ends_the_connection():
    reader = read(b"GET / HTTP/1.0\r\n\r\n")
    assert len(reader.ready) == 1
    assert reader.last


def test_a_repeated_header_is_joined():
    (request,) = read(HEAD + b"Accept: a\r\nAccept: b\r\n\r\n").ready
    assert request.headers["accept"] == "a, b"


def answer(*pieces, head=False):
    reader = ResponseReader(SMALL, head=head)
    for piece in pieces:
        reader.feed(piece)
    return reader


def test_an_answer_with_a_length_is_read_and_the_connection_kept():
    reader = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nLocation: /a\r\n\r\n", b"x", b"y")
    assert (reader.response.status, reader.response.body, reader.response.location) == (200, b"xy", "/a")
    assert reader.keep_alive


def test_a_chunked_answer_is_read():
    reader = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n", b"0\r\n\r\n")
    assert reader.response.body == b"xy"


def test_an_interim_answer_only_announces_the_real_one():
    reader = answer(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n")
    assert reader.response.status == 204


def test_an_answer_to_head_ends_with_its_headers():
    reader = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n", head=True)
    assert (reader.response.status, reader.response.body, reader.keep_alive) == (200, b"", True)


def test_an_answer_without_a_length_ends_with_the_stream():
    reader = answer(b"HTTP/1.1 200 OK\r\n\r\nxy")
    assert reader.response is None
    reader.end()
    assert (reader.response.body, reader.keep_alive) == (b"xy", False)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nxy"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n"],
        [],
    ],
)
def test_an_answer_that_is_cut_off_is_refused(pieces):
    reader = answer(*pieces)
    with pytest.raises(Rejected, match="cut off"):
        reader.end()


def test_a_second_answer_nobody_asked_for_spoils_the_connection():
    reader = answer(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert reader.response.status == 204
    assert not reader.keep_alive


def test_bytes_after_the_answer_spoil_the_connection_and_are_not_parsed():
    reader = answer(b"HTTP/1.1 204 No Content\r\n\r\n")
    reader.feed(b"HTTP/1.1 2")
    reader.feed(b"00 OK\r\n")
    assert (reader.response.status, reader.keep_alive) == (204, False)


def test_a_reader_that_refused_goes_on_refusing():
    reader = ResponseReader(SMALL, head=False)
    for _ in range(2):
        with pytest.raises(Rejected):
            reader.feed(b"SSH-2.0-server\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 51\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 51,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"SSH-2.0-server\r\n",
    ],
)
def test_an_answer_that_breaks_http_or_the_limits_is_refused(data):
    with pytest.raises(Rejected):
        answer(data)
