"""Certificates of COMM-004: chains that are to be accepted, and issuers that are not."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tierline.security.pki import Credential, Extra, make_mca, make_mica

BORN = datetime(2026, 1, 1, tzinfo=UTC)
EXTENSIONS = {
    "extKeyUsage": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
    "nameConstraints": x509.NameConstraints(None, [x509.DNSName("forbidden.example")]),
    "policyMappings": x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.33"),
        bytes.fromhex("3018" + "3016" + "060a2b0601040182be1c0101" + "06082b0601040182be1c"),
    ),
}


def mica_below_mca(root):
    """Make the issuer of a chain of four."""
    return make_mica(make_mca(root, "MCA", BORN), "MICA below", BORN)


def bad_mica(root, name, *, critical):
    """Make an issuer with an extension that IEEE 2030.5 forbids it."""
    return make_mica(root, "bad MICA", BORN, extras=[Extra(value=EXTENSIONS[name], critical=critical)])


def self_signed():
    """Make a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(BORN).not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
    return Credential(certificate=builder.sign(key, hashes.SHA256()), key=key, issuers=())
