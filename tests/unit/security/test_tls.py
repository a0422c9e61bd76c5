import ssl

import pytest

from tierline.model.errors import ConfigError
from tierline.security.keys import write_credential
from tierline.security.tls import MANDATORY_SUITE, SUITES, client_context, self_test, server_context


@pytest.fixture
def server_files(pki, tmp_path):
    return write_credential(tmp_path / "server", "server", pki.server)


def test_ccm_8_works_on_this_machine():
    assert self_test() == MANDATORY_SUITE


def test_a_machine_without_ccm_8_is_told_what_to_do():
    with pytest.raises(ConfigError, match=r"openssl\.cnf"):
        self_test(SUITES[1:])


def test_a_suite_that_openssl_does_not_know_is_a_matter_of_configuration():
    with pytest.raises(ConfigError, match="does not work"):
        self_test(["NO_SUCH_SUITE"])


@pytest.mark.parametrize("build", [server_context, client_context])
def test_only_tls_1_2_with_three_suites_and_mutual_certificates(pki, server_files, build):
    context = build(*server_files, [pki.serca.certificate_der])
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_2
    assert [c["name"] for c in context.get_ciphers() if c["protocol"] == "TLSv1.2"] == list(SUITES)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert not context.check_hostname
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_host_names_are_checked_when_asked_for(pki, server_files):
    assert client_context(*server_files, [pki.serca.certificate_der], check_host_name=True).check_hostname


def test_an_open_key_file_is_refused(pki, server_files):
    server_files[1].chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        server_context(*server_files, [pki.serca.certificate_der])


def test_a_key_that_does_not_match_is_refused(pki, server_files, tmp_path):
    _, other_key = write_credential(tmp_path / "other", "device", pki.device)
    with pytest.raises(ConfigError, match="cannot be used"):
        server_context(server_files[0], other_key, [pki.serca.certificate_der])


def test_a_missing_certificate_is_named(pki, server_files, tmp_path):
    with pytest.raises(ConfigError, match=r"none\.pem"):
        server_context(tmp_path / "none.pem", server_files[1], [pki.serca.certificate_der])
