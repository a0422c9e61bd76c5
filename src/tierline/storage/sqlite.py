"""The store on SQLite: a synchronous commit core, and a writer thread around it that gathers waiting calls.

WAL with synchronous=FULL: what was acknowledged survives a power cut. Calls that wait at the same time share one
transaction and so one disk sync. After any error of the database the connection is thrown away and nothing of the
transaction is acknowledged; the next one begins with a fresh connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tierline.model.errors import ConfigError, LinkError
from tierline.storage.migrate import bring_up_to_date
from tierline.storage.schema import MAPPINGS, Cut, microseconds, page_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tierline.model.records import Record

R = TypeVar("R", bound="Record")

Statement = tuple[str, list[tuple[object, ...]]]
"""An SQL text and the rows to run it with."""

Outcome = int | LinkError | ValueError
"""How many rows a call changed, or why it changed none."""

_PAGES = (16, 128, 1024, 4096)
"""Rows read at a time: few at first, as often only the first are wanted."""

_UNWRITABLE = (
    OverflowError,
    ValueError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""What SQLite's driver says of a value it cannot hold: the fault of one call, not of the disk."""


def connect(path: str) -> sqlite3.Connection:
    """Open a database as the store needs it.

    Raises: ConfigError when the file cannot be opened.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise ConfigError(
            f"the database {path} cannot be opened: {error}; check [store] path and its folder"
        ) from error
    return connection


class CommitCore:
    """Writes batches, each transaction whole or not at all; synchronous, so that it can run anywhere."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def apply(self, calls: Sequence[Sequence[Statement]]) -> list[int]:
        """Write the statements of some calls durably, in one transaction; gives how many rows each call changed.

        Raises: LinkError when the database refuses; ValueError when it cannot hold a value. Nothing may be
        acknowledged then.
        """
        try:
            if self._connection is None:
                self._connection = connect(self._path)
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            changed = [
                sum(connection.executemany(statement, rows).rowcount for statement, rows in call) for call in calls
            ]
            connection.execute("COMMIT")
        except _UNWRITABLE as error:
            self.close()
            raise ValueError(f"a record cannot be written into the database {self._path}: {error}") from error
        except (sqlite3.Error, ConfigError) as error:
            self.close()
            raise LinkError(f"the database {self._path} did not take a change: {error}") from error
        return changed

    def close(self) -> None:
        """Throw the connection away; an open transaction is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(slots=True)
class _Waiting:
    """One call that waits for its commit."""

    call: list[Statement]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[int] = field(init=False)

    def __post_init__(self) -> None:
        self.done = self.loop.create_future()


class Database:
    """One SQLite file with its writer thread; `store(node)` gives the part of one node."""

    def __init__(self, path: str) -> None:
        """Open or create the database and bring its schema up to date.

        Raises: ConfigError when it cannot be opened or was written by a newer edition.
        """
        if not Path(path).parent.is_dir():
            raise ConfigError(f"the folder of the database {path} does not exist; create it or change [store] path")
        if not Path(path).exists():
            # Readings show when a home is lived in: the file, and with it the journals, are for their owner only.
            Path(path).touch(mode=0o600)
        bring_up_to_date(path)
        self.path = path
        self._core = CommitCore(path)
        self._stores: list[SqliteStore] = []
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="tierline-store", daemon=True)
        self._thread.start()

    def store(self, node: str) -> SqliteStore:
        """Give the part of the database that belongs to a node."""
        store = SqliteStore(self, node)
        self._stores.append(store)
        return store

    def submit(self, call: list[Statement]) -> asyncio.Future[int]:
        """Hand the statements of one call to the writer; gives how many rows they changed, once that is durable."""
        waiting = _Waiting(call, asyncio.get_running_loop())
        self._queue.put(waiting)
        if self._ended:
            # Looked at after the call was queued: either the writer took it, or it is turned away here.
            self._turn_away()
        return waiting.done

    def close(self) -> None:
        """Write what was accepted, then release the database and what its stores read with; later calls are refused."""
        for store in self._stores:
            store.close()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._write()
        finally:
            # Whatever ended the writer, nobody waits for it in vain.
            self._ended = True
            self._core.close()
            self._turn_away()

    def _write(self) -> None:
        closing = False
        while not closing:
            gathered, closing = self._gather()
            if not gathered:
                continue
            try:
                outcomes = self._outcomes([waiting.call for waiting in gathered])
            except BaseException:
                what = f"the writer of {self.path} ended; nothing is known of this change"
                _settle(gathered, [LinkError(what) for _ in gathered])
                raise
            _settle(gathered, outcomes)

    def _outcomes(self, calls: Sequence[Sequence[Statement]]) -> Sequence[Outcome]:
        try:
            return self._core.apply(calls)
        except LinkError as refused:
            return [LinkError(str(refused)) for _ in calls]  # each waiter raises its own
        except ValueError as unwritable:
            if len(calls) == 1:
                return [unwritable]
            # One call is at fault; the others must not suffer for it.
            return [outcome for call in calls for outcome in self._outcomes([call])]

    def _gather(self) -> tuple[list[_Waiting], bool]:
        first = self._queue.get()
        gathered = []
        while first is not None:
            gathered.append(first)
            try:
                first = self._queue.get_nowait()
            except queue.Empty:
                return gathered, False
        return gathered, True

    def _turn_away(self) -> None:
        gathered = []
        with contextlib.suppress(queue.Empty):
            while True:
                waiting = self._queue.get_nowait()
                if waiting is not None:
                    gathered.append(waiting)
        _settle(gathered, [LinkError(f"the database {self.path} is closed; nothing was written") for _ in gathered])


def _settle(gathered: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    """Tell those that wait, each loop in one go."""
    for loop in {waiting.loop for waiting in gathered}:
        told = [
            (waiting.done, outcome) for waiting, outcome in zip(gathered, outcomes, strict=True) if waiting.loop is loop
        ]
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody is left to be told
            loop.call_soon_threadsafe(_tell, told)


def _tell(told: Sequence[tuple[asyncio.Future[int], Outcome]]) -> None:
    for done, outcome in told:
        if done.done():
            continue
        if isinstance(outcome, int):
            done.set_result(outcome)
        else:
            done.set_exception(outcome)


async def _outcome(done: asyncio.Future[int]) -> int:
    """Wait until the outcome is known, whatever happens; who was cancelled meanwhile is so at the next await.

    So a caller that takes over into memory what it wrote does it exactly when the disk has it.
    """
    task = asyncio.current_task()
    assert task is not None  # a coroutine waits for a future in a task only
    cancellations = 0
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:
            task.uncancel()
            cancellations += 1
    for _ in range(cancellations):
        task.cancel()
    return done.result()


class SqliteStore:
    """The part of a database that belongs to one node."""

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node
        self._reader: sqlite3.Connection | None = None

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Write all of it or nothing, durably.

        Raises: LinkError when the database refuses; ValueError for a value that it cannot hold.
        """
        if put or delete:
            await _outcome(self._database.submit(statements(self._node, put, delete)))

    async def forget_before(self, kind: type[Record], time: datetime, *, limit: int = 10_000) -> int:
        """Delete the oldest records of one kind from before a time, at most `limit`; gives how many.

        Raises: LinkError when the database refuses; ValueError for a kind without a time.
        """
        mapping = MAPPINGS[kind]
        mapping.require_time()
        return await _outcome(self._database.submit([(mapping.forget, [(self._node, microseconds(time), limit)])]))

    def load(self, kind: type[R]) -> list[R]:
        """Read all records of one kind in order of their key.

        Raises: LinkError when the database cannot be read.
        """
        return self._select(kind, MAPPINGS[kind].select, (self._node,))

    def load_since(self, kind: type[R], time: datetime, *, limit: int = 10_000) -> list[R]:
        """Read readings or audit records at or after a time, oldest first, then in order of the key.

        Raises: LinkError when the database cannot be read; ValueError for a kind without a time.
        """
        mapping = MAPPINGS[kind]
        mapping.require_time()
        return self._select(kind, mapping.since, (self._node, microseconds(time), limit))

    def load_pending(self, kind: type[R]) -> list[R]:
        """Read those records of one kind whose time is still to come about, in order of their key.

        Raises: LinkError when the database cannot be read; ValueError for a kind without a time.
        """
        mapping = MAPPINGS[kind]
        mapping.require_time()
        return self._select(kind, mapping.pending, (self._node,))

    def each(
        self,
        kind: type[R],
        *,
        of: Sequence[object] = (),
        prefix: str = "",
        after: Sequence[object] = (),
        newest_first: bool = False,
    ) -> Iterator[R]:
        """Read records of one kind in order of their key, one by one, a page at a time; see `ports.Store`.

        Raises: LinkError when the database cannot be read.
        """
        mapping, at = MAPPINGS[kind], len(of)
        fixed = (self._node, *mapping.written(of, 0))
        low, is_low_in = mapping.written(after, at), False
        high: tuple[object, ...] = ()
        if prefix:
            low, high, is_low_in = (prefix,), (prefix[:-1] + chr(ord(prefix[-1]) + 1),), True
        for size in chain(_PAGES, repeat(_PAGES[-1])):
            cut = Cut(at, len(low), is_low_in, len(high), newest_first)
            page = self._select(kind, page_of(mapping, cut), (*fixed, *low, *high, size))
            yield from page
            if len(page) < size:
                return
            last = mapping.key_row("", page[-1])[1 + at :]
            # One bound of each side only, else the index would be gone through from the first again.
            low, high, is_low_in = (low, last, is_low_in) if newest_first else (last, high, False)

    def close(self) -> None:
        """Release what reading needed; the database itself is closed by who opened it."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _select(self, kind: type[R], statement: str, values: tuple[object, ...]) -> list[R]:
        mapping = MAPPINGS[kind]
        try:
            if self._reader is None:
                self._reader = connect(self._database.path)
            rows = self._reader.execute(statement, values).fetchall()
        except (sqlite3.Error, ConfigError) as error:
            self.close()
            raise LinkError(f"the database {self._database.path} cannot be read: {error}") from error
        return [mapping.parse(row) for row in rows]  # type: ignore[misc]  # the mapping is that of the kind


def statements(node: str, put: Sequence[Record], delete: Sequence[Record]) -> list[Statement]:
    """Turn records into SQL, runs of one kind in one statement, in the order given."""
    found: list[Statement] = []
    for record in put:
        mapping = MAPPINGS[type(record)]
        if not found or found[-1][0] != mapping.insert:
            found.append((mapping.insert, []))
        found[-1][1].append(mapping.row(node, record))
    for record in delete:
        mapping = MAPPINGS[type(record)]
        if not found or found[-1][0] != mapping.delete:
            found.append((mapping.delete, []))
        found[-1][1].append(mapping.key_row(node, record))
    return found
