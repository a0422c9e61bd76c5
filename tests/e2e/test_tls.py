"""IEEE 2030.5 transport over real sockets: mutual TLS, chains, limits, deadlines."""

import asyncio
import hashlib
import socket
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from httpx import AsyncClient

from tierline.env.clock import RealClock
from tierline.env.network import RealNetwork
from tierline.model.errors import Conflict, Forbidden, LinkError, PeerError, Unsupported
from tierline.protocols.sep2.transport import HttpClient, HttpServer, Limits, Response
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import Credential, Extra, make_device, make_mca, make_mica, make_serca, make_server
from tierline.security.tls import SUITES, client_context, server_context
from tierline.security.trust import ChainTrust, MemoryVerdicts

pytestmark = pytest.mark.e2e

BORN = datetime(2020, 1, 1, tzinfo=UTC)
HARDWARE = HardwareName(type_oid="1.3.6.1.4.1.40732.1.7", serial=b"inverter-1")
BOTH_FAMILIES = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


class Echo:
    """A handler that tells what it was asked."""

    def __init__(self):
        self.seen = []
        self.may_ask = True
        self.released = asyncio.Event()

    def handle(self, request, now):
        self.seen.append(request)
        match request.path:
            case "/later":
                return self._later(request)
            case "/stuck":
                return self._stuck()
            case "/conflict":
                raise Conflict("taken")
            case "/forbidden":
                raise Forbidden("no")
            case "/bug":
                raise ZeroDivisionError
            case "/bug-later":
                return self._bug()
            case "/unsupported":
                return self._unsupported()
            case "/moved":
                return Response(status=301, location="/dcap?moved=1")
            case "/loop":
                return Response(status=302, location="/loop")
            case "/abroad":
                return Response(status=301, location="https://elsewhere.example/dcap")
            case "/big":
                return Response(status=200, body=b"x" * 300_000)
            case "/allow":
                return Response(status=405, allow=("GET", "HEAD"))
        if request.method == "POST":
            return Response(status=201, location=request.path + "/1")
        if request.method == "PUT":
            return Response(status=204)
        return Response(status=200, body=f"{request.path}?{request.query} {request.peer.lfdi}".encode())

    async def _later(self, request):
        await asyncio.sleep(0.01)
        return Response(status=200, body=b"later")

    async def _stuck(self):
        await self.released.wait()
        return Response(status=200, body=b"released")

    async def _bug(self):
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def _unsupported(self):
        await asyncio.sleep(0)
        raise Unsupported("not here")


@pytest.fixture(scope="module")
def pki():
    serca = make_serca("SERCA", BORN, demo=False)
    mca = make_mca(serca, "MCA", BORN)
    mica = make_mica(serca, "MICA", BORN)
    return SimpleNamespace(
        serca=serca,
        mca=mca,
        mica=mica,
        server=make_server(mica, HARDWARE, BORN, dns_names=["localhost"], ip_addresses=["127.0.0.1", "::1"]),
        device=make_device(mica, HARDWARE, BORN),
        other=make_device(mica, HARDWARE, BORN),
        chain_of_2=make_device(serca, HARDWARE, BORN),
        chain_of_4=make_device(make_mica(mca, "MICA below MCA", BORN), HARDWARE, BORN),
    )


@pytest.fixture
def world(pki, tmp_path):
    """Everything a test may want to change before a server starts."""
    w = SimpleNamespace(
        pki=pki,
        handler=Echo(),
        clock=RealClock.of_this_machine(),
        network=RealNetwork(),
        limits=Limits(drain_s=1.0),
        verdicts=MemoryVerdicts(),
        anchors=[pki.serca.certificate_der],
        folder=tmp_path,
        count=0,
    )
    w.trust = ChainTrust(w.anchors, generation=1, verdicts=w.verdicts)
    return w


def context_of(world, build, credential, **more):
    world.count += 1
    files = write_credential(world.folder / str(world.count), "own", credential)
    return build(*files, more.pop("anchors", world.anchors), **more)


@asynccontextmanager
async def serving(world, host="127.0.0.1", **more):
    server = HttpServer(
        handler=world.handler,
        context=context_of(world, server_context, more.pop("credential", world.pki.server)),
        trust=more.pop("trust", world.trust),
        authorise=lambda _: world.handler.may_ask,
        clock=world.clock,
        network=world.network,
        limits=world.limits,
    )
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with server:
        listener = await server.listen(host, 0)
        world.server, world.host, world.port = server, host, listener.port
        yield server
    await asyncio.sleep(0)
    assert not failures


