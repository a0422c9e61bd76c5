"""Which certificates a composed node lets in: all of them registered, so that the certificate alone decides."""

import asyncio
import runpy
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tierline.model.errors import ConfigError, PeerError
from tierline.node.compose import prepare
from tierline.operations.serving import registry
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import Credential, Extra, make_device, make_mca, make_mica, make_serca, make_server

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR, BORN, HARDWARE = (_SPINE[name] for name in ("Spine", "OPERATOR", "BORN", "HARDWARE"))

NAME = HardwareName(type_oid=HARDWARE, serial=b"device")
GET = b"GET /dcap HTTP/1.1\r\nHost: a\r\n\r\n"

EKU = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
NAME_CONSTRAINTS = x509.NameConstraints(None, [x509.DNSName("forbidden.example")])
POLICY_MAPPINGS = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("2.5.29.33"),
    bytes.fromhex("3018" + "3016" + "060a2b0601040182be1c0101" + "06082b0601040182be1c"),
)


@asynccontextmanager
async def running(spine, *credentials):
    """Run the utility with the holders of some certificates registered."""
    utility = spine.utility()
    await prepare(utility)
    await registry.register(
        OPERATOR, utility.serving.state, [registry.NewDevice(lfdi=credential.lfdi) for credential in credentials]
    )
    async with utility.serving.http as http:
        listener = await http.listen("127.0.0.1", 0)
        yield utility, listener.port


@pytest.fixture
async def spine(tmp_path):
    made = Spine(tmp_path)
    yield made
    await made.close()


async def answer_to(spine, port, credential):
    """Ask with a client that minds nothing; gives the first line of the answer, or what ended the connection."""
    folder = spine.folder / credential.lfdi
    files = (folder / "own.pem", folder / "own.key")
    if not folder.exists():
        write_credential(folder, "own", credential)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(*files)
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                writer.write(GET)
                return (await reader.readline()).decode().strip() or "closed"
            finally:
                writer.transport.abort()
    except (ssl.SSLError, ConnectionError) as error:
        return f"refused: {error}"


async def assert_refused(spine, credential):
    async with running(spine, credential) as (utility, port):
        answer = await answer_to(spine, port, credential)
        assert not answer.startswith("HTTP"), answer
        assert utility.serving.state.last_seen == {}


@pytest.mark.parametrize("depth", [2, 3, 4])
async def test_chains_of_2_3_and_4_are_let_in(spine, depth):
    issuer = {
        2: lambda: spine.root,
        3: lambda: spine.mica,
        4: lambda: make_mica(make_mca(spine.root, "MCA", BORN), "MICA below", BORN),
    }[depth]()
    device = make_device(issuer, NAME, BORN)
    assert len(device.chain_der) == depth
    async with running(spine, device) as (utility, port):
        assert await answer_to(spine, port, device) == "HTTP/1.1 200 OK"
        assert len(utility.serving.state.last_seen) == 1


async def test_a_good_certificate_that_nobody_registered_is_not_let_in(spine):
    known, unknown = make_device(spine.mica, NAME, BORN), make_device(spine.mica, NAME, BORN)
    async with running(spine, known) as (utility, port):
        assert not (await answer_to(spine, port, unknown)).startswith("HTTP/1.1 200")
        assert utility.serving.state.last_seen == {}
        assert await answer_to(spine, port, known) == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "value", [EKU, NAME_CONSTRAINTS, POLICY_MAPPINGS], ids=["extKeyUsage", "nameConstraints", "policyMappings"]
)
async def test_the_issuing_authorities_of_comm_004_are_refused(spine, value, critical):
    mica = make_mica(spine.root, "bad MICA", BORN, extras=[Extra(value=value, critical=critical)])
    await assert_refused(spine, make_device(mica, NAME, BORN))


async def test_a_leaf_below_an_mca_is_refused(spine):
    await assert_refused(spine, make_device(make_mca(spine.root, "MCA", BORN), NAME, BORN))


def self_signed(key, issuer=None, like=None):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name if like is None else like.subject)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(BORN)
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
    )
    for extension in () if like is None else like.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    signer = key if issuer is None else issuer.key
    issuers = () if issuer is None else (issuer.certificate, *issuer.issuers)
    return Credential(certificate=builder.sign(signer, hashes.SHA256()), key=key, issuers=issuers)


async def test_a_self_signed_certificate_is_refused(spine):
    await assert_refused(spine, self_signed(ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP224R1()), rsa.generate_private_key(65537, 1024)], ids=["P-224", "RSA 1024"]
)
async def test_a_weak_key_is_refused(spine, key):
    like = make_device(spine.mica, NAME, BORN).certificate
    await assert_refused(spine, self_signed(key, spine.mica, like))


async def test_a_device_of_another_infrastructure_is_refused(spine):
    other = make_mica(make_serca("demo", BORN, demo=True), "demo MICA", BORN)
    await assert_refused(spine, make_device(other, NAME, BORN))


async def test_a_device_below_an_expired_anchor_is_refused_and_the_others_are_let_in(spine):
    old = make_serca("old", BORN, demo=True, not_after=BORN + timedelta(days=30))
    with (spine.folder / "root.pem").open("ab") as anchors:
        anchors.write(old.certificate_pem)
    late, good = make_device(make_mica(old, "MICA", BORN), NAME, BORN), make_device(spine.mica, NAME, BORN)
    async with running(spine, late, good) as (_, port):
        assert not (await answer_to(spine, port, late)).startswith("HTTP")
        assert await answer_to(spine, port, good) == "HTTP/1.1 200 OK"


async def test_certificates_of_the_demo_are_refused_outside_it(spine):
    common = spine.common
    spine.common = lambda *names: common(*names).replace("demo = true", "demo = false")
    with pytest.raises(ConfigError, match="made for the demo and is refused outside it: use your own SERCA"):
        spine.utility()


async def test_a_gateway_does_not_believe_a_server_of_another_infrastructure(spine):
    """The gateway holds a good certificate of the utility's root and is shown one of another root."""
    lfdi = spine.device("gw")
    other = make_mica(make_serca("other", BORN, demo=True), "other MICA", BORN)
    utility = spine.utility()
    await prepare(utility)
    (device,) = await registry.register(OPERATOR, utility.serving.state, [registry.NewDevice(lfdi=lfdi)])
    for suffix in ("pem", "key"):
        (spine.folder / f"utility.{suffix}").unlink()
    write_credential(spine.folder, "utility", make_server(other, NAME, BORN, ip_addresses=["127.0.0.1"]))
    impostor = spine.utility()
    await prepare(impostor)
    for serving, believed in ((utility.serving, True), (impostor.serving, False)):
        async with serving.http as http:
            listener = await http.listen("127.0.0.1", 0)
            gateway = spine.gateway("gw", listener.port, 1, device.pin)
            (server,) = gateway.follower._servers.values()
            try:
                if believed:
                    assert (await server.link.walk()).channel == "utility"
                else:
                    with pytest.raises(PeerError, match="certificate: the server's certificate is refused"):
                        await server.link.walk()
            finally:
                await server.link.close()


async def test_a_key_that_others_may_read_is_refused(spine):
    (spine.folder / "utility.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"utility\.key"):
        spine.utility()


async def test_two_certificates_of_one_hardware_name_are_two_identities(spine):
    first, second = make_device(spine.mica, NAME, BORN), make_device(spine.mica, NAME, BORN)
    async with running(spine, first, second) as (utility, port):
        for device in (first, second):
            assert await answer_to(spine, port, device) == "HTTP/1.1 200 OK"
        assert len(utility.serving.state.last_seen) == 2
