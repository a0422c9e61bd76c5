"""The schema: one table per record of the model, its columns the record's fields, its key the record's key.

Values with an own meaning in queries (a membership, a reading, a group) lie flat in columns; a control, a curve or a walk
is one document. Every table begins with `node`, the part of the database that belongs to one node, and carries `party`.
Times are integers: microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import types
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import sqlalchemy as sa

from tierline.model.records import KEYS, AuditRecord, BufferedReadingRecord, OutboxRecord, ReadingRecord
from tierline.model.telemetry import Reading
from tierline.model.topology import Group, Membership
from tierline.storage import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tierline.model.records import Record

REVISION = "0006"
"""The revision of the schema that this program was written for."""

METADATA = sa.MetaData()
_FLAT = (Group, Membership, Reading)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

R = TypeVar("R", bound="Record")


@dataclass(frozen=True, slots=True)
class _Column:
    """How one field becomes one column."""

    name: str
    path: tuple[str, ...]
    kind: sa.types.TypeEngine[Any]
    nullable: bool
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Mapping:
    """How one kind of record becomes rows of one table."""

    record: type[Record]
    table: sa.Table
    columns: tuple[_Column, ...]
    insert: str
    """Insert or replace one row."""
    delete: str
    """Delete one row by key."""
    select: str
    """Select all rows of one node in order of the key."""
    since: str
    """Select the rows of one node from a time on, at most so many; empty where a record has no time."""
    forget: str
    """Delete rows of one node from before a time, at most so many; empty where a record has no time."""
    pending: str
    """Select the rows of one node whose time is still to come about, in order of the key; empty where a record has no time."""
    time_column: str
    """What `since`, `forget` and `pending` compare; empty where there is none."""
    key: tuple[_Column, ...]
    nested: dict[str, type[Any]]
    """The class of each field that lies flat in several columns. Any: the classes have nothing in common."""

    def row(self, node: str, record: Record) -> tuple[object, ...]:
        """Make the row of a record."""
        return (node, *(_written(column, record) for column in self.columns))

    def key_row(self, node: str, record: Record) -> tuple[object, ...]:
        """Make the key of a record."""
        return (node, *(_written(column, record) for column in self.key))

    def written(self, values: Sequence[object], at: int) -> tuple[object, ...]:
        """Give values of the key, from its field number `at` on, as the schema keeps them."""
        return tuple(column.write(value) for column, value in zip(self.key[at:], values, strict=False))

    def parse(self, row: Sequence[object]) -> Record:
        """Make the record of a row without its node."""
        nested: dict[str, dict[str, object]] = {}
        values: dict[str, Any] = {}
        for column, cell in zip(self.columns, row, strict=True):
            value = None if cell is None else column.read(cell)
            if len(column.path) == 1:
                values[column.path[0]] = value
            else:
                nested.setdefault(column.path[0], {})[column.path[1]] = value
        for name, parts in nested.items():
            values[name] = self.nested[name](**parts)
        return self.record(**values)

    def require_time(self) -> str:
        """Give the column of the time.

        Raises: ValueError for a record that has none.
        """
        if not self.time_column:
            raise ValueError(f"{self.record.__name__} has no time to go by")
        return self.time_column


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of a table is read: how many fields of the key are compared, and in what way."""

    equal: int
    """The first of them, each with a value."""
    low: int
    """How many from there on are together greater than so many values,"""
    is_low_in: bool
    """or equal to them."""
    high: int
    """Likewise smaller."""
    newest_first: bool


def page_of(mapping: Mapping, cut: Cut) -> str:
    """Say in SQL how a part of a table is read in order of its key, so that its index finds it: rows of one node, at most so many.

    The values are the node, those of `Cut` in its order, and the limit.
    """
    names = [f'"{column.name}"' for column in mapping.key]
    rest = names[cut.equal :]
    where = ["node = ?", *(f"{name} = ?" for name in names[: cut.equal])]
    where += [
        f"({', '.join(rest[:count])}) {sign} ({', '.join('?' * count)})"
        for count, sign in ((cut.low, ">=" if cut.is_low_in else ">"), (cut.high, "<"))
        if count
    ]
    listed = ", ".join(f'"{column.name}"' for column in mapping.columns)
    order = ", ".join(f"{name} DESC" for name in names) if cut.newest_first else ", ".join(names)
    # The names come from the tables, never from outside.
    return f'SELECT {listed} FROM "{mapping.table.name}" WHERE {" AND ".join(where)} ORDER BY {order} LIMIT ?'  # noqa: S608


def _written(column: _Column, record: Record) -> object:
    value: Any = record
    for name in column.path:
        value = getattr(value, name)
    return None if value is None else column.write(value)


