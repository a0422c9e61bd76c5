import asyncio
import ssl

import pytest

from tierline.model.errors import ConfigError, LinkError
from tierline.sim.faults import Fault, Intensity, LinkFaults
from tierline.sim.world import World

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Echo(asyncio.Protocol):
    """Send back what comes, note everything."""

    def __init__(self):
        self.heard = []
        self.paused = []
        self.lost = "not lost"

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.heard.append(data)
        self.transport.write(data)

    def pause_writing(self):
        self.paused.append(True)

    def resume_writing(self):
        self.paused.append(False)

    def connection_lost(self, exc):
        self.lost = exc


class Bench:
    """A world with a listener b and a caller a whose program is the test's."""

    def __init__(self, world):
        self.world = world
        self.protocols = []
        self.tls = None

    def make(self):
        self.protocols.append(Echo())
        return self.protocols[-1]

    def run(self, calling, hours=0.1):
        async def listens(node):
            server = await node.network.serve(self.make, "0.0.0.0", 11111, tls=self.tls)
            assert server.port == 11111
            await asyncio.Event().wait()

        async def calls(node):
            await node.clock.sleep(1)
            node.network.open_tcp = keeping(node.network.open_tcp)
            await calling(node)
            for _, writer in kept:
                writer.close()
            done.append(1)

        def keeping(open_tcp):
            async def opening(*args):
                kept.append(await open_tcp(*args))
                return kept[-1]

            return opening

        done, kept = [], []
        self.world.node("b", listens, certificate=b"certificate of b")
        self.world.node("a", calls, certificate=b"certificate of a")
        self.world.run(hours=hours)
        assert done

    @property
    def faults(self):
        return self.world.faults


@pytest.fixture
def bench():
    with World(1) as world:
        yield Bench(world)


async def talk(node, message=b"hello", count=1):
    reader, writer = await node.network.open_tcp("b", 11111)
    for _ in range(count):
        writer.write(message)
        assert await reader.readexactly(len(message)) == message
    writer.close()
    await writer.wait_closed()


def test_bytes_go_there_and_back_in_order(bench):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        for n in range(100):
            writer.writelines([b"%03d" % n, b""])
        writer.write(b"")
        await writer.drain()
        assert await reader.readexactly(300) == b"".join(b"%03d" % n for n in range(100))
        assert writer.get_extra_info("peername") == ("b", 0)
        assert writer.get_extra_info("ssl_object") is None
        writer.close()
        await writer.wait_closed()

    bench.run(calling)
    assert bench.protocols[0].lost is None
    assert bench.faults == {}


def test_bytes_arrive_in_pieces(bench):
    bench.world.links.usual = LinkFaults(split=1.0)
    bench.run(lambda node: talk(node, count=20))
    assert 20 < len(bench.protocols[0].heard) <= 40
    assert b"".join(bench.protocols[0].heard) == b"hello" * 20
    assert bench.faults[Fault.SPLIT] >= 20


def test_a_single_byte_is_not_split(bench):
    bench.world.links.usual = LinkFaults(split=1.0)
    bench.run(lambda node: talk(node, b"x"))
    assert bench.faults[Fault.SPLIT] == 0


def test_loss_and_delay_cost_time_but_no_bytes(bench):
    bench.world.links.usual = LinkFaults(loss=1.0, delay=1.0, held_back_s=(10, 20))
    took = []

    async def calling(node):
        began = node.clock.deadline()
        await talk(node)
        took.append(node.clock.deadline() - began)

    bench.run(calling)
    assert 22 < took[0] < 43
    assert bench.faults == {Fault.LOSS: 2, Fault.DELAY: 2}


def test_bytes_do_not_overtake_those_that_are_held_back(bench):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        bench.world.links.set_weather("a", "b", LinkFaults(delay=1.0, held_back_s=(10, 20)))
        writer.write(b"first")
        bench.world.links.set_weather("a", "b", None)
        writer.write(b"second")
        assert await reader.readexactly(5) == b"first"
        assert 11 < node.clock.deadline() < 23
        assert await reader.readexactly(6) == b"second"

    bench.run(calling)


def test_a_connection_breaks_at_both_ends(bench):
    bench.world.links.set_weather("a", "b", LinkFaults(reset=1.0))

    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        writer.write(b"hello")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.write(b"more")
        assert writer.transport.is_closing()

    bench.run(calling)
    assert isinstance(bench.protocols[0].lost, ConnectionResetError)
    assert bench.protocols[0].heard == []
    assert bench.faults == {Fault.RESET: 1}