def client_of(world, credential=None, *, context=None, trust=None, limits=None, **more):
    return HttpClient(
        host=world.host,
        port=world.port,
        context=context or context_of(world, client_context, credential or world.pki.device),
        trust=trust or ChainTrust(world.anchors, generation=1, verdicts=MemoryVerdicts()),
        clock=world.clock,
        network=world.network,
        limits=limits or Limits(),
        **more,
    )


@asynccontextmanager
async def raw(world, credential=None, context=None):
    """A plain TLS stream by asyncio itself, to say what our own client never would."""
    context = context or context_of(world, client_context, credential or world.pki.device)
    reader, writer = await asyncio.open_connection(world.host, world.port, ssl=context, server_hostname="localhost")
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  what is waited for happens in the server
            await asyncio.sleep(0.01)


GET = b"GET /dcap HTTP/1.1\r\nHost: a\r\n\r\n"


async def talk(world, data, **more):
    """Send bytes; give all that comes until the server closes."""
    async with raw(world, **more) as (reader, writer), asyncio.timeout(5):
        writer.write(data)
        return await reader.read()


# Mutual TLS -----------------------------------------------------------------------------------------------------------


@BOTH_FAMILIES
@pytest.mark.parametrize("suite", SUITES)
async def test_mutual_tls_works_with_each_suite_on_both_families(world, host, suite):
    async with serving(world, host):
        client = client_of(world, context=context_of(world, client_context, world.pki.device, suites=[suite]))
        response = await client.request("GET", "/dcap?s=0&l=255")
        assert response.status == 200
        assert response.body == f"/dcap?s=0&l=255 {world.pki.device.lfdi}".encode()
        assert client._kept[0][0]._tls.suite == suite
        await client.close()


async def test_ccm_8_is_preferred_to_what_else_a_client_offers(world):
    async with serving(world):
        client = client_of(world, context=context_of(world, client_context, world.pki.device, suites=SUITES[::-1]))
        await client.request("GET", "/dcap")
        assert client._kept[0][0]._tls.suite == "ECDHE-ECDSA-AES128-CCM8"
        await client.close()


@pytest.mark.parametrize("who", ["chain_of_2", "device", "chain_of_4"])
async def test_chains_of_2_3_and_4_are_accepted(world, who):
    async with serving(world):
        client = client_of(world, getattr(world.pki, who))
        assert getattr(world.pki, who).lfdi in (await client.request("GET", "/dcap")).body.decode()
        await client.close()


async def test_the_identity_is_that_of_the_certificate_of_this_connection(world):
    async with serving(world):
        for who in (world.pki.device, world.pki.other):
            client = client_of(world, who)
            await client.request("GET", "/dcap")
            peer = world.handler.seen[-1].peer
            assert (peer.lfdi, peer.address) == (who.lfdi, "127.0.0.1")
            assert peer.fingerprint == hashlib.sha256(who.certificate_der).hexdigest()
            await client.close()


# Who is refused -------------------------------------------------------------------------------------------------------

EKU = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
NAME_CONSTRAINTS = x509.NameConstraints(None, [x509.DNSName("forbidden.example")])
POLICY_MAPPINGS = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("2.5.29.33"),
    bytes.fromhex("3018" + "3016" + "060a2b0601040182be1c0101" + "06082b0601040182be1c"),
)


async def is_refused(world, credential, *, sends=None):
    """Tell whether the server refuses a client, before any request is handled."""
    files = write_credential(world.folder / f"bad{world.count}", "own", credential)
    world.count += 1
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_verify_locations(cadata=b"".join(world.anchors))
    context.load_cert_chain(*files)
    try:
        answer = await talk(world, GET, context=context)
    except (ssl.SSLError, ConnectionError) as error:
        world.alert = str(error)
        answer = b""
    return answer == b"" and not world.handler.seen


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize("value", [EKU, NAME_CONSTRAINTS, POLICY_MAPPINGS], ids=["EKU", "name", "mapping"])
async def test_an_issuing_authority_that_comm_004_calls_bad_is_refused(world, value, critical):
    mica = make_mica(world.pki.serca, "bad MICA", BORN, extras=[Extra(value=value, critical=critical)])
    async with serving(world):
        assert await is_refused(world, make_device(mica, HARDWARE, BORN))


