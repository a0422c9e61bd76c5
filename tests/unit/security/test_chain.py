from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.model.errors import PeerError
from tierline.security.chain import check_chain
from tierline.security.pki import NO_END, Credential, Extra, make_device, make_mca, make_mica, make_serca

DER = serialization.Encoding.DER
EKU = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
NAME_CONSTRAINTS = x509.NameConstraints([x509.DNSName("example")], None)
POLICY_MAPPINGS = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("2.5.29.33"),
    bytes.fromhex("301830160609 2b0601040182be1c01 0609 2b0601040182be1c02".replace(" ", "")),
)
INHIBIT_ANY_POLICY = x509.InhibitAnyPolicy(1)


def refused(chain, pki, why, now=None, anchors=None):
    with pytest.raises(PeerError, match=why):
        check_chain(chain, anchors or pki.anchors, now or pki.now)


def reissue(credential, issuer, *, without=(), replaced=(), key=None, subject=None, algorithm=None, not_after=None):
    """Issue a certificate again with other extensions, key, subject, hash or end."""
    old = credential.certificate
    key = key or credential.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject if subject is None else subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(not_after or old.not_valid_after_utc)
    )
    kinds = {type(value) for value, _ in replaced} | set(without)
    for e in old.extensions:
        if type(e.value) not in kinds:
            builder = builder.add_extension(e.value, critical=e.critical)
    for value, critical in replaced:
        builder = builder.add_extension(value, critical=critical)
    certificate = builder.sign(issuer.key, algorithm or hashes.SHA256())
    return Credential(certificate=certificate, key=key, issuers=(issuer.certificate, *issuer.issuers))


@pytest.mark.parametrize(
    ("who", "depth"), [("chain_of_2", 2), ("device", 3), ("aggregator", 3), ("server", 3), ("chain_of_4", 4)]
)
def test_chains_of_two_to_four_are_accepted(pki, who, depth):
    checked = check_chain(getattr(pki, who).chain_der, pki.anchors, pki.now)
    assert checked.depth == depth
    assert (checked.valid_from, checked.valid_until) == (pki.born, NO_END)


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "value", [EKU, NAME_CONSTRAINTS, POLICY_MAPPINGS, INHIBIT_ANY_POLICY], ids=lambda v: v.oid._name
)
def test_an_issuing_authority_with_forbidden_extensions_is_refused(pki, value, critical):
    bad = make_mica(pki.serca, "bad MICA", pki.born, extras=[Extra(value=value, critical=critical)])
    refused(make_device(bad, pki.hardware, pki.born).chain_der, pki, "^MICA: .*not allowed")


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize("value", [EKU, NAME_CONSTRAINTS, POLICY_MAPPINGS], ids=lambda v: v.oid._name)
def test_a_manufacturing_authority_with_forbidden_extensions_is_refused(pki, value, critical):
    bad = reissue(pki.mca, pki.serca, replaced=[(value, critical)])
    mica = make_mica(bad, "MICA below", pki.born)
    refused(make_device(mica, pki.hardware, pki.born).chain_der, pki, "^MCA: .*not allowed")


def test_a_self_signed_device_is_refused(pki):
    own = reissue(pki.device, pki.device, subject=x509.Name([]))
    refused((own.certificate_der,), pki, "2 to 4", anchors=frozenset({own.certificate_der}))


def test_a_root_that_is_no_anchor_is_refused(pki):
    other = make_serca("SERCA", pki.born, demo=False)
    device = make_device(make_mica(other, "MICA", pki.born), pki.hardware, pki.born)
    refused(device.chain_der, pki, "none of the configured anchors")


def test_a_chain_of_five_is_refused(pki):
    deep = make_mica(make_mca(make_mca(pki.serca, "MCA 1", pki.born), "MCA 2", pki.born), "MICA", pki.born)
    refused(make_device(deep, pki.hardware, pki.born).chain_der, pki, "2 to 4 certificates, this one 5")