@pytest.mark.parametrize("kind", [Fault.PARTITION, Fault.CUT])
def test_bytes_wait_at_a_closed_link_for_a_while(bench, kind):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        bench.world.links.block("b", "a", kind)
        bench.world.loop.call_later(30, bench.world.links.unblock, "b", "a", kind)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert 30 < node.clock.deadline() < 40
        writer.transport.abort()

    bench.run(calling)
    assert bench.faults == {kind: 1}
    assert isinstance(bench.protocols[0].lost, ConnectionResetError)


def test_a_link_that_stays_closed_breaks_the_connection(bench):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        bench.world.links.block("a", "b", Fault.PARTITION)
        writer.write(b"hello")
        writer.write(b"again")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert node.clock.deadline() > 60

    bench.run(calling)
    assert bench.faults == {Fault.PARTITION: 1}


@pytest.mark.parametrize(
    ("kind", "source", "message", "after_s"),
    [(Fault.CUT, "a", "No route", 0), (Fault.PARTITION, "b", "timed out", 20)],
)
def test_a_closed_link_cannot_be_opened(bench, kind, source, message, after_s):
    async def calling(node):
        bench.world.links.block(source, "b" if source == "a" else "a", kind)
        with pytest.raises(LinkError, match=message):
            await node.network.open_tcp("b", 11111)
        assert 0 <= node.clock.deadline() - 1 - after_s < 1

    bench.run(calling)
    assert bench.faults == {kind: 1}


def test_where_nobody_listens_a_connection_is_refused(bench):
    async def calling(node):
        for host, port in (("b", 1), ("localhost", 11111)):
            with pytest.raises(LinkError, match="Connection refused"):
                await node.network.open_tcp(host, port)

    bench.run(calling)


def test_a_node_reaches_itself_by_the_loopback_address(bench):
    async def calling(node):
        server = await node.network.serve(bench.make, "127.0.0.1", 0)
        reader, writer = await node.network.open_tcp("127.0.0.1", server.port)
        writer.write(b"me")
        assert await reader.readexactly(2) == b"me"
        with pytest.raises(ConfigError, match="cannot listen on a port 49152"):
            await node.network.serve(bench.make, "127.0.0.1", server.port)
        server.close()
        await server.wait_closed()
        await node.network.serve(bench.make, "127.0.0.1", server.port)

    bench.run(calling)


def test_tls_shows_each_end_the_certificate_of_the_other(bench):
    bench.tls = TLS

    async def calling(node):
        with pytest.raises(LinkError, match="no TLS with b port 11111"):
            await node.network.open_tcp("b", 11111)
        reader, writer = await node.network.open_tcp("b", 11111, TLS)
        writer.write(b"hello")
        await reader.readexactly(5)
        theirs = writer.get_extra_info("ssl_object")
        assert theirs.getpeercert(True) == b"certificate of b"
        with pytest.raises(NotImplementedError):
            theirs.getpeercert()

    bench.run(calling)
    ours = bench.protocols[0].transport.get_extra_info("ssl_object")
    assert ours.getpeercert(binary_form=True) == b"certificate of a"


def test_a_listener_may_finish_what_it_says_after_the_caller_has_finished(bench):
    class Slow(Echo):
        def eof_received(self):
            asyncio.get_running_loop().call_later(5, self.finish)
            return True

        def finish(self):
            self.transport.write(b"bye")
            self.transport.close()
            self.transport.close()
            self.transport.write_eof()

    bench.make = Slow

    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        assert writer.can_write_eof()
        writer.write_eof()
        assert await reader.read() == b"bye"
        writer.close()

    bench.run(calling)


def test_a_listener_closes_when_the_caller_has_finished(bench):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"

    bench.run(calling)
    assert bench.protocols[0].lost is None


def test_writing_to_an_end_that_has_closed_breaks_the_connection(bench):
    async def calling(node):
        _, writer = await node.network.open_tcp("b", 11111)
        far = bench.protocols[0].transport
        bench.world.links.block("b", "a", Fault.PARTITION)  # so that we do not hear of it
        far.close()
        await node.clock.sleep(1)
        for _ in range(2):
            writer.write(b"hello")
            await node.clock.sleep(1)
        assert writer.transport.is_closing()

    bench.run(calling)


