"""The shell of the reports between a buffer and a faked server, under virtual time."""

import asyncio
from collections import deque
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tierline.env import SeededRandom
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import ChannelId, DerId, PartyId
from tierline.model.records import BufferedReadingRecord
from tierline.model.telemetry import Reading
from tierline.node.reporting import Description, Reporter, next_phase
from tierline.operations.following.buffer import ReadingBuffer
from tierline.ports import DeviceFacts
from tierline.sim.loop import START, VirtualClock, VirtualLoop
from tierline.storage.memory import MemoryStore

UTILITY = ChannelId("utility")
FACTS = DeviceFacts(
    manufacturer="m",
    model="x",
    serial="1",
    version="1",
    nameplate={},
    settings={},
    functions=frozenset(),
)


def description(status=4):
    return Description(facts=FACTS, status={"inverter_status": status})


def reading(value):
    return Reading(der_id=DerId("d"), point="w", value=value, power_of_ten=0, time=START + timedelta(seconds=value))


class Store(MemoryStore):
    def __init__(self):
        super().__init__()
        self.refusals = 0

    async def commit(self, put=(), delete=()):
        if delete and self.refusals:
            self.refusals -= 1
            raise LinkError("full")
        await super().commit(put, delete)


class Server:
    """A server with its pace, which fails as it is told."""

    def __init__(self, loop):
        self.loop, self.post_s, self.link = loop, 300.0, self
        self.posts, self.described = [], []
        """(seconds, what arrived)."""
        self.errors = deque()

    async def report(self, readings):
        self._fail()
        self.posts.append((round(self.loop.time()), [item.value for item in readings]))

    async def describe(self, facts, status, now):
        self._fail()
        self.described.append((round(self.loop.time()), status["inverter_status"]))

    def _fail(self):
        error = self.errors.popleft() if self.errors else None
        if error is not None:
            raise error


class Scene:
    def __init__(self):
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.server, self.store = Server(self.loop), Store()
        self.buffer = ReadingBuffer(self.store, PartyId("owner"), [UTILITY])
        self.phase_s = START.timestamp() + 20  # so the first post is due at 20 s
        self.reporter = self.new()

    def new(self):
        return Reporter(
            channel=UTILITY,
            server=self.server,
            buffer=self.buffer,
            clock=self.clock,
            random=SeededRandom(1),
            phase_s=self.phase_s,
        )

    async def measure(self, *values, status=4):
        await self.buffer.add([reading(value) for value in values])
        self.reporter.measured(description(status))

    def play(self, script, until_s=5000):
        """Report while a script runs."""

        async def main():
            task = self.loop.create_task(self.reporter.run())
            await script
            await asyncio.sleep(max(0, until_s - self.loop.time()))
            task.cancel()
            await asyncio.wait([task])

        with capture_logs() as logs:
            self.loop.run_until_complete(main())
        return logs


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.loop.close()


def test_the_next_phase_lies_at_our_place_of_the_interval():
    assert [
        (next_phase(START + timedelta(seconds=s), 60, START.timestamp() + 17) - START).total_seconds()
        for s in (0, 16, 17, 80)
    ] == [17, 17, 77, 137]


def test_the_first_post_waits_for_its_phase_and_the_description_does_not(scene):
    scene.play(scene.measure(1, 2), until_s=400)
    assert scene.server.described == [(0, 4)]
    assert scene.server.posts == [(20, [1, 2])]
    assert scene.store.load(BufferedReadingRecord) == []


def test_what_waited_before_the_start_is_posted_without_a_measurement(scene):
    scene.loop.run_until_complete(scene.buffer.add([reading(value) for value in range(1200)]))
    scene.play(asyncio.sleep(0), until_s=100)
    assert [(t, len(values)) for t, values in scene.server.posts] == [(20, 500), (20, 500), (20, 200)]
    assert [value for _, values in scene.server.posts for value in values] == list(range(1200))
    assert scene.server.described == []


def test_the_rate_a_server_names_at_the_first_post_holds_from_then_on(scene):
    original = scene.server.report

    async def report(readings):
        await original(readings)
        scene.server.post_s = 60.0

    scene.server.report = report

    async def script():
        for value in range(10):
            await scene.measure(value)
            await asyncio.sleep(30)

    scene.play(script())
    assert [t for t, _ in scene.server.posts] == [20, 80, 140, 200, 260, 320]


@pytest.mark.parametrize("error", [LinkError("down"), PeerError("400"), Forbidden("403")])
def test_what_was_not_delivered_comes_soon_again_in_order_and_once(scene, error):
    async def script():
        await scene.measure(0)
        scene.server.errors.extend([error] * 10)
        for value in range(1, 5):
            await asyncio.sleep(60)
            await scene.measure(value)

    logs = scene.play(script(), until_s=1000)
    assert {line["what"] for line in logs if line["event"] == "not_delivered"} == {"post", "describe"}
    delivered = [value for _, values in scene.server.posts for value in values]
    assert delivered == list(range(5))
    assert scene.server.posts[0][0] < 340, "not only at the next phase but one"


def test_readings_acknowledged_but_not_struck_out_are_delivered_again(scene):
    scene.store.refusals = 1
    scene.play(scene.measure(1), until_s=100)
    assert [values for _, values in scene.server.posts] == [[1], [1]]
    assert scene.store.load(BufferedReadingRecord) == []


def test_a_status_is_described_on_change_only(scene):
    async def script():
        for status in (4, 4, 5, 5, 4):
            await scene.measure(status=status)
            await asyncio.sleep(60)

    scene.play(script())
    assert scene.server.described == [(0, 4), (120, 5), (240, 4)]


def test_a_server_that_forgot_is_told_again(scene):
    async def script():
        await scene.measure()
        await asyncio.sleep(50)
        scene.reporter.forgotten()

    scene.play(script())
    assert scene.server.described == [(0, 4), (50, 4)]


def test_a_fault_of_ours_ends_it_and_it_begins_anew(scene):
    scene.server.errors.extend([None, ValueError("our bug")])
    scene.loop.run_until_complete(scene.measure(1))

    async def main():
        with pytest.raises(ValueError, match="our bug"):
            await scene.reporter.run()
        assert scene.server.posts == []
        task = scene.loop.create_task(scene.reporter.run())
        await asyncio.sleep(400)
        task.cancel()
        await asyncio.wait([task])

    scene.loop.run_until_complete(main())
    assert [values for _, values in scene.server.posts] == [[1]]