def test_a_leaf_issued_by_an_mca_is_refused(pki):
    refused(make_device(pki.mca, pki.hardware, pki.born).chain_der, pki, "MICAs only")


def test_an_authority_below_an_issuing_authority_is_refused(pki):
    below = make_mica(pki.mica, "below MICA", pki.born)
    refused(make_device(below, pki.hardware, pki.born).chain_der, pki, "^MCA: its path length 0")


def test_authorities_without_a_path_length_are_accepted(pki):
    free = reissue(pki.mica, pki.serca, replaced=[(x509.BasicConstraints(ca=True, path_length=None), True)])
    assert check_chain(make_device(free, pki.hardware, pki.born).chain_der, pki.anchors, pki.now).depth == 3


CA = x509.BasicConstraints(ca=True, path_length=0)
SIGNS = x509.KeyUsage(
    digital_signature=False, key_agreement=False, key_cert_sign=True, crl_sign=True, content_commitment=False,
    key_encipherment=False, data_encipherment=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
NO_SIGNATURE = x509.KeyUsage(
    digital_signature=False, key_agreement=True, key_cert_sign=False, crl_sign=False, content_commitment=False,
    key_encipherment=False, data_encipherment=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
POLICIES = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.3.6.1.4.1.40732.1.1"), None)])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"without": [x509.BasicConstraints]}, "basicConstraints"),
        ({"replaced": [(CA, False)]}, "basicConstraints"),
        ({"replaced": [(x509.BasicConstraints(ca=False, path_length=None), True)]}, "basicConstraints"),
        ({"without": [x509.KeyUsage]}, "keyUsage"),
        ({"replaced": [(SIGNS, False)]}, "keyUsage"),
        ({"replaced": [(NO_SIGNATURE, True)]}, "keyUsage"),
        ({"without": [x509.CertificatePolicies]}, "certificatePolicies"),
        ({"replaced": [(POLICIES, False)]}, "certificatePolicies"),
    ],
)
def test_an_issuing_authority_outside_the_profile_is_refused(pki, changes, why):
    bad = reissue(pki.mica, pki.serca, **changes)
    refused(make_device(bad, pki.hardware, pki.born).chain_der, pki, f"^MICA: .*{why}")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"without": [x509.KeyUsage]}, "keyUsage"),
        ({"replaced": [(NO_SIGNATURE, True)]}, "keyUsage"),
        ({"replaced": [(SIGNS, True)]}, "keyUsage"),
        ({"without": [x509.CertificatePolicies]}, "certificatePolicies"),
        ({"replaced": [(POLICIES, False)]}, "certificatePolicies"),
        ({"without": [x509.SubjectAlternativeName]}, "subjectAltName"),
        ({"replaced": [(x509.SubjectAlternativeName([x509.DNSName("a")]), False)]}, "subjectAltName must be critical"),
        ({"replaced": [(CA, True)]}, "may not be used as a leaf"),
        ({"replaced": [(NAME_CONSTRAINTS, False)]}, "not allowed"),
        ({"replaced": [(POLICY_MAPPINGS, False)]}, "not allowed"),
        ({"replaced": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]}, "1.2.3.4"),
        (
            {
                "replaced": [
                    (
                        x509.SubjectAlternativeName(
                            [x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4"), b"\x05\x00")]
                        ),
                        True,
                    )
                ]
            },
            "hardwareModuleName",
        ),
    ],
)
def test_a_leaf_outside_the_profile_is_refused(pki, changes, why):
    refused(reissue(pki.device, pki.mica, **changes).chain_der, pki, why)


