"""What a list of 20 controls costs a whole node in CPU time: TLS, access control, cache and all, against nginx and the same bytes.

    python benchmarks/bench_list.py [--rounds 5] [--requests 1500] [--handshakes 100] [--suite ECDHE-ECDSA-AES128-CCM8]

The node is composed from a configuration, as in production: registry, grid, store on disk, chain check, views. Server and nginx
are a process each on core 0, the load on core 1; rounds are interleaved and their order turns. The figure is CPU time of the
server process per request, the ratio to nginx is taken within each round. `main()` gives the table as a dictionary.
"""

import argparse
import asyncio
import importlib.util
import json
import logging
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).parent
BORN = datetime(2020, 1, 1, tzinfo=UTC)
CONTROLS = 20
CONFIG = """
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
[grid]
file = "oberrhein"
"""


def transport_bench():
    """Give the measuring of the transport's own benchmark: certificates, nginx, load, CPU time of a process."""
    spec = importlib.util.spec_from_file_location("bench_transport", HERE / "bench_transport.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(folder):
    """Run the node until it is killed; write its port and the path of the list into the folder."""
    os.sched_setaffinity(0, {0})
    import structlog
    import uvloop

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    uvloop.run(run_node(folder))


async def run_node(folder):
    from tierline.model.control import Setpoints
    from tierline.model.identity import PartyId
    from tierline.model.parties import Principal, Role
    from tierline.node.compose import Databases, compose, prepare
    from tierline.node.config import parse_config
    from tierline.operations.serving import dispatch, registry, topology
    from tierline.protocols.sep2.views import short

    operator = Principal(party=PartyId("utility"), role=Role.OPERATOR, name="bench")
    databases = Databases()
    node = compose(parse_config(CONFIG, folder / "server.toml"), databases)
    await prepare(node)
    state = node.serving.state
    point = state.grid.service_points[0].id
    lfdi = (folder / "device.lfdi").read_text()
    await registry.register(operator, state, [registry.NewDevice(lfdi=lfdi, service_point=point)])
    feeder = next(iter(topology.elements_of(state, point) & {feeder.id for feeder in state.grid.feeders}))
    group = topology.find_group(state, feeder).group.id
    for number in range(CONTROLS):
        order = dispatch.Order(
            group_id=group,
            setpoints=Setpoints.of({"max_lim_w_pct": Decimal(number + 1), "fixed_w_pct": Decimal(number)}),
            start=node.clock.now() + timedelta(hours=1 + number),
            duration_s=900,
            randomize_start_s=60,
        )
        await dispatch.create_control(operator, state, order)
    path = f"/derp/{short(state.programs_of[group][0])}/derc"
    async with node.serving.http as http:
        # as many handshakes as a benchmark makes are no attack
        http._service.pace._burst = 10**9
        listener = await http.listen("127.0.0.1", 0)
        (folder / "ready.part").write_text(json.dumps({"port": listener.port, "path": path}))
        (folder / "ready.part").rename(folder / "ready")
        await asyncio.Event().wait()


def start_node(folder, bench):
    process = subprocess.Popen([sys.executable, __file__, "--serve", str(folder)])
    bench.wait_for((folder / "ready").exists)
    ready = json.loads((folder / "ready").read_text())
    return bench.Server("tierline", process, ready["port"]), ready["path"]


def measure(options):
    from tierline.security.keys import load_certificates
    from tierline.security.tls import SUITES, client_context

    bench = transport_bench()
    with tempfile.TemporaryDirectory(prefix="bench-list-") as name:
        folder = Path(name)
        bench.make_pki(folder)
        anchors = load_certificates(folder / "anchors.pem")
        context = client_context(folder / "device.pem", folder / "device.key", anchors, suites=[options.suite])
        node, path = start_node(folder, bench)
        servers = [node]
        try:
            target = f"{path}?s=0&l=255"
            bench.REQUEST = request(target)
            bench.BODY = body_of(bench, context, node)
            file = folder / "www" / path.strip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bench.BODY)
            nginx = bench.start_nginx(folder, SUITES)
            servers += [nginx] if nginx else []
            os.sched_setaffinity(0, {1})
            return table(rounds(options, bench, servers, context), nginx), len(bench.BODY)
        finally:
            for server in servers:
                server.stop()


def request(target):
    accept = "application/sep+xml; level=-S1"
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n".encode()


def body_of(bench, context, server):
    """Read the list once, so that nginx serves the same bytes and every answer is known to be whole."""
    with bench.connect(context, server) as stream:
        stream.sendall(bench.REQUEST)
        data = stream.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(
            next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[1]
        )
        while len(body) < length:
            body += stream.recv(65536)
    assert body.count(b"<DERControl ") == CONTROLS
    return body


def rounds(options, bench, servers, context):
    found = {}
    for number in range(options.rounds):
        turn = servers[number % len(servers) :] + servers[: number % len(servers)]
        for server in turn:
            get = bench.keep_alive(context, server, options.requests)
            shake = bench.handshakes(context, server, options.handshakes)
            found.setdefault(("get", server.name), []).append(get)
            found.setdefault(("handshake", server.name), []).append(shake)
    return found


ROWS = {"get": f"GET of {CONTROLS} controls", "handshake": "full handshake + GET"}


def table(found, nginx):
    """Put the figures together: medians in microseconds of CPU; the ratio to nginx is taken within each round."""
    rows = {}
    for what, name in ROWS.items():
        ours = found[what, "tierline"]
        row = {"us CPU": round(statistics.median(ours) * 1e6, 1)}
        if nginx:
            theirs = found[what, "nginx"]
            ratios = sorted(one / other for one, other in zip(theirs, ours, strict=True))
            row |= {
                "nginx us CPU": round(statistics.median(theirs) * 1e6, 1),
                "of nginx": round(statistics.median(ratios), 2),
                "of nginx, least": round(ratios[0], 2),
                "of nginx, most": round(ratios[-1], 2),
            }
        rows[name] = row
    return rows


def main(arguments=None):
    """Print the table and give it; without nginx on the machine its part is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--handshakes", type=int, default=100)
    parser.add_argument("--suite", default="ECDHE-ECDSA-AES128-CCM8")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve)
        return {}
    rows, size = measure(options)
    print(
        f"{ssl.OPENSSL_VERSION}, {options.suite}, {size} bytes, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}"
    )
    for name, row in rows.items():
        print(f"{name:24}" + "   ".join(f"{figure} {value}" for figure, value in row.items()))
    if not any("of nginx" in row for row in rows.values()):
        print("reference missing: no nginx on this machine")
    return rows


if __name__ == "__main__":
    main()