def test_a_reader_that_pauses_keeps_the_bytes(bench):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        far = bench.protocols[0].transport
        far.pause_reading()
        assert not far.is_reading()
        for piece in (b"he", b"ll", b"o"):
            writer.write(piece)
        await node.clock.sleep(10)
        assert bench.protocols[0].heard == []
        far.resume_reading()
        assert far.is_reading()
        assert await reader.readexactly(5) == b"hello"

    bench.run(calling)


def test_a_writer_that_is_too_fast_is_paused_and_resumed(bench):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        writer.transport.set_write_buffer_limits(high=8)
        writer.write(b"0123456789")
        assert writer.transport.get_write_buffer_size() == 10
        await writer.drain()
        assert writer.transport.get_write_buffer_size() == 0
        writer.transport.set_write_buffer_limits()
        await reader.readexactly(10)
        far = bench.protocols[0]
        far.transport.set_write_buffer_limits(high=8)
        writer.write(b"0123456789")
        writer.write(b"0123456789")
        await reader.readexactly(20)
        await node.clock.sleep(1)
        assert far.paused == [True, False]

    bench.run(calling)


def test_a_writer_is_not_resumed_after_the_end(bench):
    async def calling(node):
        _, writer = await node.network.open_tcp("b", 11111)
        far = bench.protocols[0]
        far.transport.set_write_buffer_limits(high=8)
        writer.write(b"0123456789")
        while not far.paused:
            await node.clock.sleep(0.01)
        far.transport.close()
        await node.clock.sleep(1)
        assert far.paused == [True]

    bench.run(calling)


def test_another_protocol_can_take_over(bench):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        transport = bench.protocols[0].transport
        second = Echo()
        second.connection_made(transport)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        writer.write(b"hello")
        await reader.readexactly(5)
        assert second.heard == [b"hello"]

    bench.run(calling)


def busy_day(seed):
    async def listens(node):
        await node.network.serve(Echo, "b", 11111)
        await asyncio.Event().wait()

    async def calls(node):
        while True:
            await node.clock.sleep(60)
            try:
                async with asyncio.timeout(30):
                    reader, writer = await node.network.open_tcp("b", 11111)
            except (LinkError, TimeoutError):
                continue
            try:
                async with asyncio.timeout(30):
                    for n in range(10):
                        writer.write(b"hello %d" % n)
                        await reader.readexactly(7)
            except (OSError, EOFError, TimeoutError):
                node.record("failed")
            finally:
                writer.close()

    with World(seed) as world:
        world.node("b", listens)
        world.node("a", calls)
        world.draw_faults(links=[("a", "b")], hours=24, intensity=Intensity(per_node_day=10))
        world.run(hours=24)
        return world


def test_every_kind_of_fault_of_a_stream_happens_on_a_busy_day_and_the_day_can_be_repeated():
    world = busy_day(1)
    for kind in (Fault.SPLIT, Fault.RESET, Fault.LOSS, Fault.DELAY, Fault.PARTITION, Fault.CUT, Fault.CRASH):
        assert world.faults[kind] > 0, kind
    assert busy_day(1).trace.digest == world.trace.digest != busy_day(2).trace.digest


def test_a_crash_resets_what_the_node_had_open_and_it_hears_nothing_of_it(bench):
    async def calling(node):
        reader, writer = await node.network.open_tcp("b", 11111)
        writer.write(b"hello")
        await reader.readexactly(5)
        bench.world.crash("b", down_s=60)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(LinkError, match="refused"):
            await node.network.open_tcp("b", 11111)
        await node.clock.sleep(60)
        await talk(node)

    bench.run(calling)
    assert bench.protocols[0].lost == "not lost"


def test_tasks_that_a_protocol_makes_die_with_its_node(bench):
    ended = []

    async def work():
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append(1)

    class Works(Echo):
        def data_received(self, data):
            self.task = asyncio.get_running_loop().create_task(work())

    bench.make = Works

    async def calling(node):
        _, writer = await node.network.open_tcp("b", 11111)
        writer.write(b"hello")
        await node.clock.sleep(10)
        bench.world.crash("b")
        await node.clock.sleep(10)
        assert ended == [1]

    bench.run(calling)
