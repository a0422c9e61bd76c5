"""Carrying steps to a server: one after the other, or several at once."""

import asyncio
from datetime import timedelta

import pytest

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.protocols.sep2.client import Ask
from tierline.protocols.sep2.courier import Carrier

SERVER = "192.0.2.1:8443"


@pytest.fixture
def server(fleet):
    return fleet.FleetServer()


@pytest.fixture
def carrier(server):
    return Carrier(server, server.clock, SERVER)


def asking(*paths):
    """Ask for paths and give what was answered."""
    answers = []
    for path in paths:
        answers.append((yield Ask("GET", path)))  # noqa: PERF401  # a comprehension cannot yield
    return answers


def bearing(path):
    """Take a failure as a result."""
    try:
        yield Ask("GET", path)
    except (LinkError, PeerError) as error:
        return type(error).__name__
    return "answered"


async def test_steps_learn_what_was_answered_and_when(carrier, server):
    def slow(answer):
        server.clock.move(seconds=2)
        return answer

    server.instead["/tm"] = slow
    (answer,) = await carrier.carry(asking("/tm"))
    assert (answer.status, answer.location, answer.body[:5]) == (200, "", b"<?xml")
    assert answer.answered_at - answer.asked_at == timedelta(seconds=2)


async def test_a_link_by_its_whole_address_is_asked_for_by_its_path(carrier, server):
    await carrier.carry(asking(f"https://{SERVER}/tm?x=1"))
    assert server.log == [("GET", "/tm?x=1")]


async def test_a_link_that_leads_away_is_never_asked_for(carrier, server):
    with pytest.raises(PeerError, match="leads away"):
        await carrier.carry(bearing("https://evil.example/tm"))
    assert await carrier.carry(bearing("https://evil.example/tm"), one_of_many=True) == "PeerError"
    assert server.log == []


async def test_a_broken_link_is_never_the_affair_of_the_steps(carrier, server):
    server.instead["/tm"] = LinkError("no route")
    with pytest.raises(LinkError, match="no route"):
        await carrier.carry(bearing("/tm"), one_of_many=True)


async def test_steps_are_ended_when_they_are_not_carried_on(carrier, server):
    ended = []

    def steps():
        try:
            yield Ask("GET", "/tm")
        finally:
            ended.append(1)

    server.instead["/tm"] = LinkError("no route")
    with pytest.raises(LinkError):
        await carrier.carry(steps())
    assert ended == [1]


async def test_many_are_carried_side_by_side_and_each_once(carrier, server):
    found = {}
    works = ((number, asking("/tm", "/dcap")) for number in range(20))
    await carrier.carry_all(works, found.__setitem__, at_once=3)
    assert sorted(found) == list(range(20))
    assert all([answer.status for answer in answers] == [200, 200] for answers in found.values())
    assert server.most_at_once == 3
    assert len(server.log) == 40


async def test_nothing_to_do_is_done(carrier):
    await carrier.carry_all([], lambda _key, _result: pytest.fail("nothing was asked"), at_once=8)


async def test_the_first_failure_ends_it_and_what_is_under_way_is_still_taken(carrier, server):
    server.instead["/edev/1/fsa"] = LinkError("no route")
    found = []
    works = [(1, asking("/edev/1/fsa")), (2, asking("/tm", "/tm")), *((n, asking("/dcap")) for n in range(3, 50))]
    with pytest.raises(LinkError, match="no route"):
        await carrier.carry_all(works, lambda key, _: found.append(key), at_once=2)
    assert found == [2]
    assert len(server.log) == 4


async def test_a_request_that_is_lost_among_many_is_asked_once_more(carrier, server):
    def found_again(answer):
        del server.instead["/tm"]
        raise LinkError("lost")

    server.instead["/tm"] = found_again
    found = []
    await carrier.carry_all([(1, asking("/tm"))], lambda key, _: found.append(key), at_once=2)
    assert (found, len(server.log)) == ([1], 2)
    server.instead["/tm"] = found_again
    with pytest.raises(LinkError, match="lost"):
        await carrier.carry(asking("/tm"))


async def test_what_changes_something_is_sent_once(carrier, server):
    def steps():
        yield Ask("POST", "/edev")

    server.instead["/edev"] = LinkError("lost")
    with pytest.raises(LinkError, match="lost"):
        await carrier.carry_all([(1, steps())], lambda _key, _result: None, at_once=2)
    assert len(server.log) == 1


async def test_whoever_takes_a_result_can_end_it(carrier):
    def take(key, _result):
        if key == 2:
            raise Forbidden("enough")

    with pytest.raises(Forbidden, match="enough"):
        await carrier.carry_all([(key, asking("/tm")) for key in range(50)], take, at_once=1)


async def test_a_cancelled_work_leaves_nothing_under_way(carrier, server):
    task = asyncio.ensure_future(
        carrier.carry_all([(key, asking("/tm", "/tm")) for key in range(50)], lambda _key, _result: None, at_once=8)
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    asked = len(server.log)
    await asyncio.sleep(0.01)
    assert len(server.log) == asked < 100
