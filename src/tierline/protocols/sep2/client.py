"""The client as steps: generators that ask and are answered, free of sockets and clocks.

What drives them sends each `Ask` and gives back an `Answer`; the same steps run over TLS, in a simulation and in a test.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.protocols.sep2.codec import parse

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.protocols.sep2.resources.objects import Link, List
    from tierline.protocols.sep2.resources.rows import Value

PAGE = 255
"""Items asked for at once: the largest page of the type."""

_TRIES = 3
"""How often a list that changes while it is paged is read anew before the walk is given up."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the server."""

    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    location: str
    asked_at: datetime
    """Civil time at which the request left."""
    answered_at: datetime
    """Civil time at which the answer was complete."""


T = TypeVar("T")
V = TypeVar("V", bound="Value")
L = TypeVar("L", bound="List")

Steps = Generator[Ask, Answer, T]


def get(path: str, kind: type[V]) -> Steps[V]:
    """Read one resource.

    Raises: Forbidden (403, 404), LinkError (5xx), PeerError (anything else that is not the resource).
    """
    answer = yield Ask("GET", path)
    return read(answer, path, kind)


def read(answer: Answer, path: str, kind: type[V]) -> V:
    """Take the resource out of an answer.

    Raises: Forbidden, LinkError, PeerError.
    """
    check(answer, path)
    found = parse(answer.body, kind)
    if not isinstance(found, kind):
        raise PeerError(f"{path} is a {type(found).__name__}, not a {kind.__name__}")
    return found


def check(answer: Answer, path: str) -> None:
    """Accept a success.

    Raises: Forbidden (403, 404), LinkError (5xx, 429), PeerError (another status).
    """
    # An unknown status counts as x00 of its class (IEEE 2030.5-2018, GEN.049).
    if 200 <= answer.status < 300:
        return
    if answer.status in {403, 404}:
        raise Forbidden(f"the server answers {answer.status} to {path}: it does not know this certificate, or no more")
    if answer.status >= 500 or answer.status == 429:
        raise LinkError(f"the server answers {answer.status} to {path}")
    raise PeerError(f"the server answers {answer.status} to {path}")


def get_all(path: str, kind: type[L]) -> Steps[list[Value]]:
    """Read a list with all its pages; a list that changes meanwhile is read anew.

    Raises: as `get`; LinkError when it never holds still.
    """
    for _ in range(_TRIES):
        items: list[Value] = []
        total: int | None = None
        while total is None or len(items) < total:
            page = yield from get(f"{path}?s={len(items)}&l={PAGE}", kind)
            found = _items(page)
            if total is not None and page.all != total:
                break
            total = page.all
            items += found
            if not found:
                break
        if total == len(items):
            return items
    raise LinkError(f"{path} changed while it was read, {_TRIES} times; it is read again at the next poll")


def follow_list(link: Link | None, kind: type[L]) -> Steps[list[Value]]:
    """Read the list behind a link; an absent link, or one that counts 0, is an empty list."""
    if link is None or getattr(link, "all", None) == 0:
        return []
    return (yield from get_all(link.href, kind))


def _items(page: List) -> list[Value]:
    found: tuple[Value, ...] = getattr(page, "items", ())  # every list type has its own `items`
    return list(found)


def post(path: str, body: bytes) -> Steps[Answer]:
    """Send something new; the answer carries its Location.

    Raises: Forbidden, LinkError, PeerError.
    """
    answer = yield Ask("POST", path, body)
    check(answer, path)
    return answer


def put(path: str, body: bytes) -> Steps[Answer]:
    """Replace something.

    Raises: Forbidden, LinkError, PeerError.
    """
    answer = yield Ask("PUT", path, body)
    check(answer, path)
    return answer
