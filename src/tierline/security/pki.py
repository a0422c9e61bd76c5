"""A public key infrastructure for tests and the demo: SERCA, MCA, MICA and the leaves below them.

The profile is that of IEEE 2030.5-2018 6.11.7: EC P-256, ecdsa-with-SHA256, no end of validity, critical key usage,
policies and subject alternative name. Nothing here touches a file or a clock; keys come from the system's randomness.
A utility's real certificates come from its own authority, never from here.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tierline.model.errors import ConfigError
from tierline.model.identity import Lfdi, lfdi_of_certificate
from tierline.security.hardware_name import HARDWARE_MODULE_NAME_OID, HardwareName, encode_hardware_name

NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""99991231235959Z: "no well-defined end" (RFC 5280 4.1.2.5), as IEEE 2030.5-2018 6.11.7 asks."""

ANY_POLICY: Final = "2.5.29.32.0"
GENERIC_DEVICE: Final = "1.3.6.1.4.1.40732.1.1"
MOBILE_DEVICE: Final = "1.3.6.1.4.1.40732.1.2"
POST_MANUFACTURE_DEVICE: Final = "1.3.6.1.4.1.40732.1.3"
TEST_CERTIFICATE: Final = "1.3.6.1.4.1.40732.2.1"
SERVICE_PROVIDER: Final = "1.3.6.1.4.1.40732.2.3"

DEMO_MARK: Final = "tierline demo - not for use"
"""The organizational unit in the subject of every demo authority, hence in the issuer of every demo certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A certificate, its private key and the certificates above it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuers: tuple[x509.Certificate, ...] = ()
    """From the direct issuer upwards, the root last; empty for the root itself."""

    @property
    def certificate_der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM (PKCS#8, not encrypted): a secret."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def presented_pem(self) -> bytes:
        """What is sent in a handshake: the certificate and its issuers, without the root."""
        sent = (self.certificate, *(issuer for issuer in self.issuers if issuer.issuer != issuer.subject))
        return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in sent)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        """The whole chain in DER, leaf first, root last."""
        return tuple(c.public_bytes(serialization.Encoding.DER) for c in (self.certificate, *self.issuers))

    @property
    def lfdi(self) -> Lfdi:
        """The identity this certificate gives its holder."""
        return lfdi_of_certificate(self.certificate_der)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """One more extension than the profile has, to make the faulty authorities that a conformance test needs."""

    value: x509.ExtensionType
    critical: bool


def make_serca(name: str, not_before: datetime, *, demo: bool, not_after: datetime = NO_END) -> Credential:
    """Make a root: a Smart Energy Root Certification Authority."""
    key = _new_key()
    subject = _authority_name(name, marked=demo)
    builder = _builder(subject, subject, key, not_before, not_after)
    builder = _as_authority(builder, key, path_length=None, policies=(ANY_POLICY,))
    return Credential(certificate=builder.sign(key, hashes.SHA256()), key=key)


def make_mca(issuer: Credential, name: str, not_before: datetime) -> Credential:
    """Make a manufacturing authority, which may issue MICAs only (hence path length 1).

    Raises: ConfigError when it bears the name of its issuer.
    """
    return _make_authority(issuer, name, not_before, path_length=1, policies=(ANY_POLICY,), extras=())


def make_mica(
    issuer: Credential,
    name: str,
    not_before: datetime,
    *,
    policies: Sequence[str] = (GENERIC_DEVICE, TEST_CERTIFICATE, SERVICE_PROVIDER),
    extras: Sequence[Extra] = (),
) -> Credential:
    """Make a manufacturing issuing authority, which issues leaves only (hence path length 0).

    Raises: ConfigError when it bears the name of its issuer.
    """
    return _make_authority(issuer, name, not_before, path_length=0, policies=policies, extras=extras)


def make_device(
    issuer: Credential,
    hardware: HardwareName,
    not_before: datetime,
    *,
    policies: Sequence[str] = (GENERIC_DEVICE, TEST_CERTIFICATE),
) -> Credential:
    """Make the certificate of a device: empty subject, named by its hardware alone."""
    return _make_leaf(issuer, (_other_name(hardware),), not_before, policies)


def make_aggregator(issuer: Credential, hardware: HardwareName, not_before: datetime) -> Credential:
    """Make the certificate of an aggregator: a device's, with the service provider policy."""
    return make_device(issuer, hardware, not_before, policies=(GENERIC_DEVICE, TEST_CERTIFICATE, SERVICE_PROVIDER))


def make_server(
    issuer: Credential,
    hardware: HardwareName,
    not_before: datetime,
    *,
    dns_names: Iterable[str] = (),
    ip_addresses: Iterable[str] = (),
) -> Credential:
    """Make the certificate of a server: a device's, with its DNS names and addresses for clients that check them."""
    names = (
        _other_name(hardware),
        *(x509.DNSName(name) for name in dns_names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in ip_addresses),
    )
    return _make_leaf(issuer, names, not_before, (GENERIC_DEVICE, TEST_CERTIFICATE))


def is_demo_chain(chain_der: Iterable[bytes]) -> bool:
    """Tell whether any certificate of a chain was made for the demo, or issued by an authority of the demo."""
    certificates = (x509.load_der_x509_certificate(der) for der in chain_der)
    return any(_is_marked(certificate.subject) or _is_marked(certificate.issuer) for certificate in certificates)


def _is_marked(name: x509.Name) -> bool:
    return any(unit.value == DEMO_MARK for unit in name.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME))


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _authority_name(name: str, *, marked: bool) -> x509.Name:
    unit = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, DEMO_MARK)] if marked else []
    return x509.Name([*unit, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _as_authority(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    *,
    path_length: int | None,
    policies: Sequence[str],
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(_policies(policies), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _make_authority(
    issuer: Credential,
    name: str,
    not_before: datetime,
    *,
    path_length: int,
    policies: Sequence[str],
    extras: Sequence[Extra],
) -> Credential:
    key = _new_key()
    subject = _authority_name(name, marked=_is_marked(issuer.certificate.subject))
    if subject == issuer.certificate.subject:
        raise ConfigError(f"an authority may not bear the name of its issuer, {name!r}: it would pass for a root")
    builder = _builder(subject, issuer.certificate.subject, key, not_before, NO_END)
    builder = _as_authority(builder, key, path_length=path_length, policies=policies)
    builder = builder.add_extension(_authority_key_identifier(issuer), critical=False)
    for extra in extras:
        builder = builder.add_extension(extra.value, critical=extra.critical)
    return _issued(builder, key, issuer)


def _make_leaf(
    issuer: Credential, names: Sequence[x509.GeneralName], not_before: datetime, policies: Sequence[str]
) -> Credential:
    key = _new_key()
    builder = (
        _builder(x509.Name([]), issuer.certificate.subject, key, not_before, NO_END)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(_policies(policies), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(_authority_key_identifier(issuer), critical=False)
    )
    return _issued(builder, key, issuer)


def _issued(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer: Credential) -> Credential:
    certificate = builder.sign(issuer.key, hashes.SHA256())
    return Credential(certificate=certificate, key=key, issuers=(issuer.certificate, *issuer.issuers))


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_agreement=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        encipher_only=False,
        decipher_only=False,
    )


def _policies(oids: Sequence[str]) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids])


def _authority_key_identifier(issuer: Credential) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _other_name(hardware: HardwareName) -> x509.OtherName:
    return x509.OtherName(x509.ObjectIdentifier(HARDWARE_MODULE_NAME_OID), encode_hardware_name(hardware))
