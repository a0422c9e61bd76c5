"""The simulated disk of one node: what was committed survives a crash, everything else is gone.

Faults strike at the n-th write from now: refused because the disk is full, or the node dies just before or just after
it. They can be put round any synchronous commit (`guard`), round a store (`DurableStore`) and are part of `SimFiles`.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tierline.model.errors import ConfigError, LinkError
from tierline.sim.faults import Fault
from tierline.sim.store_behind import StoreBehind

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from tierline.model.records import Record
    from tierline.ports import Random, Store

P = ParamSpec("P")
T = TypeVar("T")


class CrashedError(asyncio.CancelledError):
    """The process of this code is dead: it sees nothing any more and nobody sees it.

    A kind of cancellation, because nothing else unwinds as quietly; code that swallows cancellations is found by it.
    """


class Disk:
    """The part of a node that survives a crash, and the faults of writing to it."""

    def __init__(self, faults: Counter[Fault]) -> None:
        self._faults = faults
        self._kept: dict[str, object] = {}
        self.writes = 0
        """How many writes were tried."""
        self._refuse_from: int | None = None
        self._crash_before: set[int] = set()
        self._crash_after: set[int] = set()
        self._die: Callable[[], None] = _nothing
        self._pass_point: Callable[[], None] = _nothing

    def belongs_to(self, die: Callable[[], None], pass_point: Callable[[], None]) -> None:
        """Say how the node that owns the disk dies, and what it passes before and after each write.

        `pass_point` raises CrashedError for code whose node is dead, so that it writes nothing any more.
        """
        self._die = die
        self._pass_point = pass_point

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """Give the object of that name, made the first time: the same one before and after a crash.

        It must hold only what was committed; nothing rolls it back.
        """
        if name not in self._kept:
            self._kept[name] = make()
        kept: T = self._kept[name]  # type: ignore[assignment]  # made by a `make` of the same type, by agreement
        return kept

    def fill(self, writes: int = 1) -> None:
        """Refuse writes from the n-th from now on, until there is room again."""
        self._refuse_from = self.writes + writes

    def make_room(self) -> None:
        """Take writes again."""
        self._refuse_from = None

    def crash_at(self, writes: int, *, is_after: bool) -> None:
        """Let the node die just before or just after the n-th write from now."""
        (self._crash_after if is_after else self._crash_before).add(self.writes + writes)

    def disarm(self) -> None:
        """Take back the faults that have not happened yet."""
        self.make_room()
        self._crash_before.clear()
        self._crash_after.clear()

    def before_write(self) -> None:
        """Pass the point before a write.

        Raises: OSError (ENOSPC) when the disk is full; CrashedError when the node dies here.
        """
        self._pass_point()
        self.writes += 1
        if self._refuse_from is not None and self.writes >= self._refuse_from:
            self._faults[Fault.DISK_FULL] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._die_if_due(self._crash_before, Fault.CRASH_BEFORE_COMMIT)

    def after_write(self) -> None:
        """Pass the point after a write.

        Raises: CrashedError when the node dies here.
        """
        self._die_if_due(self._crash_after, Fault.CRASH_AFTER_COMMIT)
        self._pass_point()

    def guard(self, commit: Callable[P, T]) -> Callable[P, T]:
        """Put the faults round a synchronous commit.

        Raises: what `before_write` and `after_write` raise.
        """

        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            self.before_write()
            result = commit(*args, **kwargs)
            self.after_write()
            return result

        return guarded

    def _die_if_due(self, armed: set[int], fault: Fault) -> None:
        due = {write for write in armed if write <= self.writes}
        if due:
            armed -= due
            self._faults[fault] += 1
            self._die()
            raise CrashedError(f"{fault} at write {self.writes}")


class DurableStore(StoreBehind):
    """A store on a simulated disk: a commit takes time, may be refused, and may be the last thing the node does."""

    def __init__(self, store: Store, disk: Disk, random: Random, pause: Callable[[float], Awaitable[None]]) -> None:
        super().__init__(store)
        self._disk = disk
        self._random = random
        self._pause = pause

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Write all of it or nothing, durably.

        Raises: LinkError when the disk refuses.
        """
        await self._pause(self._sync_s())  # dying here loses the change
        try:
            self._disk.before_write()
        except OSError as refusal:
            raise LinkError(f"the store refused a commit: {refusal.strerror}; nothing of it was kept") from refusal
        await self._store.commit(put, delete)
        self._disk.after_write()
        await self._pause(self._sync_s())  # dying here keeps the change, and nobody was told

    async def forget_before(self, kind: type[Record], time: datetime, *, limit: int = 10_000) -> int:
        """Delete the oldest records of one kind from before a time, at most `limit`; gives how many.

        Raises: LinkError when the disk refuses.
        """
        await self._pause(self._sync_s())
        try:
            self._disk.before_write()
        except OSError as refusal:
            raise LinkError(f"the store refused to forget: {refusal.strerror}; nothing was deleted") from refusal
        count = await self._store.forget_before(kind, time, limit=limit)
        self._disk.after_write()
        return count

    def close(self) -> None:
        """Close nothing: the disk keeps the store for the next start."""

    def _sync_s(self) -> float:
        return 0.0005 + 0.01 * self._random.fraction()


class SimFiles:
    """The files of a simulated node: replaced at once or not at all; what was appended may lose its end in a crash."""

    def __init__(self, disk: Disk, random: Random) -> None:
        self._disk = disk
        self._random = random
        self._contents: dict[str, bytes] = disk.keep("files", dict)
        self._unsynced: dict[str, int] = {}

    def read(self, path: str) -> bytes:
        """Read a whole file.

        Raises: ConfigError when there is none.
        """
        try:
            return self._contents[path]
        except KeyError:
            raise ConfigError(f"cannot read {path}: No such file or directory") from None

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Replace a file atomically and durably.

        Raises: ConfigError when the disk is full.
        """
        del mode  # a simulated machine has one user
        self._before_write(path)
        self._contents[path] = data
        self._unsynced.pop(path, None)
        self._disk.after_write()

    def append(self, path: str, data: bytes) -> None:
        """Append to a file, made when missing; not synced.

        Raises: ConfigError when the disk is full.
        """
        self._before_write(path)
        self._contents[path] = self._contents.get(path, b"") + data
        self._unsynced[path] = self._unsynced.get(path, 0) + len(data)
        self._disk.after_write()

    def make_folder(self, path: str) -> None:
        """Do nothing: a simulated path needs no folder."""

    def lose_unsynced(self) -> None:
        """Cut off a random part of what was appended: the machine is going down."""
        for path, length in self._unsynced.items():
            content = self._contents[path]
            self._contents[path] = content[: len(content) - self._random.between(0, length)]
        self._unsynced.clear()

    def _before_write(self, path: str) -> None:
        try:
            self._disk.before_write()
        except OSError as refusal:
            raise ConfigError(f"cannot write {path}: {refusal.strerror}") from refusal


def _nothing() -> None:
    """Do nothing: a disk on its own, as in a test of the store."""
