"""The store on SQLite: a synchronous commit core, and a writer thread around it that gathers waiting calls.

WAL with synchronous=FULL: what was acknowledged survives a power cut. Calls that wait at the same time share one
transaction and so one disk sync. After any error of the database the connection is thrown away and nothing of the
transaction is acknowledged; the next one begins with a fresh connection.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tierline.model.errors import ConfigError, LinkError
from tierline.storage.migrate import bring_up_to_date
from tierline.storage.schema import MAPPINGS, microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierline.model.records import Record

R = TypeVar("R", bound="Record")

Statement = tuple[str, list[tuple[object, ...]]]
"""An SQL text and the rows to run it with."""


def connect(path: str) -> sqlite3.Connection:
    """Open a database as the store needs it.

    Raises: ConfigError when the file cannot be opened.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except sqlite3.Error as error:
        raise ConfigError(
            f"the database {path} cannot be opened: {error}; check [store] path and its folder"
        ) from error
    return connection


class CommitCore:
    """Writes batches, each transaction whole or not at all; synchronous, so that it can run anywhere."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def apply(self, batch: Sequence[Statement]) -> None:
        """Write one transaction durably.

        Raises: LinkError when the database refuses; nothing was kept.
        """
        try:
            if self._connection is None:
                self._connection = connect(self._path)
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in batch:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
        except (sqlite3.Error, ConfigError) as error:
            self.close()
            raise LinkError(f"the database {self._path} did not take a change: {error}") from error

    def close(self) -> None:
        """Throw the connection away; an open transaction is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(slots=True)
class _Waiting:
    """One call that waits for its commit."""

    batch: list[Statement]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None] = field(init=False)

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
        bring_up_to_date(path)
        self.path = path
        self._core = CommitCore(path)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="tierline-store", daemon=True)
        self._thread.start()

    def store(self, node: str) -> SqliteStore:
        """Give the part of the database that belongs to a node."""
        return SqliteStore(self, node)

    def submit(self, batch: list[Statement]) -> asyncio.Future[None]:
        """Hand a transaction to the writer."""
        waiting = _Waiting(batch, asyncio.get_running_loop())
        self._queue.put(waiting)
        return waiting.done

    def close(self) -> None:
        """Write what was accepted, then release the database."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        closing = False
        while not closing:
            gathered, closing = self._gather()
            if not gathered:
                continue
            error: LinkError | None = None
            try:
                self._core.apply([statement for waiting in gathered for statement in waiting.batch])
            except LinkError as refused:
                error = refused
            for loop in {waiting.loop for waiting in gathered}:
                mine = [waiting.done for waiting in gathered if waiting.loop is loop]
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, mine, error)
        self._core.close()

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


def _settle(waiting: list[asyncio.Future[None]], error: LinkError | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


class SqliteStore:
    """The part of a database that belongs to one node."""

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node
        self._reader: sqlite3.Connection | None = None

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Write all of it or nothing, durably.

        Raises: LinkError when the database refuses; nothing was kept.
        """
        if put or delete:
            # Shielded: once handed over it will be written, whether or not the caller still waits.
            await asyncio.shield(self._database.submit(statements(self._node, put, delete)))

    def load(self, kind: type[R]) -> list[R]:
        """Read all records of one kind in order of their key."""
        mapping = MAPPINGS[kind]
        rows = self._read().execute(mapping.select, (self._node,)).fetchall()
        return [mapping.parse(row) for row in rows]  # type: ignore[misc]  # the mapping is that of the kind

    def load_since(self, kind: type[R], time: datetime, *, limit: int = 10_000) -> list[R]:
        """Read readings or audit records at or after a time, oldest first."""
        mapping = MAPPINGS[kind]
        names = ", ".join(f'"{column.name}"' for column in mapping.columns)
        # The names come from the schema, never from outside.
        statement = (
            f'SELECT {names} FROM "{mapping.table.name}" WHERE node = ? AND "{mapping.time_column}" >= ?'  # noqa: S608
            f' ORDER BY "{mapping.time_column}" LIMIT ?'
        )
        rows = self._read().execute(statement, (self._node, microseconds(time), limit)).fetchall()
        return [mapping.parse(row) for row in rows]  # type: ignore[misc]  # the mapping is that of the kind

    def close(self) -> None:
        """Release what reading needed; the database itself is closed by who opened it."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read(self) -> sqlite3.Connection:
        if self._reader is None:
            self._reader = connect(self._database.path)
        return self._reader


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
        found.append((mapping.delete, [mapping.key_row(node, record)]))
    return found