async def test_what_only_our_own_check_refuses_draws_bad_certificate(world):
    mica = make_mica(world.pki.serca, "bad MICA", BORN, extras=[Extra(value=EKU, critical=True)])
    async with serving(world):
        assert await is_refused(world, make_device(mica, HARDWARE, BORN))
        assert "ALERT_BAD_CERTIFICATE" in world.alert


def self_signed():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(BORN).not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
    return Credential(certificate=builder.sign(key, hashes.SHA256()), key=key)


async def test_a_self_signed_device_is_refused(world):
    async with serving(world):
        assert await is_refused(world, self_signed())


async def test_a_device_of_another_root_is_refused(world):
    other = make_mica(make_serca("SERCA", BORN, demo=False), "MICA", BORN)
    async with serving(world):
        assert await is_refused(world, make_device(other, HARDWARE, BORN))


async def test_a_leaf_issued_by_an_mca_is_refused(world):
    async with serving(world):
        assert await is_refused(world, make_device(world.pki.mca, HARDWARE, BORN))


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP224R1()), rsa.generate_private_key(65537, 1024)], ids=["P-224", "RSA 1024"]
)
async def test_a_weak_key_is_refused(world, key):
    good = world.pki.device.certificate
    builder = x509.CertificateBuilder().subject_name(good.subject).issuer_name(good.issuer).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(BORN).not_valid_after(good.not_valid_after_utc)
    for extension in good.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    weak = Credential(
        certificate=builder.sign(world.pki.mica.key, hashes.SHA256()), key=key, issuers=world.pki.device.issuers
    )
    async with serving(world):
        assert await is_refused(world, weak)


async def test_an_expired_anchor_is_refused(world):
    old = make_serca("old SERCA", BORN, demo=False, not_after=datetime(2021, 1, 1, tzinfo=UTC))
    world.anchors = [world.pki.serca.certificate_der, old.certificate_der]
    world.trust = ChainTrust(world.anchors, generation=1, verdicts=world.verdicts)
    async with serving(world):
        assert await is_refused(world, make_device(make_mica(old, "MICA", BORN), HARDWARE, BORN))


async def test_a_device_without_certificate_is_refused(world):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=b"".join(world.anchors))
    async with serving(world):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await talk(world, GET, context=context)
        assert not world.handler.seen


async def test_a_peer_that_is_no_longer_authorised_is_refused_on_its_open_connection(world):
    async with serving(world) as server:
        client = client_of(world)
        assert (await client.request("GET", "/dcap")).status == 200
        world.handler.may_ask = False
        assert (await client.request("GET", "/dcap")).status == 403
        assert not client._kept
        await asyncio.sleep(0.05)
        assert server.connections == 0


# Resumption -----------------------------------------------------------------------------------------------------------


async def test_a_client_resumes_its_session_and_keeps_its_identity(world):
    async with serving(world):
        client = client_of(world)
        await client.request("GET", "/dcap")
        await client.close()
        response = await client.request("GET", "/dcap")
        assert client._kept[0][0].is_resumed
        assert client._kept[0][0].chain_der is None
        assert world.pki.device.lfdi in response.body.decode()
        await client.close()


async def test_a_resumed_session_without_a_current_verdict_is_closed_and_a_full_handshake_helps(world):
    async with serving(world):
        context = context_of(world, client_context, world.pki.device)
        client = client_of(world, context=context)
        await client.request("GET", "/dcap")
        session = client._session
        await client.close()
        world.verdicts._kept.clear()  # as another trust generation would do
        reader, writer = await world.network.open_tcp(world.host, world.port)
        tls_in, tls_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(tls_in, tls_out, server_hostname=world.host, session=session)
        answer = await shake_and_ask(tls, tls_in, tls_out, reader, writer)
        assert tls.session_reused
        assert answer == b""
        assert len(world.handler.seen) == 1
        writer.transport.abort()
        fresh = client_of(world)
        assert (await fresh.request("GET", "/dcap")).status == 200
        await fresh.close()


