"""XML to values: the document is guarded, parsed by lxml, and walked by readers compiled from the rows.

Elements and attributes nobody knows are passed over, in any order; what is known must be right, or the whole document is
refused with the path of the fault.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from lxml import etree

from tierline.model.errors import PeerError
from tierline.protocols.sep2.codec.dialect import CSIP, XSI_NAMESPACE, Dialect, Limits
from tierline.protocols.sep2.codec.kinds import Decode, Fault, decoder_of, shown
from tierline.protocols.sep2.resources.exchange import Notification, NotificationList
from tierline.protocols.sep2.resources.objects import Resource
from tierline.protocols.sep2.resources.registry import roots_by_name, space_of
from tierline.protocols.sep2.resources.rows import Attribute, Element, Row, Value, rows_of

V = TypeVar("V", bound=Value)
_Node = etree._Element  # noqa: SLF001  # lxml's public functions return it, under this name only

_XSI_TYPE: Final = f"{{{XSI_NAMESPACE}}}type"
_ENCODING: Final = re.compile(rb"<\?xml[^>]{0,200}?\sencoding\s*=\s*[\"']([^\"'>]{0,40})")
_ENCODINGS: Final = frozenset({b"utf-8", b"us-ascii", b"ascii"})
_BOM: Final = b"\xef\xbb\xbf"


@overload
def parse(data: bytes, expected: type[V], *, dialect: Dialect = CSIP) -> V: ...
@overload
def parse(data: bytes, expected: None = None, *, dialect: Dialect = CSIP) -> Value: ...
def parse(data: bytes, expected: type[Value] | None = None, *, dialect: Dialect = CSIP) -> Value:
    """Read one document, of the expected type if one is given.

    Raises: PeerError with the path of the first fault.
    """
    root = _tree(data, dialect.limits)
    name = etree.QName(root).localname
    try:
        return _reader_of_root(root, name, expected, dialect)(root)
    except Fault as fault:
        raise PeerError(fault.message, path="/".join([name, *reversed(fault.path)])) from None


def _tree(data: bytes, limits: Limits) -> _Node:
    if len(data) > limits.size_bytes:
        raise PeerError(f"the document has {len(data)} bytes, at most {limits.size_bytes} are taken")
    start = data.removeprefix(_BOM).lstrip()
    # UTF-16, UTF-32 and EBCDIC could hide a document type from the search below
    if not start.startswith(b"<") or b"\x00" in data:
        raise PeerError("the body is not XML in UTF-8")
    declared = _ENCODING.match(start)
    if declared and declared[1].lower() not in _ENCODINGS:
        raise PeerError(f"the encoding {shown(declared[1].decode('latin-1'))} is not taken, UTF-8 is needed")
    if b"<!" in data and (b"<!DOCTYPE" in data or b"<!ENTITY" in data):
        raise PeerError("a document type is not allowed")
    # no element is shorter than <a/>, no attribute shorter than a="", so most documents need no counting
    if len(data) > 4 * min(limits.elements, limits.attributes):
        _count(data, limits)
    try:
        return etree.fromstring(data, _parser())
    except etree.XMLSyntaxError as error:
        raise PeerError(f"the body is not well-formed XML: {error.msg}") from error


def _count(data: bytes, limits: Limits) -> None:
    elements = data.count(b"<") - data.count(b"</")
    if elements > limits.elements:
        raise PeerError(f"the document has about {elements} elements, at most {limits.elements} are taken")
    attributes = data.count(b"=")
    if attributes > limits.attributes:
        raise PeerError(f"the document has about {attributes} attributes, at most {limits.attributes} are taken")


@functools.cache
def _parser() -> etree.XMLParser:
    # lxml locks a parser for each use; ids are not collected because nothing refers to them
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


def _reader_of_root(root: _Node, name: str, expected: type[Value] | None, dialect: Dialect) -> "_Read":
    cls = roots_by_name().get(name)
    if cls is None:
        raise Fault("no such resource is known here")
    namespace = etree.QName(root).namespace
    if namespace not in dialect.read_namespaces(space_of(cls)):
        raise Fault(f"the namespace {shown(namespace or '')} is not spoken here")
    derived = root.get(_XSI_TYPE)
    if derived is not None:
        cls = _derived(derived, cls)
    if expected is not None and not issubclass(cls, expected):
        raise Fault(f"a {expected.__name__} was expected")
    return _reader_of(cls, dialect)


def _derived(type_name: str, declared: type[Value]) -> type[Value]:
    cls = roots_by_name().get(type_name.strip().rpartition(":")[2])
    if cls is None and declared is Resource:
        return Resource  # a notice of what is not spoken here: that it changed can still be understood
    if cls is None or not issubclass(cls, declared):
        raise Fault(f"the type {shown(type_name)} is not known here")
    if declared is Resource and issubclass(cls, (Notification, NotificationList)):
        raise Fault("a notification may not hold another")  # the one way in which documents could nest without end
    return cls


_Read = Callable[[_Node], Value]
_Child = tuple[str, bool, Decode, _Read | None]
"""How one child element is read: field, whether it repeats, and the function for a simple or for a nested type."""


@functools.cache
def _reader_of(cls: type[Value], dialect: Dialect) -> _Read:
    """Compile the function that reads one type from its rows.

    It is one closure over plain locals, because it runs once for each nested element of every document.
    """
    rows = [row for row in rows_of(cls) if dialect.knows(row.mark.since)]
    children = {
        tag: _child(row, row.mark, dialect)
        for row in rows
        if isinstance(row.mark, Element)
        for tag in dialect.tags(row.mark)
    }
    read_attributes = _attribute_reader(rows, dialect)
    repeated_fields = [
        (row.field, row.name, row.mark.limit) for row in rows if isinstance(row.mark, Element) and row.repeated
    ]
    required = [(row.field, row.name) for row in rows if row.required]
    child_of = children.get

    def read(element: _Node) -> Value:
        values: dict[str, Any] = read_attributes(element) if read_attributes else {}  # Any: each row has its own type
        node = None
        try:
            for node in element:
                child = child_of(node.tag)
                if child is None:
                    if len(node):
                        _check_depth(node, dialect.limits.depth)
                    continue
                field, repeated, decode, nested = child
                if nested is not None:
                    item: object = nested(node)
                elif len(node):
                    raise Fault("text was expected, not elements")  # noqa: TRY301  # a call would cost on the hot path
                else:
                    item = decode(node.text or "")
                if repeated:
                    values.setdefault(field, []).append(item)
                elif field in values:
                    raise Fault("it stands here more than once")  # noqa: TRY301
                else:
                    values[field] = item
        except Fault as fault:
            assert node is not None
            fault.path.append(_step(node, element))
            raise
        if repeated_fields:
            _gather(values, repeated_fields)
        try:
            return cls(**values)
        except TypeError:  # msgspec's answer to a missing field; asking beforehand would cost each good document
            missing = next((name for field, name in required if field not in values), None)
            if missing is None:
                raise
            raise Fault(f"{missing} is missing") from None

    return read


def _step(node: _Node, parent: _Node) -> str:
    """Name an element within its parent, numbered from 1 if it has equals."""
    name = etree.QName(node).localname
    equals = [other for other in parent if other.tag == node.tag]
    return name if len(equals) == 1 else f"{name}[{equals.index(node) + 1}]"


def _attribute_reader(rows: list[Row], dialect: Dialect) -> Callable[[_Node], dict[str, Any]] | None:
    decoders = {
        row.name: (row.field, decoder_of(row.kind, dialect))
        for row in rows
        if isinstance(row.mark, Attribute) and not isinstance(row.kind, type)
    }

    def read(element: _Node) -> dict[str, Any]:
        values: dict[str, Any] = {}  # Any: each row has its own type
        for key, text in element.items():
            name = str(key)  # it is one already, though the stubs also allow bytes
            if name in decoders:
                field, decode = decoders[name]
                try:
                    values[field] = decode(str(text))
                except Fault as fault:
                    fault.path.append(f"@{name}")
                    raise
        return values

    return read if decoders else None


def _gather(values: dict[str, Any], repeated: list[tuple[str, str, int | None]]) -> None:
    """Close the lists of repeated elements."""
    for field, name, limit in repeated:
        items = values.get(field)
        if items is not None:
            if limit is not None and len(items) > limit:
                raise Fault(f"{len(items)} elements {name} are too many, at most {limit} are taken")
            values[field] = tuple(items)


def _check_depth(node: _Node, most: int) -> None:
    """Refuse an unknown element that nests deeper than any document may; known types end long before."""
    depth = sum(1 for _ in node.iterancestors())
    level = [node]
    while level:
        depth += 1
        if depth > most:
            raise Fault(f"elements nest deeper than {most}")
        level = [inner for outer in level for inner in outer]


def _child(row: Row, mark: Element, dialect: Dialect) -> _Child:
    if not isinstance(row.kind, type):
        return row.field, row.repeated, decoder_of(row.kind, dialect), None
    nested = _polymorphic_reader(row.kind, dialect) if mark.polymorphic else _reader_of(row.kind, dialect)
    return row.field, row.repeated, str, nested


def _polymorphic_reader(declared: type[Value], dialect: Dialect) -> _Read:
    def read(element: _Node) -> Value:
        derived = element.get(_XSI_TYPE)
        return _reader_of(declared if derived is None else _derived(derived, declared), dialect)(element)

    return read
