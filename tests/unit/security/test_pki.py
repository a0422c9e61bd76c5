from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from tierline.model.errors import ConfigError
from tierline.model.identity import lfdi_of_certificate
from tierline.security.hardware_name import HARDWARE_MODULE_NAME_OID, decode_hardware_name
from tierline.security.pki import (
    ANY_POLICY,
    DEMO_MARK,
    GENERIC_DEVICE,
    SERVICE_PROVIDER,
    TEST_CERTIFICATE,
    is_demo_chain,
    make_device,
    make_mica,
    make_serca,
)

LEAVES = ["device", "aggregator", "server"]
AUTHORITIES = ["serca", "mca", "mica"]


def extension(credential, kind):
    return credential.certificate.extensions.get_extension_for_class(kind)


def policies(credential):
    return [p.policy_identifier.dotted_string for p in extension(credential, x509.CertificatePolicies).value]


@pytest.mark.parametrize("who", LEAVES + AUTHORITIES)
def test_keys_are_p256_and_signatures_ecdsa_with_sha256(pki, who):
    certificate = getattr(pki, who).certificate
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)
    assert certificate.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256


@pytest.mark.parametrize("who", LEAVES + AUTHORITIES)
def test_validity_has_no_end(pki, who):
    assert getattr(pki, who).certificate.not_valid_after_utc == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert b"99991231235959Z" in getattr(pki, who).certificate_der


@pytest.mark.parametrize("who", LEAVES)
def test_a_leaf_is_named_by_its_hardware_alone(pki, who):
    leaf = getattr(pki, who)
    assert leaf.certificate.subject == x509.Name([])
    names = extension(leaf, x509.SubjectAlternativeName)
    assert names.critical
    (other,) = names.value.get_values_for_type(x509.OtherName)
    assert other.type_id.dotted_string == HARDWARE_MODULE_NAME_OID
    assert decode_hardware_name(other.value) == pki.hardware


@pytest.mark.parametrize("who", LEAVES)
def test_a_leaf_has_critical_key_usage_for_signature_and_key_agreement_only(pki, who):
    usage = extension(getattr(pki, who), x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_agreement
    assert not any((usage.value.key_cert_sign, usage.value.crl_sign, usage.value.key_encipherment))


@pytest.mark.parametrize("who", LEAVES)
def test_a_leaf_has_exactly_the_extensions_of_the_profile(pki, who):
    found = {e.oid: e.critical for e in getattr(pki, who).certificate.extensions}
    assert found == {
        ExtensionOID.KEY_USAGE: True,
        ExtensionOID.CERTIFICATE_POLICIES: True,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME: True,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    }


@pytest.mark.parametrize(("who", "path_length"), [("serca", None), ("mca", 1), ("mica", 0)])
def test_an_authority_is_one_with_its_path_length(pki, who, path_length):
    constraints = extension(getattr(pki, who), x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert constraints.value.path_length == path_length
    usage = extension(getattr(pki, who), x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature


def test_policies_are_critical_and_say_what_a_certificate_is_for(pki):
    assert policies(pki.serca) == [ANY_POLICY]
    assert policies(pki.device) == [GENERIC_DEVICE, TEST_CERTIFICATE]
    assert SERVICE_PROVIDER in policies(pki.aggregator)
    assert all(extension(getattr(pki, who), x509.CertificatePolicies).critical for who in LEAVES + AUTHORITIES)


def test_a_server_is_also_named_by_its_host_names_and_addresses(pki):
    names = extension(pki.server, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["utility.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_what_is_presented_is_everything_but_the_root(pki):
    sent = x509.load_pem_x509_certificates(pki.chain_of_4.presented_pem)
    assert len(sent) == 3
    assert pki.serca.certificate not in sent


def test_the_lfdi_is_that_of_the_certificate_in_der(pki):
    assert pki.device.lfdi == lfdi_of_certificate(pki.device.certificate_der)


def test_an_authority_may_not_bear_its_issuers_name(pki):
    with pytest.raises(ConfigError, match="SERCA"):
        make_mica(pki.serca, "SERCA", pki.born)


def test_the_demo_is_recognised_in_every_certificate_below_its_root(pki):
    mica = make_mica(make_serca("root", pki.born, demo=True), "MICA", pki.born)
    device = make_device(mica, pki.hardware, pki.born)
    assert all(is_demo_chain([der]) for der in device.chain_der)
    assert DEMO_MARK in mica.certificate.subject.rfc4514_string()


def test_other_chains_are_not_taken_for_the_demo(pki):
    assert not is_demo_chain(pki.device.chain_der)