async def shake_and_ask(tls, tls_in, tls_out, reader, writer):
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(tls_out.read())
            tls_in.write(await reader.read(65536))
    tls.write(GET)
    writer.write(tls_out.read())
    return await reader.read()


async def test_new_certificates_void_the_old_tickets(world):
    async with serving(world) as server:
        client = client_of(world)
        await client.request("GET", "/dcap")
        await client.close()
        server.use_context(context_of(world, server_context, world.pki.server))
        await client.request("GET", "/dcap")
        assert not client._kept[0][0].is_resumed
        await client.close()


async def test_a_client_that_does_not_believe_a_resumed_server_shakes_hands_in_full(world):
    verdicts = MemoryVerdicts()
    async with serving(world):
        client = client_of(world, trust=ChainTrust(world.anchors, generation=1, verdicts=verdicts))
        await client.request("GET", "/dcap")
        await client.close()
        verdicts._kept.clear()
        assert (await client.request("GET", "/dcap")).status == 200
        assert not client._kept[0][0].is_resumed
        await client.close()


async def test_a_cancellation_that_is_due_is_not_lost_with_a_kept_connection(world):
    """A store cancels its caller at the next await; whether a connection is still alive is asked with a timeout of 0."""

    async def cancelled_meanwhile(client):
        asyncio.current_task().cancel()
        return await client.request("GET", "/dcap")

    async with serving(world):
        client = client_of(world)
        await client.request("GET", "/dcap")
        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(cancelled_meanwhile(client))
        await client.close()


# HTTP -----------------------------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order_even_when_some_take_time(world):
    paths = ["/a", "/later", "/b", "/later", "/c"]
    requests = b"".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in paths)
    async with serving(world):
        answer = await talk(world, requests + b"GET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    bodies = [part.split(b"\r\n\r\n")[1].split(b"?")[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [b"/a", b"later", b"/b", b"later", b"/c", b"/d"]
    assert [request.path for request in world.handler.seen] == [*paths, "/d"]
    assert answer.count(b"Content-Length") == 6
    assert b"chunked" not in answer


async def test_a_thousand_pipelined_requests_are_all_answered(world):
    async with serving(world):
        answer = await talk(world, GET * 999 + GET[:-2] + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 1000


async def test_trailing_blanks_of_a_content_length_are_taken(world):
    async with serving(world):
        answer = await talk(
            world, b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3   \r\nConnection: close\r\n\r\nabc"
        )
    assert answer.startswith(b"HTTP/1.1 204 No Content")
    assert world.handler.seen[0].body == b"abc"


async def test_head_gives_the_length_without_the_body(world):
    async with serving(world):
        client = client_of(world)
        response = await client.request("HEAD", "/big")
        assert (response.status, response.headers["content-length"], response.body) == (200, "300000", b"")
        assert (await client.request("GET", "/dcap")).status == 200
        await client.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000, 431),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n" + b"x" * 1048577, 413),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx", 417),
    ],
)
async def test_what_breaks_http_or_the_limits_gets_its_status_and_the_connection_is_closed(world, data, status):
    async with serving(world):
        answer = await talk(world, data)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Connection: close" in answer
    assert not world.handler.seen


async def test_the_good_requests_before_a_bad_one_are_answered_first(world):
    async with serving(world):
        answer = await talk(world, GET + b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n" + b"nonsense\r\n\r\n")
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"501"]


async def test_an_absolute_target_of_this_host_is_taken(world):
    async with serving(world):
        answer = await talk(world, b"GET https://A:1/x?y HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n")
    assert b"/x?y" in answer


async def test_a_peer_that_expects_to_be_told_to_go_on_is_told(world):
    async with serving(world), raw(world) as (reader, writer), asyncio.timeout(5):
        writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/conflict", 409),
        ("/forbidden", 403),
        ("/bug", 500),
        ("/bug-later", 500),
        ("/unsupported", 501),
        ("/allow", 405),
    ],
)
async def test_errors_of_a_handler_get_the_status_that_fits_and_no_body(world, path, status):
    async with serving(world):
        client = client_of(world)
        response = await client.request("GET", path)
        assert (response.status, response.body) == (status, b"")
        assert (await client.request("GET", "/dcap")).status == 200
        await client.close()


async def test_a_405_names_the_methods_that_are_allowed(world):
    async with serving(world):
        client = client_of(world)
        assert (await client.request("DELETE", "/allow")).headers["allow"] == "GET, HEAD"
        await client.close()


