import asyncio
from collections import Counter

import pytest

from tierline.env import SeededRandom
from tierline.model.errors import LinkError
from tierline.sim.faults import Fault, LinkFaults
from tierline.sim.loop import VirtualLoop
from tierline.sim.network import Links, MessageNetwork


class Bench:
    """A caller a and an end b that answers."""

    def __init__(self, seed=1):
        self.loop = VirtualLoop()
        self.faults = Counter()
        self.links = Links(self.loop, lambda name: SeededRandom(f"{seed} {name}"), self.faults)
        self.trace = []
        self.network = MessageNetwork(self.loop, self.links, lambda who, what: self.trace.append((who, what)))
        self.carried_out = []
        self.tasks = []
        self.network.attach("b", self.answer, self.spawn)

    async def answer(self, source, request):
        self.carried_out.append((source, request))
        return f"re: {request}"

    def spawn(self, work):
        self.tasks.append(self.loop.create_task(work))
        return self.tasks[-1]

    def call(self, request="hello", timeout_s=30.0):
        return self.loop.run_until_complete(self.network.call("a", "b", request, timeout_s=timeout_s))

    def call_all(self, count, timeout_s=30.0):
        async def every():
            calls = (self.network.call("a", "b", n, timeout_s=timeout_s) for n in range(count))
            return await asyncio.gather(*calls, return_exceptions=True)

        return self.loop.run_until_complete(every())

    def wait(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(seconds))


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.loop.close()


def test_a_request_is_answered_after_two_travelling_times(bench):
    assert bench.call() == "re: hello"
    assert bench.carried_out == [("a", "hello")]
    assert 0.01 <= bench.loop.time() <= 0.4
    assert bench.trace == [("b", "request < a"), ("a", "response < b")]
    assert bench.faults == {}


def test_a_lost_request_is_a_link_error_after_the_timeout(bench):
    bench.links.set_weather("a", "b", LinkFaults(loss=1.0))
    with pytest.raises(LinkError, match="b did not answer within 7 s"):
        bench.call(timeout_s=7)
    assert bench.loop.time() == 7
    assert bench.carried_out == []
    assert bench.faults == {Fault.LOSS: 1}


def test_a_lost_response_is_the_same_error_but_the_request_was_carried_out(bench):
    bench.links.set_weather("b", "a", LinkFaults(loss=1.0))
    with pytest.raises(LinkError, match="did not answer"):
        bench.call()
    assert bench.carried_out == [("a", "hello")]
    assert bench.faults == {Fault.RESPONSE_LOSS: 1}


def test_a_duplicate_is_carried_out_later_and_its_response_dropped(bench):
    bench.links.usual = LinkFaults(duplication=1.0)
    assert bench.call() == "re: hello"
    assert bench.faults[Fault.DUPLICATION] == 0
    bench.wait(60)
    assert bench.carried_out == [("a", "hello")] * 2
    assert bench.faults == {Fault.DUPLICATION: 1}


def test_a_delayed_message_takes_much_longer(bench):
    bench.links.set_weather("a", "b", LinkFaults(delay=1.0, held_back_s=(10, 20)))
    bench.call()
    assert 10 < bench.loop.time() < 21
    assert bench.faults == {Fault.DELAY: 1}


def test_a_response_that_comes_after_the_timeout_is_dropped(bench):
    bench.links.set_weather("b", "a", LinkFaults(delay=1.0, held_back_s=(10, 20)))
    with pytest.raises(LinkError):
        bench.call(timeout_s=5)
    bench.wait(60)
    assert bench.trace == [("b", "request < a")]


def test_messages_that_travel_together_overtake_each_other_and_this_is_counted(bench):
    bench.call_all(20)
    order = [request for _, request in bench.carried_out]
    assert order != sorted(order) == list(range(20))
    assert bench.faults[Fault.REORDER] > 0


def test_messages_sent_one_after_the_other_are_not_reordered(bench):
    for _ in range(20):
        bench.call()
    assert bench.faults[Fault.REORDER] == 0


def test_a_partition_towards_the_server_loses_requests(bench):
    bench.links.block("a", "b", Fault.PARTITION)
    with pytest.raises(LinkError):
        bench.call()
    assert bench.carried_out == []
    bench.links.unblock("a", "b", Fault.PARTITION)
    assert bench.call() == "re: hello"
    assert bench.faults == {Fault.PARTITION: 1}


def test_a_partition_towards_the_client_loses_responses(bench):
    bench.links.block("b", "a", Fault.PARTITION)
    with pytest.raises(LinkError):
        bench.call()
    assert bench.carried_out == [("a", "hello")]
    assert bench.faults == {Fault.PARTITION: 1, Fault.RESPONSE_LOSS: 1}


def test_a_cut_link_is_noticed_at_once_even_under_a_partition(bench):
    bench.links.block("a", "b", Fault.PARTITION)
    bench.links.block("a", "b", Fault.CUT)
    with pytest.raises(LinkError, match="the link to b is down"):
        bench.call()
    assert bench.loop.time() < 0.1
    assert bench.faults == {Fault.CUT: 1}


def test_where_nobody_listens_the_caller_learns_it_at_once(bench):
    bench.network.detach("b")
    with pytest.raises(LinkError, match="nobody listens"):
        bench.call()
    assert bench.loop.time() < 0.3


def test_an_end_that_dies_while_it_answers_hangs_up(bench):
    async def forever(_source, _request):
        await asyncio.sleep(1e6)

    bench.network.attach("b", forever, bench.spawn)
    bench.loop.call_later(5, lambda: [task.cancel() for task in bench.tasks])
    with pytest.raises(LinkError, match="b hung up"):
        bench.call()


def test_an_end_that_fails_hangs_up(bench):
    async def fails(_source, _request):
        raise OSError

    bench.network.attach("b", fails, bench.spawn)
    with pytest.raises(LinkError, match="b hung up"):
        bench.call()


def test_a_caller_that_gives_up_leaves_the_request_on_its_way(bench):
    async def gives_up():
        async with asyncio.timeout(0.001):
            await bench.network.call("a", "b", "hello")

    with pytest.raises(TimeoutError):
        bench.loop.run_until_complete(gives_up())
    bench.wait(1)
    assert bench.carried_out == [("a", "hello")]


def test_weather_passes(bench):
    bench.links.set_weather("a", "b", LinkFaults(loss=1.0))
    bench.links.set_weather("a", "b", None)
    bench.links.set_weather("a", "b", None)
    assert bench.call() == "re: hello"


def test_probabilities_are_kept_roughly():
    bench = Bench()
    bench.links.usual = LinkFaults(loss=0.2, duplication=0.1)
    answers = bench.call_all(2000)
    lost = sum(isinstance(answer, LinkError) for answer in answers)
    assert 0.3 < lost / 2000 < 0.42, "1 - 0.8 * 0.8"
    assert 0.05 < bench.faults[Fault.DUPLICATION] / 2000 < 0.1
    bench.loop.close()


def test_each_direction_has_random_numbers_of_its_own():
    def times(names):
        bench = Bench()
        fates = {name: [bench.links.fate(*name).delay_s for _ in range(3)] for name in names}
        bench.loop.close()
        return fates

    few, many = times([("a", "b")]), times([("b", "a"), ("a", "c"), ("a", "b")])
    assert few["a", "b"] == many["a", "b"]
    assert many["a", "b"] != many["b", "a"]
