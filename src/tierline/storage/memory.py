"""A store without a disk, for tests and the simulation, where a fault layer decides what survives."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tierline.storage.schema import MAPPINGS, microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierline.model.records import Record

R = TypeVar("R", bound="Record")


class MemoryStore:
    """Keeps rows as the database would, so that what cannot be written down fails here too."""

    def __init__(self) -> None:
        self._tables: dict[type[Record], dict[tuple[object, ...], tuple[object, ...]]] = {}

    def apply(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        """Take one batch over, at once and whole."""
        rows = [(type(record), MAPPINGS[type(record)]) for record in put]
        written = [
            (kind, mapping.key_row("", record), mapping.row("", record)[1:])
            for (kind, mapping), record in zip(rows, put, strict=True)
        ]
        for kind, key, row in written:
            self._tables.setdefault(kind, {})[key] = row
        for record in delete:
            self._tables.get(type(record), {}).pop(MAPPINGS[type(record)].key_row("", record), None)

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Take one batch over."""
        self.apply(put, delete)

    def load(self, kind: type[R]) -> list[R]:
        """Read all records of one kind in order of their key."""
        mapping = MAPPINGS[kind]
        rows = self._tables.get(kind, {})
        return [mapping.parse(rows[key]) for key in sorted(rows, key=repr)]  # type: ignore[misc]  # the mapping is that of the kind

    def load_since(self, kind: type[R], time: datetime, *, limit: int = 10_000) -> list[R]:
        """Read readings or audit records at or after a time, oldest first."""
        mapping = MAPPINGS[kind]
        index = next(at for at, column in enumerate(mapping.columns) if column.name == mapping.time_column)
        since = microseconds(time)
        rows = [row for row in self._tables.get(kind, {}).values() if int(str(row[index])) >= since]
        rows.sort(key=lambda row: int(str(row[index])))
        return [mapping.parse(row) for row in rows[:limit]]  # type: ignore[misc]  # the mapping is that of the kind

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