async def test_a_post_gets_its_location(world):
    async with serving(world):
        client = client_of(world)
        response = await client.request("POST", "/mup", b"<a/>")
        assert (response.status, response.location) == (201, "/mup/1")
        assert world.handler.seen[0].headers["content-type"] == "application/sep+xml"
        await client.close()


async def test_the_client_follows_a_redirection_on_the_same_server(world):
    async with serving(world):
        client = client_of(world)
        response = await client.request("GET", "/moved")
        assert (response.status, response.path) == (200, "/dcap?moved=1")
        await client.close()


@pytest.mark.parametrize(("path", "why"), [("/abroad", "another origin"), ("/loop", "redirections")])
async def test_the_client_does_not_follow_a_redirection_elsewhere_or_for_ever(world, path, why):
    async with serving(world):
        client = client_of(world)
        with pytest.raises(PeerError, match=why):
            await client.request("GET", path)
        await client.close()


# Deadlines and numbers ------------------------------------------------------------------------------------------------


async def cut_off_after(world, *pieces, tls=True):
    """Send pieces 0.1 s apart; give the seconds until the server closes the connection."""
    loop = asyncio.get_running_loop()
    async with serving(world):
        if tls:
            async with raw(world) as (reader, writer), asyncio.timeout(5):
                return await trickle(loop, reader, writer, pieces)
        reader, writer = await world.network.open_tcp(world.host, world.port)
        try:
            async with asyncio.timeout(5):
                return await trickle(loop, reader, writer, pieces)
        finally:
            writer.transport.abort()


async def trickle(loop, reader, writer, pieces):
    start = loop.time()
    end = asyncio.ensure_future(read_to_end(reader))
    for piece in pieces:
        writer.write(piece)
        await asyncio.wait([end], timeout=0.1)
        if end.done():
            break
    await end
    return loop.time() - start


async def read_to_end(reader):
    try:
        return await reader.read()
    except (ssl.SSLError, ConnectionError):
        return b""


async def test_a_peer_that_never_shakes_hands_is_cut_off(world):
    world.limits = Limits(handshake_s=0.3)
    assert 0.25 < await cut_off_after(world, tls=False) < 1.0


async def test_a_peer_that_trickles_its_headers_is_cut_off(world):
    world.limits = Limits(headers_s=0.3)
    assert 0.25 < await cut_off_after(world, *(bytes([byte]) for byte in GET)) < 1.0


async def test_a_peer_that_trickles_its_body_is_cut_off(world):
    world.limits = Limits(body_s=0.3)
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    assert 0.25 < await cut_off_after(world, head, *([b"x"] * 50)) < 1.0


async def test_an_idle_peer_is_closed(world):
    world.limits = Limits(idle_s=0.3)
    assert 0.25 < await cut_off_after(world, GET) < 1.0


