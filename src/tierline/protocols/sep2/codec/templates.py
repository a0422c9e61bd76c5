"""The writer of each type, compiled from its rows to one Python function, as dataclasses compile their `__init__`.

For `DateTimeInterval` the function is, in short:

    def write(value, name, extra=""):
        text = ""
        x = value.duration
        if not 0 <= x <= 4294967295: invalid(x, "UInt32")
        text += f"<duration>{x:d}</duration>"
        ...
        return f"<{name}{extra}>{text}</{name}>"

Everything in the source comes from our own rows; nothing a peer sends gets there.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from tierline.protocols.sep2.codec.dialect import CSIP_AUS_PREFIX, XSI_NAMESPACE, Dialect
from tierline.protocols.sep2.codec.kinds import escape, invalid, is_special, source_of
from tierline.protocols.sep2.resources.rows import Attribute, Element, Row, Space, Value, rows_of

_INDENT: Final = "    "


class Writer(NamedTuple):
    """The two functions of one type; each takes value, element name, and what else its start tag holds."""

    head: Callable[[Value, str, str], str]
    """Write the start tag, still open for its end."""
    write: Callable[[Value, str, str], str]
    """Write the whole element."""


def prefixed(name: str, space: Space) -> str:
    """Give the name of an element as it is written: only extensions have a prefix."""
    return name if space is Space.SEP else f"{CSIP_AUS_PREFIX}:{name}"


def type_note(cls: type[Value], name: str) -> str:
    """Name the derived type of an element that does not say it itself."""
    return "" if cls.__name__ == name else f' xmlns:xsi="{XSI_NAMESPACE}" xsi:type="{cls.__name__}"'


@functools.cache
def writer_of(cls: type[Value], dialect: Dialect) -> Writer:
    """Compile the writer of one type for one dialect."""
    rows = [row for row in rows_of(cls) if dialect.knows(row.mark.since)]
    attributes = [row for row in rows if isinstance(row.mark, Attribute)]
    elements = [row for row in rows if isinstance(row.mark, Element)]
    scope: dict[str, Any] = {"escape": escape, "invalid": invalid, "is_special": is_special}  # Any: names of a module
    scope |= {f"write_{row.field}": _nested(row, dialect) for row in elements if isinstance(row.kind, type)}
    exec(compile(_source(attributes, elements), f"<writer of {cls.__name__}>", "exec"), scope)  # noqa: S102  # see above
    return Writer(scope["head"], scope["write"])


def _nested(row: Row, dialect: Dialect) -> Callable[[Value, str], str]:
    assert isinstance(row.kind, type)
    if isinstance(row.mark, Element) and row.mark.polymorphic:
        declared = row.kind.__name__
        return lambda item, name: writer_of(type(item), dialect).write(item, name, type_note(type(item), declared))
    write: Any = writer_of(row.kind, dialect).write  # Any: the third argument of the compiled function is optional
    return write  # type: ignore[no-any-return]  # see above


def _source(attributes: list[Row], elements: list[Row]) -> str:
    lines = ['def head(value, name, extra=""):', '    text = f"<{name}{extra}"']
    lines += _indented(line for row in attributes for line in _attribute(row))
    lines += ["    return text", "", 'def write(value, name, extra=""):', '    text = ""']
    lines += _indented(line for row in elements for line in _element(row))
    lines += ["    start = head(value, name, extra)" if attributes else '    start = f"<{name}{extra}"']
    lines += ['    return f"{start}>{text}</{name}>" if text else f"{start}/>"']
    return "\n".join(lines)


def _attribute(row: Row) -> list[str]:
    assert not isinstance(row.kind, type), "attributes are simple"
    checks, written = source_of(row.kind)
    return _guarded(row, [*checks, f"text += f' {row.name}=\"{written}\"'"])


def _element(row: Row) -> list[str]:
    assert isinstance(row.mark, Element)
    name = prefixed(row.name, row.mark.space)
    if isinstance(row.kind, type):
        lines = [f"text += write_{row.field}(x, {name!r})"]
    else:
        checks, written = source_of(row.kind)
        lines = [*checks, f'text += f"<{name}>{written}</{name}>"']
    return _guarded(row, lines)


def _guarded(row: Row, lines: list[str]) -> list[str]:
    """Let lines run for each item of a repeated row, for a value that is there, or always."""
    if row.repeated:
        return [f"for x in value.{row.field}:", *_indented(lines)]
    if row.required:
        return [f"x = value.{row.field}", *lines]
    return [f"x = value.{row.field}", "if x is not None:", *_indented(lines)]


def _indented(lines: Iterable[str]) -> list[str]:
    return [_INDENT + line for line in lines]
