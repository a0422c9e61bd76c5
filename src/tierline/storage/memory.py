"""A store without a disk, for tests and the simulation, where a fault layer decides what survives."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tierline.storage.schema import MAPPINGS, microseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tierline.model.records import Record
    from tierline.storage.schema import Mapping

R = TypeVar("R", bound="Record")

Row = tuple[object, ...]


class MemoryStore:
    """Keeps rows as the database would, so that what cannot be written down fails here too."""

    def __init__(self) -> None:
        self._tables: dict[type[Record], dict[Row, Row]] = {}

    def apply(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        """Take one batch over, at once and whole.

        Raises: ValueError for a value that a database could not hold; nothing was kept.
        """
        written = [
            (type(record), mapping.key_row("", record), _checked(mapping, mapping.row("", record)[1:]))
            for record in put
            for mapping in (MAPPINGS[type(record)],)
        ]
        gone = [(type(record), MAPPINGS[type(record)].key_row("", record)) for record in delete]
        for kind, key, row in written:
            self._tables.setdefault(kind, {})[key] = row
        for kind, key in gone:
            self._tables.get(kind, {}).pop(key, None)

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Take one batch over.

        Raises: ValueError for a value that a database could not hold; nothing was kept.
        """
        self.apply(put, delete)

    async def forget_before(self, kind: type[Record], time: datetime, *, limit: int = 10_000) -> int:
        """Delete the oldest records of one kind from before a time, at most `limit`; gives how many.

        Raises: ValueError for a kind without a time.
        """
        index = _time_index(MAPPINGS[kind])
        before = microseconds(time)
        rows = self._tables.get(kind, {})
        timed = ((int(str(row[index])), key) for key, row in rows.items() if row[index] is not None)
        old = sorted(one for one in timed if one[0] < before)
        for _, key in old[:limit]:
            del rows[key]
        return len(old[:limit])

    def load(self, kind: type[R]) -> list[R]:
        """Read all records of one kind in order of their key."""
        mapping = MAPPINGS[kind]
        rows = self._tables.get(kind, {})
        return [mapping.parse(rows[key]) for key in sorted(rows)]  # type: ignore[misc]  # the mapping is that of the kind

    def load_since(self, kind: type[R], time: datetime, *, limit: int = 10_000) -> list[R]:
        """Read readings or audit records at or after a time, oldest first, then in order of the key.

        Raises: ValueError for a kind without a time.
        """
        mapping = MAPPINGS[kind]
        index = _time_index(mapping)
        since = microseconds(time)
        rows = sorted(
            (int(str(row[index])), key, row)
            for key, row in self._tables.get(kind, {}).items()
            if row[index] is not None and int(str(row[index])) >= since
        )
        return [mapping.parse(row) for _, _, row in rows[:limit]]  # type: ignore[misc]  # the mapping is that of the kind

    def load_pending(self, kind: type[R]) -> list[R]:
        """Read those records of one kind whose time is still to come about, in order of their key.

        Raises: ValueError for a kind without a time.
        """
        mapping, rows = MAPPINGS[kind], self._tables.get(kind, {})
        index = _time_index(mapping)
        return [mapping.parse(rows[key]) for key in sorted(rows) if rows[key][index] is None]  # type: ignore[misc]  # see load

    def each(
        self,
        kind: type[R],
        *,
        of: Sequence[object] = (),
        prefix: str = "",
        after: Sequence[object] = (),
        newest_first: bool = False,
    ) -> Iterator[R]:
        """Read records of one kind in order of their key, one by one; see `ports.Store`."""
        mapping, rows = MAPPINGS[kind], self._tables.get(kind, {})
        start = ("", *mapping.written(of, 0))
        at, low = len(start), mapping.written(after, len(of))
        keys = [
            key
            for key in rows
            if key[:at] == start
            and (not prefix or str(key[at]).startswith(prefix))
            and (not low or key[at : at + len(low)] > low)
        ]
        for key in sorted(keys, reverse=newest_first):
            if (row := rows.get(key)) is not None:
                yield mapping.parse(row)  # type: ignore[misc]  # the mapping is that of the kind

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _time_index(mapping: Mapping) -> int:
    name = mapping.require_time()
    return next(at for at, column in enumerate(mapping.columns) if column.name == name)


def _checked(mapping: Mapping, row: Row) -> Row:
    for column, cell in zip(mapping.columns, row, strict=True):
        what = f"{mapping.record.__name__}.{'.'.join(column.path)}"
        match cell:
            case None if not column.nullable:
                raise ValueError(f"{what} is missing")
            case int() if not -(1 << 63) <= cell < 1 << 63:
                raise ValueError(f"{what} is {cell}, too large for a database")
            case str():
                cell.encode()
    return row
