"""What a request and a handshake cost the server in CPU time, against nginx serving the same bytes on the same machine.

    python benchmarks/bench_transport.py [--rounds 7] [--requests 2000] [--handshakes 200] [--suite ECDHE-ECDSA-AES128-CCM8]

Each server is one process on core 0, the load on core 1; rounds are interleaved; the figure is CPU time of the server process
per request, and the ratio to nginx is taken within each round. Ours goes the whole way: chain check, authorisation, handler.
"""

import argparse
import asyncio
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

BORN = datetime(2020, 1, 1, tzinfo=UTC)
BODY = b"<DERControlList>" + b"<DERControl>" + b"x" * 12_770 + b"</DERControlList>"
"""As large as a list of 20 controls."""

PATH = "/derp/0/derc"
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; tcp_nodelay on;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s; open_file_cache max=10; default_type application/sep+xml;
  server {{
    listen 127.0.0.1:{port} ssl; root {folder}/www;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {folder}/anchors.pem; ssl_verify_client on; ssl_verify_depth 4;
    ssl_protocols TLSv1.2; ssl_ciphers {suites}; ssl_ecdh_curve prime256v1; ssl_session_tickets on;
  }}
}}
"""


def serve(folder, loop):
    """Run our server until it is killed; write its port into the folder."""
    os.sched_setaffinity(0, {0})
    import logging

    import structlog

    from tierline.env.clock import RealClock
    from tierline.env.network import RealNetwork
    from tierline.protocols.sep2.transport import HttpServer, Limits, Response
    from tierline.security.keys import load_certificates
    from tierline.security.tls import server_context
    from tierline.security.trust import ChainTrust, MemoryVerdicts

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    anchors = load_certificates(folder / "anchors.pem")
    known = {(folder / "device.lfdi").read_text()}

    class Static:
        def __init__(self):
            self.pages = {PATH: Response(status=200, body=BODY)}

        def handle(self, request, _now):
            return self.pages.get(request.path) or Response(status=404)

    async def run():
        server = HttpServer(
            handler=Static(),
            context=server_context(folder / "server.pem", folder / "server.key", anchors),
            trust=ChainTrust(anchors, generation=1, verdicts=MemoryVerdicts()),
            authorise=lambda peer: peer.lfdi in known,
            clock=RealClock.of_this_machine(),
            network=RealNetwork(),
            limits=Limits(handshake_burst_per_address=1_000_000),
        )
        async with server:
            listener = await server.listen("127.0.0.1", 0)
            (folder / f"port.{loop}.part").write_text(str(listener.port))
            (folder / f"port.{loop}.part").rename(folder / f"port.{loop}")
            await asyncio.Event().wait()

    if loop == "uvloop":
        import uvloop

        uvloop.run(run())
    else:
        asyncio.run(run())


class Server:
    """A server process under load."""

    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port

    def cpu_s(self):
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def make_pki(folder):
    from tierline.security.hardware_name import HardwareName
    from tierline.security.keys import write_credential
    from tierline.security.pki import make_device, make_mica, make_serca, make_server

    serca = make_serca("bench SERCA", BORN, demo=False)
    mica = make_mica(serca, "bench MICA", BORN)
    name = HardwareName(type_oid="1.3.6.1.4.1.40732.1", serial=b"1")
    write_credential(folder, "server", make_server(mica, name, BORN, ip_addresses=["127.0.0.1"]))
    device = make_device(mica, name, BORN)
    write_credential(folder, "device", device)
    (folder / "anchors.pem").write_bytes(serca.certificate_pem)
    (folder / "device.lfdi").write_text(device.lfdi)
    (folder / "www" / PATH.strip("/")).parent.mkdir(parents=True)
    (folder / "www" / PATH.strip("/")).write_bytes(BODY)


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    sys.exit("a server did not start")


def start_ours(folder, loop):
    command = [sys.executable, __file__, "--serve", str(folder), "--loop", loop]
    process = subprocess.Popen(command)
    port_file = folder / f"port.{loop}"
    wait_for(port_file.exists)
    return Server(f"tierline, {loop}", process, int(port_file.read_text()))


def start_nginx(folder, suites):
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, suites=":".join(suites) + ":@SECLEVEL=0"))
    folder.chmod(0o755)  # its worker may run as another user
    command = ["taskset", "-c", "0", binary, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def is_up():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(is_up)
    return Server("nginx", process, port)


REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/sep+xml; level=-S1\r\n\r\n".encode()


def connect(context, server, session=None):
    plain = socket.create_connection(("127.0.0.1", server.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname="127.0.0.1", session=session)


def get(stream):
    stream.sendall(REQUEST)
    data = stream.recv(65536)
    assert data.startswith(b"HTTP/1.1 200"), data[:200]
    left = data.index(b"\r\n\r\n") + 4 + len(BODY) - len(data)
    while left:
        data = stream.recv(65536)
        assert data
        left -= len(data)


def keep_alive(context, server, count):
    streams = [connect(context, server) for _ in range(8)]
    for stream in streams:
        get(stream)
    before = server.cpu_s()
    for i in range(count):
        get(streams[i % 8])
    used = server.cpu_s() - before
    for stream in streams:
        stream.close()
    return used / count


def handshakes(context, server, count, *, resume=False):
    session = None
    if resume:
        with connect(context, server) as stream:
            get(stream)
            session = stream.session
    before = server.cpu_s()
    for _ in range(count):
        with connect(context, server, session) as stream:
            get(stream)
            assert stream.session_reused == resume
    time.sleep(0.05)
    return (server.cpu_s() - before) / count


def measure(options):
    from tierline.security.keys import load_certificates
    from tierline.security.tls import SUITES, client_context

    with tempfile.TemporaryDirectory(prefix="bench-transport-") as name:
        folder = Path(name)
        make_pki(folder)
        anchors = load_certificates(folder / "anchors.pem")
        context = client_context(folder / "device.pem", folder / "device.key", anchors, suites=[options.suite])
        nginx = start_nginx(folder, SUITES)
        servers = [start_ours(folder, "uvloop"), start_ours(folder, "asyncio"), *([nginx] if nginx else [])]
        os.sched_setaffinity(0, {1})
        try:
            return report(options, rounds(options, servers, context), nginx)
        finally:
            for server in servers:
                server.stop()


def rounds(options, servers, context):
    found = {}
    for number in range(options.rounds):
        turn = servers[number % len(servers) :] + servers[: number % len(servers)]
        for server in turn:
            shots = {
                "keep-alive GET": keep_alive(context, server, options.requests),
                "full handshake + GET": handshakes(context, server, options.handshakes),
                "resumed + GET": handshakes(context, server, options.handshakes, resume=True),
            }
            for what, cost in shots.items():
                found.setdefault((what, server.name), []).append(cost)
    return found


def report(options, found, nginx):
    print(
        f"{ssl.OPENSSL_VERSION}, {options.suite}, body {len(BODY)} bytes, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}"
    )
    results = {}
    for (what, name), costs in sorted(found.items()):
        row = results.setdefault(f"{what}, {name}", {"us CPU": statistics.median(costs) * 1e6})
        line = f"{what:22} {name:18} {statistics.median(costs) * 1e6:8.1f} us CPU  {1 / statistics.median(costs):8.0f} /CPU-s"
        if nginx and name != "nginx":
            ratios = sorted(theirs / ours for ours, theirs in zip(costs, found[what, "nginx"], strict=True))
            row["speed of nginx"] = statistics.median(ratios)
            line += f"   of nginx {statistics.median(ratios):.2f} [{ratios[0]:.2f}..{ratios[-1]:.2f}]"
        print(line)
    if not nginx:
        print("reference missing: no nginx on this machine")
    return results


def main():
    """Print the table and return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--handshakes", type=int, default=200)
    parser.add_argument("--suite", default="ECDHE-ECDSA-AES128-CCM8")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--loop", default="uvloop", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.loop)
    return measure(options)


if __name__ == "__main__":
    main()
