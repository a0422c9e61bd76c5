"""The processes of a scenario: started from configuration files, watched, killed on purpose, and ended without remainder."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

import structlog

from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tierline.ports import Process, Running

log = structlog.get_logger(__name__)

_GRACE_S: Final = 10.0
"""Wall seconds that a process gets to end by itself."""
_SHOWN: Final = 15
"""Lines of a log that are shown when its process has failed."""


class Processes:
    """Named processes, each running some nodes."""

    def __init__(self, process: Process, command: Sequence[str], logs: Path) -> None:
        self._process = process
        self._command = tuple(command)
        self._logs = logs
        self._running: dict[str, Running] = {}
        self._expected: set[str] = set()
        self._watched: asyncio.Queue[tuple[str, Running]] = asyncio.Queue()

    @property
    def pids(self) -> Mapping[str, int]:
        """The process ids of those that run."""
        return {name: running.pid for name, running in self._running.items()}

    async def start(self, name: str, files: Sequence[Path]) -> None:
        """Start a process that runs the nodes of some files.

        Raises: ConfigError when it cannot be started.
        """
        path = str(self.log(name))
        command = [*self._command, *map(str, files)]
        running = await self._process.spawn(command, stdout=path, stderr=path)
        self._expected.discard(name)
        self._running[name] = running
        self._watched.put_nowait((name, running))

    async def kill(self, name: str) -> None:
        """Kill a process outright (SIGKILL) and wait until it is gone."""
        await self._end(name, signal.SIGKILL)

    async def stop(self, *names: str) -> None:
        """End processes in good order, by force where one does not hear; all of them when none is named."""
        async with asyncio.TaskGroup() as group:
            for name in names or tuple(self._running):
                group.create_task(self._stop(name))

    async def run_to_end(self, name: str, files: Sequence[Path]) -> None:
        """Run a process that ends by itself.

        Raises: ConfigError when it fails.
        """
        path = str(self.log(name))
        running = await self._process.spawn([*self._command, *map(str, files)], stdout=path, stderr=path)
        self._expected.add(name)
        self._running[name] = running
        status = await running.wait()
        del self._running[name]
        if status:
            raise ConfigError(self._failure(name, status))

    async def watch(self) -> None:
        """Watch until cancelled.

        Raises: ConfigError when a process ends that was not told to, with the end of its log.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                name, running = await self._watched.get()
                group.create_task(self._watch(name, running))

    def log(self, name: str) -> Path:
        """Tell where a process logs to."""
        return self._logs / f"{name}.log"

    async def _watch(self, name: str, running: Running) -> None:
        status = await running.wait()
        if self._running.get(name) is running and name not in self._expected:
            raise ConfigError(self._failure(name, status))

    async def _stop(self, name: str) -> None:
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._end(name, signal.SIGTERM)
        except TimeoutError:
            log.warning("process_killed", process=name, after_s=_GRACE_S)
            await self._end(name, signal.SIGKILL)

    async def _end(self, name: str, number: int) -> None:
        running = self._running.get(name)
        if running is None:
            return
        self._expected.add(name)
        running.kill(number)
        await running.wait()
        self._running.pop(name, None)

    def _failure(self, name: str, status: int) -> str:
        lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        ended = f"by signal {-status}" if status < 0 else f"with status {status}"
        return "\n".join([f"the process {name} ended {ended}; the end of {self.log(name)}:", *lines[-_SHOWN:]])