async def test_a_peer_that_does_not_take_its_answers_is_cut_off(world):
    world.limits = Limits(write_s=0.4)
    async with serving(world) as server, raw(world) as (reader, writer):
        reader._limit = 1  # asyncio stops reading from the socket
        writer.write(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
        await until(lambda: not server.connections)
        assert len(world.handler.seen) < 200


async def test_a_handler_that_hangs_gets_a_503_for_its_peer(world):
    world.limits = Limits(answer_s=0.2)
    async with serving(world):
        client = client_of(world)
        assert (await client.request("GET", "/stuck")).status == 503
        await client.close()


async def test_connections_of_one_lfdi_are_capped_and_others_still_get_in(world):
    world.limits = Limits(connections_per_lfdi=2)
    async with serving(world):
        crowd = [client_of(world) for _ in range(3)]
        for client in crowd[:2]:
            await client.request("GET", "/dcap")
        with pytest.raises(LinkError):
            await crowd[2].request("GET", "/dcap")
        other = client_of(world, world.pki.other)
        assert (await other.request("GET", "/dcap")).status == 200
        await crowd[0].close()
        await asyncio.sleep(0.05)
        assert (await crowd[2].request("GET", "/dcap")).status == 200
        for client in (*crowd, other):
            await client.close()


async def test_connections_of_one_address_are_capped(world):
    world.limits = Limits(connections_per_address=1)
    async with serving(world):
        first, second = client_of(world), client_of(world, world.pki.other)
        await first.request("GET", "/dcap")
        with pytest.raises(LinkError):
            await second.request("GET", "/dcap")
        await first.close()


async def test_strangers_cannot_take_the_places_of_known_peers(world):
    world.limits = Limits(handshakes=2, handshake_s=0.5)
    async with serving(world) as server:
        known = client_of(world)
        await known.request("GET", "/dcap")
        strangers = [await world.network.open_tcp(world.host, world.port) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert server.connections == 3
        assert (await known.request("GET", "/dcap")).status == 200
        await asyncio.sleep(0.8)
        newcomer = client_of(world, world.pki.other)
        assert (await newcomer.request("GET", "/dcap")).status == 200
        for _, writer in strangers:
            writer.transport.abort()
        await known.close()
        await newcomer.close()


async def test_a_flood_of_handshakes_from_one_address_is_slowed_down(world):
    world.limits = Limits(handshake_burst_per_address=2, handshakes_per_s_per_address=5.0)
    async with serving(world):
        for _ in range(2):
            async with raw(world):
                pass
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await talk(world, GET)
        await asyncio.sleep(0.25)
        async with raw(world):
            pass


async def test_connections_in_all_are_capped(world):
    world.limits = Limits(connections=1)
    async with serving(world):
        first, second = client_of(world), client_of(world, world.pki.other)
        await first.request("GET", "/dcap")
        with pytest.raises(LinkError):
            await second.request("GET", "/dcap")
        await first.close()


async def test_draining_answers_what_is_in_hand_and_closes(world):
    async with serving(world) as server:
        idle, busy = client_of(world), client_of(world, world.pki.other)
        await idle.request("GET", "/dcap")
        answer = asyncio.ensure_future(busy.request("GET", "/stuck"))
        await until(lambda: len(world.handler.seen) == 2)
        drained = asyncio.ensure_future(server.drain())
        await asyncio.sleep(0.05)
        assert server.connections == 1
        world.handler.released.set()
        assert (await answer).body == b"released"
        await drained
        assert server.connections == 0
        with pytest.raises(LinkError):
            await client_of(world).request("GET", "/dcap")
        await idle.close()


async def test_draining_ends_even_when_a_handler_does_not(world):
    world.limits = Limits(drain_s=0.2)
    async with serving(world):
        stuck = client_of(world)
        answer = asyncio.ensure_future(stuck.request("GET", "/stuck"))
        await until(lambda: world.handler.seen)
    with pytest.raises(LinkError):
        await answer


# The client -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(world, method):
    world.limits = Limits(idle_s=0.2)
    async with serving(world) as server:
        client = client_of(world)
        await client.request("GET", "/dcap")
        await until(lambda: not server.connections)
        await asyncio.sleep(0.02)
        assert (await client.request(method, "/dcap")).status in {200, 201, 204}
        await client.close()


async def test_a_connection_unused_for_long_is_not_trusted(world):
    async with serving(world):
        client = client_of(world, limits=Limits(reuse_s=0.0))
        await client.request("GET", "/dcap")
        first = client._kept[0][0]
        await client.request("GET", "/dcap")
        assert client._kept[0][0] is not first
        await client.close()


KEPT = ["ask", b"HTTP/1.1 204 No Content\r\n\r\n", "ask", "cut"]


@pytest.mark.parametrize(
    ("method", "repeated"), [("GET", True), ("PUT", True), ("HEAD", True), ("POST", False), ("DELETE", False)]
)
async def test_what_a_dying_connection_swallowed_is_sent_again_only_where_that_is_harmless(world, method, repeated):
    async with scripted(world, KEPT, ["ask", b"HTTP/1.1 204 No Content\r\n\r\n"]):
        client = client_of(world)
        await client.request("GET", "/")
        if repeated:
            assert (await client.request(method, "/")).status == 204
        else:
            with pytest.raises(LinkError):
                await client.request(method, "/")
        await client.close()


async def test_connections_are_kept_and_shared(world):
    async with serving(world) as server:
        client = client_of(world, connections=2)
        await asyncio.gather(*(client.request("GET", "/later") for _ in range(10)))
        assert server.connections == 2
        await client.close()


async def test_the_client_refuses_a_server_with_another_lfdi_than_the_pinned_one(world):
    async with serving(world):
        with pytest.raises(PeerError, match="expected"):
            await client_of(world, server_lfdi=world.pki.other.lfdi).request("GET", "/dcap")
        client = client_of(world, server_lfdi=world.pki.server.lfdi)
        assert (await client.request("GET", "/dcap")).status == 200
        await client.close()


async def test_the_client_refuses_a_server_of_another_root(world):
    other = make_serca("other SERCA", BORN, demo=False).certificate_der
    async with serving(world):
        context = context_of(world, client_context, world.pki.device, anchors=[other])
        with pytest.raises(PeerError, match="certificate is refused"):
            await client_of(world, context=context).request("GET", "/dcap")


async def test_the_client_refuses_a_server_below_a_bad_authority(world):
    mica = make_mica(world.pki.serca, "bad MICA", BORN, extras=[Extra(value=EKU, critical=False)])
    async with serving(world, credential=make_server(mica, HARDWARE, BORN)):
        with pytest.raises(PeerError, match="not believed"):
            await client_of(world).request("GET", "/dcap")


async def test_the_client_bounds_what_a_server_sends(world):
    async with serving(world):
        with pytest.raises(PeerError, match="200000 bytes"):
            await client_of(world, limits=replace(Limits(), body_bytes=200_000)).request("GET", "/big")


# A server that is not ours ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def scripted(world, *script, tls=True):
    """Serve one scripted behaviour after the other, one per connection: a list of pieces, "cut" or "hang"."""
    turns = iter(script)
    writers = []

    async def talk(reader, writer):
        writers.append(writer)
        for piece in next(turns):
            if piece == "cut":
                writer.transport.abort()
            elif piece == "hang":
                await asyncio.sleep(30)
            elif piece == "ask":
                await reader.readuntil(b"\r\n\r\n")
            else:
                writer.write(piece)
                await writer.drain()
        writer.close()

    context = context_of(world, server_context, world.pki.server) if tls else None
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    world.host, world.port = server.sockets[0].getsockname()[:2]
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_the_client_takes_a_chunked_answer(world):
    async with scripted(world, ["ask", CHUNKED, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"]):
        client = client_of(world)
        assert (await client.request("GET", "/")).body == b"abcde"
        await client.close()


async def test_the_client_takes_an_answer_that_ends_in_order_with_the_session(world):
    async with scripted(world, ["ask", b"HTTP/1.1 200 OK\r\n\r\nabc"]):
        client = client_of(world)
        assert (await client.request("GET", "/")).body == b"abc"
        assert not client._kept


async def test_the_client_refuses_an_answer_that_is_cut_off_in_order(world):
    async with scripted(world, ["ask", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"]):
        with pytest.raises(PeerError, match="cut off"):
            await client_of(world).request("GET", "/")


async def test_the_client_does_not_take_a_broken_connection_for_the_end_of_an_answer(world):
    async with scripted(world, ["ask", b"HTTP/1.1 200 OK\r\n\r\nabc", "cut"]):
        with pytest.raises(LinkError):
            await client_of(world).request("GET", "/")


async def test_a_connection_cut_before_an_answer_is_not_asked_again_when_it_was_new(world):
    async with scripted(world, ["ask", "cut"], ["ask", "cut"]):
        with pytest.raises(LinkError):
            await client_of(world).request("GET", "/")


async def test_a_server_without_tls_is_a_matter_of_the_link(world):
    async with scripted(world, [b"HTTP/1.1 400 Bad Request\r\n\r\n"], tls=False):
        with pytest.raises(LinkError, match="handshake"):
            await client_of(world).request("GET", "/")


async def test_a_server_that_closes_in_the_handshake_is_a_matter_of_the_link(world):
    async with scripted(world, [], tls=False):
        with pytest.raises(LinkError, match="handshake"):
            await client_of(world).request("GET", "/")


async def test_a_server_that_never_shakes_hands_is_given_up(world):
    async with scripted(world, ["hang"], tls=False):
        with pytest.raises(LinkError, match="not done within"):
            await client_of(world, limits=Limits(handshake_s=0.2)).request("GET", "/")


async def test_a_server_that_never_takes_a_connection_is_given_up(world):
    class Nowhere:
        async def open_tcp(self, *_):
            await asyncio.sleep(30)

    world.host, world.port, world.network = "192.0.2.1", 1, Nowhere()
    with pytest.raises(LinkError, match="did not take"):
        await client_of(world, limits=Limits(handshake_s=0.1)).request("GET", "/")


async def test_a_location_that_is_no_url_is_refused(world):
    async with scripted(world, ["ask", b"HTTP/1.1 301 Moved\r\nLocation: https://a:x/\r\nContent-Length: 0\r\n\r\n"]):
        client = client_of(world)
        with pytest.raises(PeerError, match="not a URL"):
            await client.request("GET", "/")
        await client.close()


async def test_an_independent_client_works(world):
    async with (
        serving(world),
        AsyncClient(
            verify=context_of(world, client_context, world.pki.device), base_url=f"https://localhost:{world.port}"
        ) as client,
    ):
        for _ in range(2):
            assert (await client.get("/dcap?s=0")).text == f"/dcap?s=0 {world.pki.device.lfdi}"
        assert (await client.head("/big")).headers["content-length"] == "300000"
        assert len((await client.get("/big")).content) == 300_000
        assert (await client.post("/mup", content=b"<a/>")).headers["location"] == "/mup/1"
        assert (await client.put("/di", content=chunks())).status_code == 204
        assert world.handler.seen[-1].body == b"onetwo"
        assert world.server.connections == 1


async def chunks():
    for piece in (b"one", b"two"):
        yield piece


# Odd clients ------------------------------------------------------------------------------------------------------------


async def test_bytes_that_are_no_tls_end_the_connection(world):
    async with serving(world) as server:
        reader, writer = await world.network.open_tcp(world.host, world.port)
        writer.write(GET)
        async with asyncio.timeout(5):
            await read_to_end(reader)
        writer.close()
        await until(lambda: not server.connections)


async def test_a_bad_record_ends_the_connection(world):
    async with serving(world) as server:
        client = client_of(world)
        await client.request("GET", "/dcap")
        client._kept[0][0]._writer.write(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        await until(lambda: not server.connections)
        await client.close()


async def test_requests_that_come_while_a_handler_is_at_work_wait(world):
    async with serving(world), raw(world) as (reader, writer), asyncio.timeout(5):
        writer.write(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: world.handler.seen)
        for _ in range(3):
            writer.write(GET)
            await asyncio.sleep(0.02)
        assert len(world.handler.seen) == 1
        world.handler.released.set()
        await until(lambda: len(world.handler.seen) == 4)
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 4:
            answer += await reader.read(65536)
        assert answer.index(b"released") < answer.index(b"/dcap")


async def test_a_peer_that_leaves_while_a_handler_is_at_work_is_forgotten(world):
    async with serving(world) as server:
        async with raw(world) as (_, writer):
            writer.write(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: world.handler.seen)
        await until(lambda: not server.connections)
        world.handler.released.set()
        await asyncio.sleep(0.02)
        client = client_of(world)
        assert (await client.request("HEAD", "/dcap", accept="*/*")).status == 200
        await client.close()


def read_slowly(world, context):
    """Ask with a blocking socket of the standard library, in a thread of its own."""
    with socket.create_connection((world.host, world.port)) as plain, context.wrap_socket(plain) as tls:
        tls.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 19)
        tls.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        size = 0
        while data := tls.recv(100_000):
            size += data.count(b"x")
            time.sleep(0.001)
        return size


async def test_a_slow_reader_gets_all_its_answers_before_the_connection_closes(world):
    async with serving(world):
        context = context_of(world, client_context, world.pki.device)
        size = await asyncio.to_thread(read_slowly, world, context)
        assert size == 20 * (300_000 + "application/sep+xml".count("x"))
        assert len(world.handler.seen) == 20


async def test_an_error_of_the_surrounding_code_passes_through_unchanged(world):
    with pytest.raises(KeyError):
        async with serving(world):
            raise KeyError


async def test_a_server_that_is_not_there_is_a_matter_of_the_link(world):
    async with serving(world):
        pass
    with pytest.raises(LinkError):
        await client_of(world).request("GET", "/dcap")


async def test_a_server_that_does_not_answer_is_a_matter_of_the_link(world):
    async with serving(world):
        client = client_of(world, limits=Limits(answer_s=0.2))
        with pytest.raises(LinkError, match="in time"):
            await client.request("GET", "/stuck")
        assert not client._kept