def test_a_named_leaf_with_extended_key_usage_is_accepted_as_aggregators_have_it(pki):
    names = x509.SubjectAlternativeName([x509.DNSName("aggregator.example")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "aggregator")])
    leaf = reissue(pki.aggregator, pki.mica, subject=subject, replaced=[(names, False), (EKU, False)])
    assert check_chain(leaf.chain_der, pki.anchors, pki.now).depth == 3


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        rsa.generate_private_key(65537, 1024),
    ],
    ids=["P-224", "P-384", "brainpool", "RSA 1024"],
)
def test_weak_and_other_keys_are_refused_wherever_they_stand(pki, key):
    leaf = reissue(pki.device, pki.mica, key=key)
    refused(leaf.chain_der, pki, "^leaf: its key is .*only EC P-256")
    authority = reissue(pki.mica, pki.serca, key=key)
    refused(
        make_device(authority, pki.hardware, pki.born).chain_der,
        pki,
        "MICA: its key is|leaf: it is signed with|^leaf: .*not issued",
    )


@pytest.mark.parametrize("algorithm", [hashes.SHA384(), hashes.SHA512(), hashes.SHA224()])
def test_other_signatures_are_refused(pki, algorithm):
    refused(reissue(pki.device, pki.mica, algorithm=algorithm).chain_der, pki, "only ecdsa-with-SHA256")


def test_a_signature_of_somebody_else_is_refused(pki):
    impostor = make_mica(pki.serca, "MICA", pki.born)  # same name, other key
    forged = make_device(impostor, pki.hardware, pki.born)
    refused((forged.certificate_der, *pki.device.chain_der[1:]), pki, "not issued by the certificate above")


def test_a_chain_in_the_wrong_order_is_refused(pki):
    leaf, mica, root = pki.device.chain_der
    refused((mica, leaf, root), pki, "not issued by")


def test_an_expired_anchor_is_refused(pki):
    old = make_serca("old SERCA", pki.born, demo=False, not_after=pki.now - timedelta(seconds=1))
    device = make_device(make_mica(old, "MICA", pki.born), pki.hardware, pki.born)
    anchors = frozenset({old.certificate_der})
    refused(device.chain_der, pki, "^root: expired at 2026-10-31T23:59:59Z", anchors=anchors)
    assert check_chain(device.chain_der, anchors, pki.now - timedelta(seconds=1)).valid_until < pki.now


def test_a_certificate_is_refused_before_its_time(pki):
    refused(pki.device.chain_der, pki, "not valid before 2026-01-01T00:00:00Z", now=pki.born - timedelta(seconds=1))


def test_a_root_with_policies_that_are_not_critical_is_refused(pki):
    root = reissue(pki.serca, pki.serca, replaced=[(POLICIES, False)])
    device = make_device(
        make_mica(Credential(certificate=root.certificate, key=root.key), "M", pki.born), pki.hardware, pki.born
    )
    refused(device.chain_der, pki, "^root: .*critical", anchors=frozenset({root.certificate_der}))


def test_a_certificate_that_is_none_is_refused(pki):
    refused((b"\x30\x03\x02\x01\x01", *pki.device.chain_der[1:]), pki, "^leaf: not a readable certificate")


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a negative one
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_byte_never_passes_and_never_crashes(pki, data):
    chain = list(pki.device.chain_der)
    which = data.draw(st.integers(0, 1))
    position = data.draw(st.integers(0, len(chain[which]) - 1))
    changed = bytearray(chain[which])
    changed[position] ^= data.draw(st.integers(1, 255))
    chain[which] = bytes(changed)
    with pytest.raises(PeerError):
        check_chain(chain, pki.anchors, pki.now)


def test_a_certificate_has_one_encoding_only(pki):
    leaf = bytearray(pki.device.certificate_der)
    unused_bits = -len(pki.device.certificate.signature) - 1
    for bits in range(1, 8):
        leaf[unused_bits] = bits
        with pytest.raises(PeerError):
            check_chain((bytes(leaf), *pki.device.chain_der[1:]), pki.anchors, pki.now)


def test_no_end_is_what_the_standard_writes():
    assert datetime(9999, 12, 31, 23, 59, 59, tzinfo=NO_END.tzinfo) == NO_END
