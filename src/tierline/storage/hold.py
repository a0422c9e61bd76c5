"""One process per node: two that wrote the same rows would break the audit and answer events twice."""

from __future__ import annotations

import fcntl
import os

from tierline.model.errors import ConfigError


class Hold:
    """A node held by this process, until it lets go or dies: the kernel lets go for a process that was killed."""

    def __init__(self, path: str) -> None:
        """Take hold by locking a file, made when missing.

        Raises: ConfigError when another process holds it, or the file cannot be made.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{path} cannot be made: {error.strerror}; check [store] path and its folder") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConfigError(
                f"this node runs already: another process holds {path}; stop it, or give this node another name"
            ) from error
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Let go; doing it twice does nothing. The file stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
