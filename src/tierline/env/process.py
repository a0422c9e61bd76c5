"""Other programs, each in a process group of its own, so that a signal reaches its children too."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class RealRunning:
    """A program that was started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id, which is also the number of its group."""
        return self._process.pid

    def kill(self, signal: int) -> None:
        """Send a signal to its process group; a group that is gone is left in peace."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal)

    async def wait(self) -> int:
        """Wait for its end; gives the exit status, or minus the signal that ended it."""
        return await self._process.wait()


class RealProcess:
    """The programs of this machine."""

    async def spawn(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdout: str = "", stderr: str = ""
    ) -> RealRunning:
        """Start a program in a process group of its own.

        Output is added to the files named (one name for both is fine); without a name it goes where ours goes.
        `env` replaces the environment; None hands ours down.
        Raises: ConfigError when it cannot be started.
        """
        with _output(stdout) as out, _output(stderr) as err:
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=None if env is None else dict(env),
                    # A session is a group too; unlike process_group, uvloop knows it.
                    start_new_session=True,
                )
            except OSError as failure:
                raise ConfigError(f"cannot start {argv[0]}: {failure.strerror}; is it installed?") from failure
        return RealRunning(process)


@contextlib.contextmanager
def _output(path: str) -> Iterator[int | None]:
    """Open a file for a child to write to; ours is closed as soon as the child has its own copy."""
    if not path:
        yield None
        return
    try:
        descriptor = os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as failure:
        raise ConfigError(f"cannot write {path}: {failure.strerror}; choose another file for the output") from failure
    try:
        yield descriptor
    finally:
        os.close(descriptor)
