"""Key and certificate files: written so that only their owner reads a key, refused when anybody else could.

The one place beside `tierline.env` that opens files, because a private key is handled here and nowhere else.
"""

import os
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tierline.model.errors import ConfigError
from tierline.security.pki import Credential

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Any right of the group or of others."""


def write_credential(folder: Path, name: str, credential: Credential) -> tuple[Path, Path]:
    """Write `name.pem` (the certificate and its issuers, without the root) and `name.key`; gives both paths.

    The folder gets mode 0700, the key 0600. Raises: ConfigError when a file exists or cannot be written.
    """
    certificate_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    make_key_folder(folder)
    write_new(key_path, credential.key_pem, mode=0o600)
    write_new(certificate_path, credential.presented_pem, mode=0o644)
    return certificate_path, key_path


def make_key_folder(folder: Path) -> None:
    """Make a folder for keys with mode 0700, or tighten the one that exists.

    Raises: ConfigError when it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"the folder for keys {folder} cannot be made: {error.strerror}") from error


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that does not exist yet, with its final mode from the first byte on.

    Raises: ConfigError when it exists (a key is never overwritten) or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)  # noqa: TID251  a key file
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise ConfigError(
            f"{path} exists already and is not overwritten; move it away or choose another name"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def check_key_file(path: Path) -> None:
    """Refuse a key file that anybody but its owner can use.

    Raises: ConfigError, naming the command that puts it right.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be read: {error.strerror}") from error
    if mode & _OTHERS:
        raise ConfigError(f"the key file {path} is open to others (mode {mode:04o}); run: chmod 600 {path}")


def load_certificates(path: Path) -> tuple[bytes, ...]:
    """Read all certificates of a PEM file, in DER, in their order.

    Raises: ConfigError when there is none.
    """
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"the certificate file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM: {error}") from error
    return tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in found)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key after `check_key_file`.

    Raises: ConfigError when it is open to others, missing, encrypted or not EC P-256.
    """
    check_key_file(path)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} holds no unencrypted private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{path} holds a key that is not EC P-256, the only kind IEEE 2030.5 allows; make a new one")
    return key


def load_credential(certificate_path: Path, key_path: Path, roots_der: tuple[bytes, ...] = ()) -> Credential:
    """Read a certificate, the issuers that stand after it in its file, and its key.

    Raises: ConfigError when a file is missing or unsafe, or when key and certificate do not belong together.
    """
    leaf, *issuers = (x509.load_der_x509_certificate(der) for der in load_certificates(certificate_path))
    roots = (x509.load_der_x509_certificate(der) for der in roots_der)
    key = load_key(key_path)
    if leaf.public_key() != key.public_key():
        raise ConfigError(f"the key {key_path} does not belong to the certificate {certificate_path}")
    return Credential(certificate=leaf, key=key, issuers=(*issuers, *roots))
