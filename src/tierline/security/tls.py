"""TLS contexts as IEEE 2030.5 and CSIP want them, and the proof at start-up that they work on this machine.

TLS 1.2 only, three suites, P-256, certificates on both sides. `@SECLEVEL=0` is needed for CCM-8 from OpenSSL 3.2 on; it
also admits weak keys, so key sizes are checked in `tierline.security.chain`.
"""

import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tierline.model.errors import ConfigError
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import check_key_file, write_credential
from tierline.security.pki import make_device, make_mica, make_serca, make_server

MANDATORY_SUITE: Final = "ECDHE-ECDSA-AES128-CCM8"
"""TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 (IEEE 2030.5-2018 6.7)."""

SUITES: Final = (MANDATORY_SUITE, "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384")
"""In order of preference; the third because some clients offer no other beside CCM-8."""


def server_context(
    certificate_path: Path, key_path: Path, anchors_der: Sequence[bytes], *, suites: Sequence[str] = SUITES
) -> ssl.SSLContext:
    """Build the context of a server, which demands a certificate of every client.

    The certificate file holds the leaf and the authorities below the root: they are sent together.
    Raises: ConfigError when a file is missing or unsafe, or key and certificate do not match.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, suites)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_mode = ssl.CERT_REQUIRED
    _load(context, certificate_path, key_path, anchors_der)
    return context


def client_context(
    certificate_path: Path,
    key_path: Path,
    anchors_der: Sequence[bytes],
    *,
    suites: Sequence[str] = SUITES,
    check_host_name: bool = False,
) -> ssl.SSLContext:
    """Build the context of a client; device certificates carry no host name, so it is not checked unless asked for.

    Raises: ConfigError when a file is missing or unsafe, or key and certificate do not match.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, suites)
    context.check_hostname = check_host_name
    context.verify_mode = ssl.CERT_REQUIRED
    _load(context, certificate_path, key_path, anchors_der)
    return context


def self_test(suites: Sequence[str] = SUITES) -> str:
    """Prove by a real handshake in memory that the mandatory suite works here; gives the name of the suite agreed on.

    A listing is no proof: OpenSSL lists CCM-8 even where it refuses to use it.
    Raises: ConfigError when the handshake fails, or settles on another suite.
    """
    born = datetime(2020, 1, 1, tzinfo=UTC)
    root = make_serca("self test SERCA", born, demo=True)
    issuer = make_mica(root, "self test MICA", born)
    hardware = HardwareName(type_oid="1.3.6.1.4.1.40732.1", serial=b"self test")
    with tempfile.TemporaryDirectory(prefix="tierline-self-test-") as name:
        folder = Path(name)
        server_files = write_credential(folder, "server", make_server(issuer, hardware, born, dns_names=["localhost"]))
        client_files = write_credential(folder, "client", make_device(issuer, hardware, born))
        server = server_context(*server_files, [root.certificate_der], suites=suites)
        client = client_context(*client_files, [root.certificate_der], suites=suites)
    try:
        agreed = _handshake(server, client)
    except ssl.SSLError as error:
        raise ConfigError(_advice(str(error))) from error
    if agreed != MANDATORY_SUITE:
        raise ConfigError(_advice(f"it settled on {agreed}"))
    return agreed


def _context(protocol: ssl._SSLMethod, suites: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    # TLS 1.3 would win over the suite that CSIP wants to see, and has no CCM-8 that Python can switch on.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.set_ciphers(":".join((*suites, "@SECLEVEL=0")))
        context.set_ecdh_curve("prime256v1")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(_advice(str(error))) from error
    return context


def _load(context: ssl.SSLContext, certificate_path: Path, key_path: Path, anchors_der: Sequence[bytes]) -> None:
    check_key_file(key_path)
    try:
        context.load_cert_chain(certificate_path, key_path)
        context.load_verify_locations(cadata=b"".join(anchors_der))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"certificate {certificate_path} with key {key_path} cannot be used: {reason}") from error


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Shake hands over two memory buffers; gives the suite agreed on."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    accepting = server.wrap_bio(to_server, to_client, server_side=True)
    connecting = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(4):  # TLS 1.2 needs two round trips
        for side in (connecting, accepting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    agreed = connecting.cipher()
    return agreed[0] if agreed else "nothing"


def _advice(reason: str) -> str:
    return (
        f"the cipher suite {MANDATORY_SUITE}, which IEEE 2030.5 demands, does not work with {ssl.OPENSSL_VERSION}: {reason}. "
        "Use a Python whose OpenSSL (3.0 or newer) was built with CCM, and look for a system policy that forbids it "
        "(openssl.cnf, or crypto-policies on Red Hat systems)."
    )
