"""What one aggregator with up to 10,000 EndDevices costs its server and itself: walk, subscriptions, a control, three Responses of each.

    python benchmarks/bench_aggregator.py [--quick] [--sizes 1000,10000] [--rounds 2] [--reference 4000] [--profile FOLDER]

Two processes as in production, over TLS on this machine: a serving node on core 0, with its store on disk, and the north face of
an aggregator on core 1, with a store of its own and a listener for notices. Every Response is acknowledged when it is on the
disk, and at the end each must be in the server's database exactly once. The reference is the same HTTP and TLS stack on both sides
in the same two processes: as many connections, GETs or POSTs with bodies as large, answered with a constant. It is measured after
every phase; "of the reference" is the CPU time of both processes per request against it. "growth" is the CPU time one EndDevice
costs against that among the fewest, 1 is linear; "in references" takes out how fast the machine was meanwhile. Requests and
bytes are those on the aggregator's connections to its server, TLS included. Rounds are repeated and of each figure the least
is reported, as other work on the machine only adds.
"""

import argparse
import asyncio
import contextlib
import cProfile
import importlib.util
import json
import logging
import os
import resource
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).parent
PARTY = "aggregator"
STATUSES = (1, 2, 3)
"""Received, started, completed."""
BOUND = 1.5
"""How much more one EndDevice may cost among 10,000 than among 1,000."""
HISTORY = """
Before and after wishes that wait together were granted in one transaction (3 on average of 8 under way), plain links were no
longer joined, and Responses looked up no watchers: 2,000 EndDevices on 2026-11-25, in turns, least of 3 rounds, load 3 to 4.
  subscriptions   wall 3.3 -> 2.5 s, server CPU 2.53 -> 1.55 s, client CPU 0.84 -> 0.56 s
  first walk      wall 3.0 -> 2.7 s, server CPU 0.86 -> 0.80 s, client CPU 1.32 -> 1.11 s
  Responses       wall 3.6 -> 3.3 s, server CPU 1.67 -> 1.52 s, client CPU 0.87 -> 0.73 s
"""
"""What was found with this benchmark and is better since."""
SERVER = """
[node]
name = "server"
level = 4
party = "utility"
[tls]
certificate = "server.pem"
key = "server.key"
anchors = ["anchors.pem"]
[identity]
pen = 37244
[serve.sep2]
listen = ["127.0.0.1:0"]
[serve.sep2.notify]
allow = ["127.0.0.1:{notices}"]
"""
CLIENT = """
[node]
name = "client"
level = 3
party = "aggregator"
[tls]
certificate = "device.pem"
key = "device.key"
anchors = ["anchors.pem"]
[identity]
pen = 37244
[serve.sep2]
listen = ["127.0.0.1:0"]
[listener]
listen = "127.0.0.1:{notices}"
uri = "https://127.0.0.1:{notices}"
[[north]]
protocol = "sep2"
channel = "utility"
party = "utility"
use = "relay"
server = "https://127.0.0.1:{port}/dcap"
"""


