"""Files: a crash or a power cut leaves the old content or the new one, never a mixture."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from tierline.model.errors import ConfigError


class RealFiles:
    """The files of this machine."""

    def read(self, path: str) -> bytes:
        """Read a whole file.

        Raises: ConfigError when it cannot be read.
        """
        try:
            return Path(path).read_bytes()
        except OSError as failure:
            raise ConfigError(
                f"cannot read {path}: {failure.strerror}; check the path and who may read it"
            ) from failure

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Replace a file atomically and durably; `mode` 0o600 keeps it from all but its owner from the first byte on.

        Raises: ConfigError when it cannot be written; the old content stays.
        """
        target = Path(path)
        new = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        try:
            _write_durably(new, data, mode)
            new.replace(target)
            _sync_folder(target.parent)
        except OSError as failure:
            raise _cannot_write(path, failure) from failure
        finally:
            with contextlib.suppress(OSError):  # it is gone after a success; whatever else fails has been reported
                new.unlink()

    def append(self, path: str, data: bytes) -> None:
        """Append to a file, made when missing; not synced.

        Raises: ConfigError when it cannot be written.
        """
        try:
            with Path(path).open("ab", buffering=0) as file:
                _write_all(file.fileno(), data)
        except OSError as failure:
            raise _cannot_write(path, failure) from failure

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it, where they are missing; what it holds is its owner's business (0700).

        Raises: ConfigError when it cannot be made.
        """
        try:
            Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failure:
            raise _cannot_write(path, failure) from failure


def _cannot_write(path: str, failure: OSError) -> ConfigError:
    return ConfigError(f"cannot write {path}: {failure.strerror}; check the folder, its owner and the free space")


def _write_durably(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)  # give back what the umask took away
        _write_all(descriptor, data)
        os.fsync(descriptor)  # a failure is final: the kernel may have dropped the pages, and a second call would lie
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    """Make a new name durable: it belongs to the folder, not to the file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