def _same(value: Any) -> Any:
    return value


def microseconds(when: datetime) -> int:
    """Give a time as the schema keeps it."""
    return (when - _EPOCH) // _MICROSECOND


def _time(value: int) -> datetime:
    return _EPOCH + value * _MICROSECOND


def _column(name: str, path: tuple[str, ...], hint: Any) -> _Column:
    nullable = False
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
        nullable = True
    while isinstance(hint, NewType):
        hint = hint.__supertype__
    kind: sa.types.TypeEngine[Any]
    write: Callable[[Any], Any] = _same
    read: Callable[[Any], Any] = _same
    if hint is datetime:
        kind, write, read = sa.BigInteger(), microseconds, _time
    elif isinstance(hint, type) and issubclass(hint, Enum):
        kind = sa.Integer() if issubclass(hint, int) else sa.Text()
        write, read = (lambda value: value.value), hint
    elif hint is bool:
        kind, write, read = sa.Integer(), int, bool
    elif hint is int:
        kind = sa.BigInteger()
    elif hint is float:
        kind = sa.Float()
    elif hint is bytes:
        kind = sa.LargeBinary()
    elif hint is str:
        kind = sa.Text()
    else:
        kind, write, read = sa.Text(), documents.dump, documents.parse
    return _Column(name, path, kind, nullable, write, read)


def _columns(record: type[Record]) -> tuple[_Column, ...]:
    found = []
    for name, hint in _hints(record).items():
        if isinstance(hint, type) and hint in _FLAT:
            inner = _hints(hint)
            found += [_column(field.name, (name, field.name), inner[field.name]) for field in fields(hint)]
        else:
            found.append(_column(name, (name,), hint))
    return tuple(found)


def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, localns={"datetime": datetime})
    return {field.name: hints[field.name] for field in fields(kind)}


def _table_name(record: type[Record]) -> str:
    stem = record.__name__.removesuffix("Record")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in stem).lstrip("_")


_ROWIDS = (
    'DELETE FROM "{0}" WHERE rowid IN (SELECT rowid FROM "{0}" WHERE node = ? AND "{1}" < ? ORDER BY "{1}" LIMIT ?)'
)
"""SQLite is built without DELETE … LIMIT as a rule."""

_TIMES: dict[type[Record], str] = {
    ReadingRecord: "time",
    AuditRecord: "time",
    BufferedReadingRecord: "time",
    OutboxRecord: "posted_at",
}


def _mapping(record: type[Record], key_paths: tuple[str, ...]) -> Mapping:
    columns = _columns(record)
    key = tuple(next(c for c in columns if ".".join(c.path) == path) for path in key_paths)
    table = sa.Table(
        _table_name(record),
        METADATA,
        sa.Column("node", sa.Text(), nullable=False),
        *(sa.Column(column.name, column.kind, nullable=column.nullable) for column in columns),
        # In the order of the record's key, not in that of the columns: the index of the key finds what begins with some of it.
        sa.PrimaryKeyConstraint("node", *(column.name for column in key)),
    )
    names = ["node", *(column.name for column in columns)]
    time_column = _TIMES.get(record, "")
    if time_column:
        sa.Index(f"ix_{table.name}_{time_column}", table.c.node, table.c[time_column])
    where = " AND ".join(f'"{name}" = ?' for name in ("node", *(column.name for column in key)))
    order = ", ".join(f'"{column.name}"' for column in key)
    listed = [f'"{name}"' for name in names]
    # The names come from the tables above, never from outside.
    of_node = f'SELECT {", ".join(listed[1:])} FROM "{table.name}" WHERE node = ?'  # noqa: S608
    return Mapping(
        record=record,
        table=table,
        columns=columns,
        insert=f'INSERT OR REPLACE INTO "{table.name}" ({", ".join(listed)}) VALUES ({", ".join("?" * len(names))})',  # noqa: S608
        delete=f'DELETE FROM "{table.name}" WHERE {where}',  # noqa: S608
        select=f"{of_node} ORDER BY {order}",
        since=f'{of_node} AND "{time_column}" >= ? ORDER BY "{time_column}", {order} LIMIT ?' if time_column else "",
        forget=_ROWIDS.format(table.name, time_column) if time_column else "",
        # The sign keeps SQLite from going through the whole index of the key for the sake of the order.
        pending=f'{of_node} AND "{time_column}" IS NULL ORDER BY +{order}' if time_column else "",
        time_column=time_column,
        key=key,
        nested={name: hint for name, hint in _hints(record).items() if hint in _FLAT},
    )


MAPPINGS: dict[type[Record], Mapping] = {record: _mapping(record, key) for record, key in KEYS.items()}
"""All tables by record."""
