"""The check of a peer's chain that OpenSSL does not make (the certificates of CSIP conformance test COMM-004).

OpenSSL accepts an issuing authority with nameConstraints or policyMappings, and security level 0, which the mandatory
suite CCM-8 needs, admits weak keys. So every chain is judged again here, from the anchors down, as a pure function.
Source: IEEE 2030.5-2018 6.11.7 and RFC 5280 section 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import SignatureAlgorithmOID

from tierline.model.errors import PeerError
from tierline.security.hardware_name import HARDWARE_MODULE_NAME_OID, decode_hardware_name

MAX_DEPTH: Final = 4
"""SERCA, MCA, MICA, leaf (IEEE 2030.5-2018 6.11.7)."""

_FORBIDDEN_IN_AUTHORITY: Final = (
    x509.ExtendedKeyUsage,
    x509.NameConstraints,
    x509.PolicyConstraints,
    x509.InhibitAnyPolicy,
)
_POLICY_MAPPINGS: Final = x509.ObjectIdentifier("2.5.29.33")
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""All that the parser says of bytes that are no certificate; found by flipping every byte of good ones."""

_UNDERSTOOD: Final = frozenset(
    kind.oid
    for kind in (
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.CertificatePolicies,
        x509.SubjectAlternativeName,
        x509.ExtendedKeyUsage,
        x509.AuthorityKeyIdentifier,
        x509.SubjectKeyIdentifier,
    )
)

E = TypeVar("E", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedChain:
    """A chain that passed."""

    depth: int
    """Certificates in it, root and leaf included: 2 to 4."""

    valid_from: datetime
    valid_until: datetime
    """The time in which all its certificates are valid."""


def check_chain(chain_der: Sequence[bytes], anchors_der: frozenset[bytes], now: datetime) -> CheckedChain:
    """Judge a chain, leaf first and root last.

    Raises: PeerError saying which certificate breaks which rule.
    """
    if not 2 <= len(chain_der) <= MAX_DEPTH:
        raise PeerError(f"a chain has 2 to {MAX_DEPTH} certificates, this one {len(chain_der)}", path="chain")
    if chain_der[-1] not in anchors_der:
        raise PeerError("the root is none of the configured anchors", path="root")
    chain = [_parsed(der, _place(i, len(chain_der))) for i, der in enumerate(chain_der)]
    for i, certificate in enumerate(chain):
        place = _place(i, len(chain))
        _check_signing(certificate, chain[min(i + 1, len(chain) - 1)], place)
        _check_validity(certificate, now, place)
        _check_critical(certificate, place)
    _check_root(chain[-1])
    for below, certificate in enumerate(chain[1:-1]):
        _check_intermediate(certificate, below, _place(below + 1, len(chain)))
    _check_leaf(chain[0])
    return CheckedChain(
        depth=len(chain),
        valid_from=max(certificate.not_valid_before_utc for certificate in chain),
        valid_until=min(certificate.not_valid_after_utc for certificate in chain),
    )


def _place(index: int, depth: int) -> str:
    """Name a certificate by its place: leaf, MICA (the issuer of the leaf), MCA, root."""
    return "root" if index == depth - 1 else ("leaf", "MICA", "MCA")[index]


def _parsed(der: bytes, place: str) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.extensions, certificate.public_key(), certificate.not_valid_after_utc  # these parse late
    except _UNREADABLE as error:
        raise PeerError(f"not a readable certificate: {error}", path=place) from error
    # The parser tolerates unused bits in the signature: one certificate would have several fingerprints, hence LFDIs.
    if not der.endswith(b"\x00" + certificate.signature):
        raise PeerError("its signature is not encoded in DER", path=place)
    return certificate


def _check_signing(certificate: x509.Certificate, issuer: x509.Certificate, place: str) -> None:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        kind = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__
        raise PeerError(f"its key is {kind}; only EC P-256 is allowed", path=place)
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        name = certificate.signature_algorithm_oid.dotted_string
        raise PeerError(f"it is signed with {name}; only ecdsa-with-SHA256 is allowed", path=place)
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise PeerError("it was not issued by the certificate above it", path=place) from error


def _check_validity(certificate: x509.Certificate, now: datetime, place: str) -> None:
    if now < certificate.not_valid_before_utc:
        raise PeerError(f"not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}", path=place)
    if now > certificate.not_valid_after_utc:
        raise PeerError(f"expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}", path=place)


def _check_critical(certificate: x509.Certificate, place: str) -> None:
    """Refuse a critical extension that is not understood, as RFC 5280 4.2 demands."""
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise PeerError(f"critical extension {extension.oid.dotted_string} is not allowed", path=place)


def _check_root(root: x509.Certificate) -> None:
    _check_authority(root, "root")
    policies = _find(root, x509.CertificatePolicies)
    if policies is not None and not policies.critical:
        raise PeerError("certificatePolicies must be critical", path="root")


def _check_intermediate(certificate: x509.Certificate, below: int, place: str) -> None:
    """Judge an MCA or MICA with `below` authorities between it and the leaf."""
    path_length = _check_authority(certificate, place)
    for extension in certificate.extensions:
        if isinstance(extension.value, _FORBIDDEN_IN_AUTHORITY) or extension.oid == _POLICY_MAPPINGS:
            raise PeerError(f"extension {extension.oid.dotted_string} is not allowed here, critical or not", path=place)
    if path_length is not None and path_length < below:
        raise PeerError(f"its path length {path_length} allows no authority below it", path=place)
    if below == 0 and path_length:
        raise PeerError("an MCA may issue MICAs only, this one issued a leaf", path=place)
    _check_policies(certificate, place)


def _check_authority(certificate: x509.Certificate, place: str) -> int | None:
    constraints = _find(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.critical or not constraints.value.ca:
        raise PeerError("an authority needs critical basicConstraints with CA true", path=place)
    usage = _find(certificate, x509.KeyUsage)
    if usage is None or not usage.critical or not usage.value.key_cert_sign:
        raise PeerError("an authority needs critical keyUsage with keyCertSign", path=place)
    return constraints.value.path_length


def _check_policies(certificate: x509.Certificate, place: str) -> None:
    policies = _find(certificate, x509.CertificatePolicies)
    if policies is None or not policies.critical:
        raise PeerError("critical certificatePolicies are needed", path=place)


def _check_leaf(leaf: x509.Certificate) -> None:
    constraints = _find(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise PeerError("an authority's certificate may not be used as a leaf", path="leaf")
    usage = _find(leaf, x509.KeyUsage)
    if usage is None or not usage.critical or not usage.value.digital_signature or usage.value.key_cert_sign:
        raise PeerError("critical keyUsage with digitalSignature and without keyCertSign is needed", path="leaf")
    _check_policies(leaf, "leaf")
    if any(isinstance(e.value, x509.NameConstraints) or e.oid == _POLICY_MAPPINGS for e in leaf.extensions):
        raise PeerError("nameConstraints and policyMappings are not allowed", path="leaf")
    _check_alternative_name(leaf)


def _check_alternative_name(leaf: x509.Certificate) -> None:
    names = _find(leaf, x509.SubjectAlternativeName)
    if names is None:
        raise PeerError("subjectAltName is needed", path="leaf")
    if not names.critical and not leaf.subject.rdns:
        raise PeerError("subjectAltName must be critical when the subject is empty", path="leaf")
    for name in names.value.get_values_for_type(x509.OtherName):
        if name.type_id.dotted_string == HARDWARE_MODULE_NAME_OID:
            decode_hardware_name(name.value)


def _find(certificate: x509.Certificate, kind: type[E]) -> x509.Extension[E] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
