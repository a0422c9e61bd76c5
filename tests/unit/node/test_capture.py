"""What a node sends is written down once for each peer."""

import json
from datetime import UTC, datetime

import pytest

from tierline.model.identity import Lfdi
from tierline.node.capture import Capture, CapturedCourier, CapturedHandler
from tierline.protocols.sep2.transport import HttpResponse, Peer, Request, Response

NOW = datetime(2026, 6, 30, 16, tzinfo=UTC)
ADA, BEN = Lfdi("A" * 40), Lfdi("B" * 40)


class Files:
    def __init__(self):
        self.text = b""

    def append(self, path, data):
        assert path == "capture.jsonl"
        self.text += data

    @property
    def lines(self):
        return [json.loads(line) for line in self.text.splitlines()]


class Clock:
    def now(self):
        return NOW


class Handler:
    def __init__(self, answer):
        self.answer = answer

    def handle(self, request, now):
        if request.method == "GET":
            return self.answer

        async def later():
            return self.answer

        return later()


class Courier:
    def __init__(self):
        self.is_closed = False

    async def request(self, method, path, body=b""):
        return HttpResponse(status=204)

    async def close(self):
        self.is_closed = True


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def capture(files):
    return Capture(files, "capture.jsonl", Clock())


def asked(method="GET", peer=ADA, path="/dcap"):
    at = Peer(lfdi=peer, fingerprint="0" * 64, address="127.0.0.1")
    return Request(method=method, path=path, query="", headers={}, body=b"", peer=at)


def test_an_answer_is_written_down_with_who_got_it(capture, files):
    handler = CapturedHandler(Handler(Response(status=200, body=b"<a/>")), capture)
    assert handler.handle(asked(), NOW).body == b"<a/>"
    assert files.lines == [{"t": NOW.timestamp(), "peer": ADA, "what": "200 /dcap", "body": "<a/>"}]


async def test_an_answer_that_takes_time_is_written_down_too_with_what_its_head_says(capture, files):
    answer = Response(status=201, location="/mup/x", headers=(("Retry-After", "30"),))
    handler = CapturedHandler(Handler(answer), capture)
    assert await handler.handle(asked("POST", path="/mup"), NOW) is answer
    assert files.lines[0]["what"] == "201 /mup /mup/x\nRetry-After: 30"


def test_the_same_is_written_once_for_each_peer(capture, files):
    handler = CapturedHandler(Handler(Response(status=200, body=b"<a/>")), capture)
    for peer in (ADA, ADA, BEN, BEN):
        handler.handle(asked(peer=peer), NOW)
    assert [line["peer"] for line in files.lines] == [ADA, BEN]


async def test_a_request_is_written_down_before_it_leaves(capture, files):
    inner = Courier()
    courier = CapturedCourier(inner, capture, BEN)
    assert (await courier.request("PUT", "/edev/a/di", b"\xff<di/>")).status == 204
    assert files.lines == [
        {"t": NOW.timestamp(), "peer": BEN, "what": "PUT /edev/a/di", "body": "\N{REPLACEMENT CHARACTER}<di/>"}
    ]
    await courier.close()
    assert inner.is_closed


def test_what_differs_in_numbers_only_is_written_once_but_a_name_with_a_number_is_not(capture, files):
    for body in (b"<a>1</a>", b"<a>-22</a>", b"<a>pv_1</a>", b"<a>pv_2</a>"):
        capture.sent(ADA, "POST /mup/x", body)
    assert [line["body"] for line in files.lines] == ["<a>1</a>", "<a>pv_1</a>", "<a>pv_2</a>"]