def transport_bench():
    """Give the benchmark of the transport, which makes the certificates."""
    spec = importlib.util.spec_from_file_location("bench_transport", HERE / "bench_transport.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lfdi_of(number):
    """Give the LFDI of one EndDevice; behind an aggregator it has no certificate that anybody sees."""
    import hashlib

    from tierline.model.identity import Lfdi

    return Lfdi(hashlib.sha256(f"bench {number}".encode()).hexdigest()[:40].upper())


def used():
    """Give what this process has used so far: CPU seconds of all its threads, and its peak memory in MiB."""
    return {"cpu": time.process_time(), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


# --- both processes: commands come in as lines, answers go out as lines ------------------------------------------------


async def obey(commands):
    """Carry out what comes in, until there is no more; each answer says also what this process has used by then."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *arguments = json.loads(line)
        answer = await commands[name](*arguments)
        print(json.dumps({**(answer or {}), **used()}), flush=True)


def run_child(options):
    """Be one of the two processes."""
    import structlog
    import uvloop

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    os.sched_setaffinity(0, {0 if options.child == "server" else 1})
    profile = cProfile.Profile() if options.profile else None
    if profile:
        profile.enable()
    uvloop.run((run_server if options.child == "server" else run_client)(options.folder, options.notices))
    if profile:
        profile.disable()
        profile.dump_stats(options.profile / f"{options.child}-{options.sizes}.prof")


# --- the server -------------------------------------------------------------------------------------------------------


class Constant:
    """The reference's handler: the same answer to everybody."""

    def __init__(self):
        self.body = b""

    def handle(self, request, _now):
        from tierline.protocols.sep2.transport import Response

        if request.method == "GET":
            return Response(status=200, body=self.body)
        return Response(status=201, location="/rsps/0/rsp/0")


async def run_server(folder, notices):
    from tierline.env.network import RealNetwork
    from tierline.node.compose import Databases, compose, identity_of, prepare
    from tierline.node.config import parse_config
    from tierline.protocols.sep2.transport import HttpServer
    from tierline.security.tls import server_context

    config = parse_config(SERVER.format(notices=notices), folder / "server.toml")
    databases = Databases()
    node = compose(config, databases)
    await prepare(node)
    identity = identity_of(config, config.tls)
    constant = Constant()
    reference = HttpServer(
        handler=constant,
        context=server_context(identity.certificate, identity.key, identity.anchors),
        trust=identity.trust,
        authorise=lambda peer: node.serving.handler.knows(peer.lfdi),
        clock=node.clock,
        network=RealNetwork(),
    )
    async with node.serving.http as http, reference, asyncio.TaskGroup() as group:
        telling = group.create_task(node.serving.telling.task.run())
        ports = [(await one.listen("127.0.0.1", 0)).port for one in (http, reference)]
        await obey(Utility(folder, node.serving.state, ports, constant).commands())
        telling.cancel()
    databases.close()


class Utility:
    """What the server's process is told to do."""

    def __init__(self, folder, state, ports, constant):
        from tierline.model.identity import PartyId
        from tierline.model.parties import Principal, Role

        self.folder, self.state, self.ports, self.constant = folder, state, ports, constant
        self.operator = Principal(party=PartyId("utility"), role=Role.OPERATOR, name="bench")
        self.group = self.mrid = None

    def commands(self):
        return {
            "register": self.register,
            "control": self.control,
            "used": self.used,
            "constant": self.set_constant,
            "recorded": self.recorded,
        }

    async def used(self):
        """Say what was used."""

    async def set_constant(self, size):
        self.constant.body = b"x" * size

    async def register(self, count):
        """Register the aggregator and whom it stands for, and make one group of all."""
        from tierline.model.identity import PartyId
        from tierline.operations.serving import groups, registry

        party = PartyId(PARTY)
        own = registry.NewDevice(lfdi=(self.folder / "device.lfdi").read_text(), aggregates=party)
        members = [registry.NewDevice(lfdi=lfdi_of(number), managed_by=party) for number in range(count)]
        await registry.register(self.operator, self.state, [own, *members])
        self.group = (await groups.create_group(self.operator, self.state, "all", everybody=True)).group.id
        return {"ports": self.ports}

    async def control(self):
        """Create one control for all, and say when that began."""
        from tierline.model.control import Setpoints
        from tierline.operations.serving import dispatch

        began = time.monotonic()
        order = dispatch.Order(
            group_id=self.group,
            setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
            start=self.state.clock.now() + timedelta(hours=1),
            duration_s=900,
        )
        self.mrid = (await dispatch.create_control(self.operator, self.state, order)).mrid
        return {"began": began, "mrid": self.mrid}

    async def recorded(self):
        """Count in the database, where each can be once only, and in memory what was acknowledged."""
        from tierline.model.records import ResponseRecord
        from tierline.storage.schema import MAPPINGS

        with contextlib.closing(sqlite3.connect(self.folder / "state" / "tierline.db")) as store:
            table = MAPPINGS[ResponseRecord].table.name
            (count,) = store.execute(f"SELECT count(*) FROM {table} WHERE mrid = ?", [self.mrid]).fetchone()
        by_status = Counter(status.value for _, status in self.state.responses[self.mrid])
        return {"in the database": count, "in memory": sorted(by_status.items())}


# --- the aggregator -----------------------------------------------------------------------------------------------------


class CountingNetwork:
    """The network of this machine, counting what goes over connections that were opened, TLS included."""

    def __init__(self, network):
        self._network = network
        self.bytes = 0

    async def open_tcp(self, host, port, tls=None):
        reader, writer = await self._network.open_tcp(host, port, tls)
        read, write = reader.read, writer.write

        async def counted_read(size):
            data = await read(size)
            self.bytes += len(data)
            return data

        def counted_write(data):
            self.bytes += len(data)
            write(data)

        reader.read, writer.write = counted_read, counted_write
        return reader, writer


class CountingCourier:
    """A courier that counts what it carries."""

    def __init__(self, courier):
        self._courier = courier
        self.network = courier._network = CountingNetwork(courier._network)
        self.requests = self.sent = self.received = 0

    async def request(self, method, path, body=b""):
        self.requests += 1
        self.sent += len(body)
        answer = await self._courier.request(method, path, body)
        self.received += len(answer.body)
        return answer

    async def close(self):
        await self._courier.close()

    def figures(self):
        return {"requests": self.requests, "sent": self.sent, "received": self.received, "bytes": self.network.bytes}


async def run_client(folder, notices):
    from tierline.node.compose import Databases, clock_of, identity_of
    from tierline.node.config import parse_config
    from tierline.node.listening import listening_of
    from tierline.node.uplink import uplink
    from tierline.protocols.sep2.fleet_north import AT_ONCE, Sep2FleetNorth

    ports = json.loads((folder / "ports").read_text())
    config = parse_config(CLIENT.format(notices=notices, port=ports[0]), folder / "client.toml")
    databases = Databases()
    clock = clock_of(config)
    store = databases.store(folder / "client.db", "client")
    identity = identity_of(config, config.tls)
    listening = listening_of(config, config.listener, identity, clock, store)
    await listening.keep(store)
    courier, entry = uplink(config.north[0], identity, clock, connections=AT_ONCE)
    courier = CountingCourier(courier)
    woken = asyncio.Event()
    heard = []

    def hear(notice):
        heard[0].hear(notice)
        woken.set()

    north = Sep2FleetNorth(
        courier=courier,
        entry=entry,
        clock=clock,
        store=store,
        pen=37244,
        notification_uri=listening.notices.register(entry.channel, None, hear),
    )
    heard.append(north)
    # The reference goes to the other port, from the same process, over as many connections.
    elsewhere = config.north[0].model_copy(update={"server": f"https://127.0.0.1:{ports[1]}/"})
    plain, _ = uplink(elsewhere, identity, clock, connections=AT_ONCE)
    async with listening.http:
        await listening.http.listen(*listening.listen)
        await obey(Aggregator(north, courier, plain, woken, AT_ONCE).commands())
    await north.close()
    await plain.close()
    databases.close()


class Aggregator:
    """What the aggregator's process is told to do."""

    def __init__(self, north, courier, plain, woken, at_once):
        self.north, self.courier, self.plain, self.woken, self.at_once = north, courier, plain, woken, at_once
        self.seen = None

    def commands(self):
        return {
            "walk": self.walk,
            "subscribe": self.subscribe,
            "refresh": self.refresh,
            "respond": self.respond,
            "used": self.used,
            "reference": self.reference,
        }

    async def used(self):
        return self.courier.figures()

    async def walk(self, count):
        """Read everything for the first time."""
        self.seen = await self.north.walk()
        assert len(self.seen.members) == count, len(self.seen.members)
        assert all(len(member.programs) == 1 for member in self.seen.members.values())
        return self.courier.figures()

    async def subscribe(self):
        await self.north.subscribe()
        return self.courier.figures()

    async def refresh(self, mrid):
        """Read what a notice names until the control is seen; says when that was."""
        while mrid not in {control.mrid for one in self.seen.programs.values() for control in one.controls}:
            async with asyncio.timeout(60):
                await self.woken.wait()
            self.woken.clear()
            self.seen = await self.north.walk()
        return {"ended": time.monotonic(), **self.courier.figures()}

    async def respond(self, mrid):
        """Post the Responses of all, one status after the other, as many at once as the north face carries."""
        from tierline.model.programs import Response, ResponseStatus

        created = self.north._clock.now()
        for status in map(ResponseStatus, STATUSES):
            waiting = iter(
                [
                    Response(
                        mrid=mrid, der_id=None, lfdi=lfdi, status=status, created_at=created, channel=self.seen.channel
                    )
                    for lfdi in self.seen.members
                ]
            )

            async def post(waiting=waiting):
                for response in waiting:
                    await self.north.respond(response)

            async with asyncio.TaskGroup() as group:
                for _ in range(self.at_once):
                    group.create_task(post())
        return self.courier.figures()

    async def reference(self, method, count, size):
        """Send requests that are answered with a constant."""
        waiting, body = iter(range(count)), b"x" * size

        async def ask():
            for _ in waiting:
                answer = await self.plain.request(method, "/reference", body)
                assert answer.status < 300

        async with asyncio.TaskGroup() as group:
            for _ in range(self.at_once):
                group.create_task(ask())


# --- the process that measures ----------------------------------------------------------------------------------------


class Child:
    """One of the two processes."""

    def __init__(self, name, folder, notices, options, size):
        command = [sys.executable, __file__, "--child", name, "--folder", str(folder), "--notices", str(notices)]
        command += ["--sizes", str(size)]
        if options.profile:
            command += ["--profile", str(options.profile)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, *words):
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a process of the benchmark ended")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Round:
    """One server and one aggregator from the beginning to the end."""

    def __init__(self, folder, options, size):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            notices = probe.getsockname()[1]
        self.options, self.size, self.folder = options, size, folder
        self.found = {}
        self.server = Child("server", folder, notices, options, size)
        self.client = None
        try:
            self._go(notices)
        finally:
            for child in (self.client, self.server):
                if child:
                    child.kill()

    def _go(self, notices):
        before, began = self.server.tell("used"), time.monotonic()
        registered = self.server.tell("register", self.size)
        self.found["registration out of band"] = {
            "wall s": time.monotonic() - began,
            "server CPU s": registered["cpu"] - before["cpu"],
        }
        (self.folder / "ports").write_text(json.dumps(registered["ports"]))
        self.client = Child("client", self.folder, notices, self.options, self.size)
        self.client.tell("used")
        self._phase("first walk", "GET", lambda: self.client.tell("walk", self.size))
        self._phase("subscriptions", "POST", lambda: self.client.tell("subscribe"))
        mrid = self._phase("control, notice, refresh", None, self._control)["mrid"]
        self._phase("Responses", "POST", lambda: self.client.tell("respond", mrid))
        recorded = self.server.tell("recorded")
        wanted = {"in the database": len(STATUSES) * self.size, "in memory": [[one, self.size] for one in STATUSES]}
        if any(recorded[key] != value for key, value in wanted.items()):
            sys.exit(f"{wanted} Responses were acknowledged, of which these are recorded: {recorded}")
        peaks = {"server MiB": recorded["peak"], "client MiB": self.client.tell("used")["peak"]}
        self.found["peak memory"] = peaks
        self.client.end()
        self.server.end()

    def _control(self):
        made = self.server.tell("control")
        seen = self.client.tell("refresh", made["mrid"])
        return {**seen, "mrid": made["mrid"], "wall": seen["ended"] - made["began"]}

    def _phase(self, name, method, work):
        """Measure one phase and, after it, the reference for its kind of request."""
        before, began = (self.server.tell("used"), self.client.tell("used")), time.monotonic()
        done = work()
        wall = done.get("wall", time.monotonic() - began)
        after = self.server.tell("used")
        requests = done["requests"] - before[1]["requests"]
        row = {
            "wall s": wall,
            "server CPU s": after["cpu"] - before[0]["cpu"],
            "client CPU s": done["cpu"] - before[1]["cpu"],
            "requests": requests,
            "kB": (done["bytes"] - before[1]["bytes"]) / 1000,
        }
        if method:
            row["reference us"] = self._reference(
                method,
                sent=(done["sent"] - before[1]["sent"]) // requests,
                received=(done["received"] - before[1]["received"]) // requests,
            )
        self.found[name] = row
        return done

    def _reference(self, method, sent, received):
        """Give the CPU microseconds of both processes for one request with a constant answer."""
        self.server.tell("constant", received)
        count = min(self.options.reference, self.found_requests())
        before = self.server.tell("used")["cpu"] + self.client.tell("used")["cpu"]
        self.client.tell("reference", method, count, sent)
        after = self.server.tell("used")["cpu"] + self.client.tell("used")["cpu"]
        return (after - before) / count * 1e6

    def found_requests(self):
        """Give how many requests are worth comparing."""
        return max(500, len(STATUSES) * self.size)


def measure(options, sizes):
    """Run all rounds, sizes in turns; gives the least of each figure, by size and phase."""
    bench = transport_bench()
    least = {size: {} for size in sizes}
    for number in range(options.rounds):
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="bench-aggregator-") as name:
                folder = Path(name)
                bench.make_pki(folder)
                began = time.monotonic()
                found = Round(folder, options, size).found
            print(f"round {number + 1}, {size} EndDevices: {time.monotonic() - began:.0f} s", flush=True)
            for phase, row in found.items():
                known = least[size].setdefault(phase, row)
                least[size][phase] = {figure: min(value, known[figure]) for figure, value in row.items()}
    return least


def table(least):
    """Put the figures together, the growth per EndDevice beside them."""
    first = min(least)
    rows = {}
    for phase in least[first]:
        for size, phases in sorted(least.items()):
            row = row_of(phases[phase])
            if size != first:
                row |= growth_of(phases[phase], least[first][phase], size, first)
            rows[f"{phase}, {size}"] = row
    return rows


def cpu_of(found):
    return found.get("server CPU s", 0.0) + found.get("client CPU s", 0.0)


def row_of(found):
    row = {figure: round(value, 3) for figure, value in found.items() if figure != "reference us"}
    if "reference us" in found:
        row["us CPU a request"] = round(cpu_of(found) / found["requests"] * 1e6, 1)
        row["reference, us"] = round(found["reference us"], 1)
        row["of the reference"] = round(cpu_of(found) / found["requests"] * 1e6 / found["reference us"], 2)
    return row


def growth_of(found, fewest, size, first):
    """Say what one EndDevice costs against what it costs among the fewest."""
    if "server MiB" in found:
        more = {
            who: (found[f"{who} MiB"] - fewest[f"{who} MiB"]) / (size - first) * 1024 for who in ("server", "client")
        }
        return {f"{who} KiB per EndDevice": round(value, 2) for who, value in more.items()}
    growth = cpu_of(found) / size / (cpu_of(fewest) / first)
    if "reference us" not in found:
        return {"growth": round(growth, 2)}
    in_references = growth / (found["reference us"] / fewest["reference us"])
    return {"growth": round(growth, 2), "growth in references": round(in_references, 2)}


def say_growth(rows):
    """State whether the cost of one EndDevice stays what it is; judged by CPU time as it was measured."""
    for name, row in rows.items():
        if "growth" in row:
            verdict = "within" if row["growth"] <= BOUND else "BEYOND"
            also = f" ({row['growth in references']:.2f} in references)" if "growth in references" in row else ""
            print(
                f"{name}: one EndDevice costs {row['growth']:.2f} times{also} what it does among the fewest, {verdict} {BOUND}"
            )


def main(arguments=None):
    """Print the table and return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 and 1000 EndDevices, one round")
    parser.add_argument("--sizes", default="1000,10000")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--reference", type=int, default=4000, help="the most requests of one reference shot")
    parser.add_argument("--profile", type=Path, help="write what Python spent its time with into this folder")
    parser.add_argument("--child", choices=("server", "client"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--notices", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        run_child(options)
        return {}
    if options.quick:
        options.sizes, options.rounds = "100,1000", 1
    sizes = [int(size) for size in options.sizes.split(",")]
    load = os.getloadavg()[0]
    rows = table(measure(options, sizes))
    print(
        f"{ssl.OPENSSL_VERSION}, least of {options.rounds} rounds, load at the start {load:.1f}, {os.cpu_count()} cores"
    )
    for name, row in rows.items():
        print(f"{name:34}" + "   ".join(f"{figure} {value}" for figure, value in row.items()))
    say_growth(rows)
    print(HISTORY)
    return rows


if __name__ == "__main__":
    main()
