import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tierline.model.errors import ConfigError
from tierline.security.keys import check_key_file, load_certificates, load_credential, load_key, write_credential


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_written_for_its_owner_alone(pki, tmp_path):
    certificate, key = write_credential(tmp_path / "keys", "device", pki.device)
    assert (mode(tmp_path / "keys"), mode(key), mode(certificate)) == (0o700, 0o600, 0o644)


def test_an_open_folder_is_tightened(pki, tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)
    write_credential(folder, "device", pki.device)
    assert mode(folder) == 0o700


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o602, 0o601])
def test_a_key_open_to_others_is_refused_with_the_command_that_helps(pki, tmp_path, bits):
    _, key = write_credential(tmp_path / "keys", "device", pki.device)
    key.chmod(bits)
    with pytest.raises(ConfigError, match=f"chmod 600 {key}"):
        load_key(key)


def test_a_key_is_never_overwritten(pki, tmp_path):
    _, key = write_credential(tmp_path, "device", pki.device)
    before = key.read_bytes()
    with pytest.raises(ConfigError, match="not overwritten"):
        write_credential(tmp_path, "device", pki.aggregator)
    assert key.read_bytes() == before


def test_a_credential_is_read_back(pki, tmp_path):
    files = write_credential(tmp_path, "device", pki.chain_of_4)
    read = load_credential(*files, (pki.serca.certificate_der,))
    assert read.chain_der == pki.chain_of_4.chain_der
    assert read.key_pem == pki.chain_of_4.key_pem


def test_a_key_of_another_certificate_is_refused(pki, tmp_path):
    certificate, _ = write_credential(tmp_path, "a", pki.device)
    _, key = write_credential(tmp_path, "b", pki.aggregator)
    with pytest.raises(ConfigError, match="does not belong"):
        load_credential(certificate, key)


@pytest.mark.parametrize(
    "make", [lambda: ec.generate_private_key(ec.SECP384R1()), lambda: rsa.generate_private_key(65537, 1024)]
)
def test_a_key_of_another_kind_is_refused(tmp_path, make):
    path = tmp_path / "other.key"
    pem = make().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="P-256"):
        load_key(path)


def test_what_is_no_key_is_refused(tmp_path):
    path = tmp_path / "no.key"
    path.write_bytes(b"nothing")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no unencrypted private key"):
        load_key(path)


def test_an_encrypted_key_is_refused(pki, tmp_path):
    path = tmp_path / "locked.key"
    locked = serialization.BestAvailableEncryption(b"word")
    path.write_bytes(
        pki.device.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no unencrypted private key"):
        load_key(path)


def test_missing_files_are_named(tmp_path):
    missing = tmp_path / "missing"
    for read in (check_key_file, load_key, load_certificates):
        with pytest.raises(ConfigError, match=str(missing)):
            read(missing)


def test_a_file_without_certificates_is_refused(tmp_path):
    path = tmp_path / "empty.pem"
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match="no certificate"):
        load_certificates(path)


def test_a_folder_that_cannot_be_made_is_named(pki, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be made"):
        write_credential(tmp_path / "file", "device", pki.device)


def test_a_name_that_cannot_be_written_is_named(pki, tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        write_credential(tmp_path, "no/such", pki.device)
