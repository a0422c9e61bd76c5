"""The client as steps: generators that ask and are answered, free of sockets and clocks.

What drives them sends each `Ask` and gives back an `Answer`; the same steps run over TLS, in a simulation and in a test.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urljoin, urlsplit

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.protocols.sep2.codec import parse

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.protocols.sep2.resources.objects import Link, List
    from tierline.protocols.sep2.resources.rows import Value

PAGE = 255
"""Items asked for at once: the largest page of the type."""

LONGEST = 10_000
"""Items taken from one list: no DER has to do with more, and a server may not keep it reading for ever."""

FLEET_LONGEST = 50_000
"""Items taken from a list with one item per member of a fleet: fleets of 10,000 are common, and they grow."""

_PRINTABLE: Final = re.compile("[!-~]+")
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

    Raises: Forbidden (403, 404, 410), LinkError (5xx), PeerError (anything else that is not the resource).
    """
    answer = yield Ask("GET", path)
    return read(answer, path, kind)


def head(path: str) -> Steps[None]:
    """Ask for a resource without its body.

    Raises: as `get`.
    """
    answer = yield Ask("HEAD", path)
    check(answer, path)


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

    Raises: Forbidden (403, 404, 410), LinkError (5xx, 429), PeerError (another status).
    """
    # An unknown status counts as x00 of its class (IEEE 2030.5-2018, GEN.049).
    if 200 <= answer.status < 300:
        return
    if answer.status in {403, 404, 410}:
        raise Forbidden(f"the server answers {answer.status} to {path}: it does not know this certificate, or no more")
    if answer.status >= 500 or answer.status == 429:
        raise LinkError(f"the server answers {answer.status} to {path}")
    raise PeerError(f"the server answers {answer.status} to {path}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A whole list."""

    items: tuple[Value, ...] = ()
    poll_s: int | None = None
    """Its pollRate, None where it states none."""
    subscribable: int | None = None
    """What it says of subscriptions, None where it says nothing or was not read."""


def read_list(link: Link | None, kind: type[L], longest: int = LONGEST) -> Steps[Listed]:
    """Read the list behind a link with all its pages; an absent link, or one that counts 0, is an empty list.

    A list that changes meanwhile is read anew.

    Raises: as `get`; LinkError when it never holds still; PeerError when it is longer than any list may be.
    """
    if link is None or getattr(link, "all", None) == 0:
        return Listed()
    separator = "&" if "?" in link.href else "?"
    for _ in range(_TRIES):
        items: list[Value] = []
        total: int | None = None
        while total is None or len(items) < total:
            page = yield from get(f"{link.href}{separator}s={len(items)}&l={PAGE}", kind)
            found: tuple[Value, ...] = getattr(page, "items", ())  # every list type has its own `items`
            if page.all > longest:
                raise PeerError(f"{link.href} has {page.all} items, at most {longest} are read", path="@all")
            if total is not None and page.all != total:
                break
            total = page.all
            items += found
            if not found:
                break
        if total == len(items) and not _is_repeated(items):
            return Listed(tuple(items), getattr(page, "poll_rate", None), getattr(page, "subscribable", None))
    raise LinkError(f"{link.href} changed while it was read, {_TRIES} times; it is read again at the next poll")


def follow_list(link: Link | None, kind: type[L], longest: int = LONGEST) -> Steps[list[Value]]:
    """Read the items of the list behind a link, as `read_list`."""
    return list((yield from read_list(link, kind, longest)).items)


def _is_repeated(items: list[Value]) -> bool:
    """Tell whether an item stands there twice: something was put before it between two pages, and may be missing."""
    names = [name for item in items if (name := getattr(item, "href", None)) is not None]  # items are Resources
    return len(names) != len(set(names))


_PLAIN: Final = re.compile(r"(/[A-Za-z0-9_~-]+)+(\?[A-Za-z0-9_~=&-]+)?")
"""A path with neither authority nor dots nor escapes, which joined to its server is what it was."""


def same_origin(href: str, server: str) -> str:
    """Give the path and query of a link that was found on a server, which is named host:port.

    Raises: PeerError when it leads elsewhere: no server can send us to another one.
    """
    if _PLAIN.fullmatch(href):
        return href  # nothing in it to resolve, as in most of the many links of a walk
    host, _, port = server.rpartition(":")
    authority = f"[{host}]:{port}" if ":" in host else server
    try:
        target = urlsplit(urljoin(f"https://{authority}/", href))
        origin = (target.scheme, target.hostname, str(target.port or 443))
    except ValueError as error:
        raise PeerError(f"{href[:100]!r} is not a link", path="@href") from error
    if origin != ("https", host.lower(), port):
        raise PeerError(f"{href[:100]!r} leads away from {server}; it is not followed", path="@href")
    path = target.path + (f"?{target.query}" if target.query else "")
    if not _PRINTABLE.fullmatch(path):
        raise PeerError(f"{href[:100]!r} is not a link", path="@href")
    return path


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


def delete(path: str) -> Steps[None]:
    """Take something away; what is not there any more is no fault.

    Raises: Forbidden (403), LinkError, PeerError.
    """
    answer = yield Ask("DELETE", path)
    if answer.status not in {404, 410}:
        check(answer, path)
