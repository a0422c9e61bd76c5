"""What was rendered, kept as long as it is true, and the pages that are joined from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from tierline.protocols.sep2.codec import render_list
from tierline.protocols.sep2.lists import page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tierline.model.records import EndDeviceRecord
    from tierline.protocols.sep2.hrefs import Href, PageQuery
    from tierline.protocols.sep2.resources.objects import List

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741  # an item of a list

ENDLESS: Final = datetime(9999, 1, 1, tzinfo=UTC)
_LIMIT = 50_000
"""Entries; a full cache is emptied and warms again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How often clients are told to come."""

    poll_s: int
    post_s: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: who asks for what, of whom, when."""

    href: Href
    query: PageQuery
    peer: EndDeviceRecord
    """The EndDevice of the certificate."""
    subject: EndDeviceRecord
    """The EndDevice the path names, one that the peer stands for; the peer's own for paths that name none."""
    now: datetime

    @property
    def is_own(self) -> bool:
        """Whether a peer asks about itself."""
        return self.subject.der_id == self.peer.der_id


@dataclass(frozen=True, slots=True)
class _Kept:
    version: object
    since: datetime
    """When it was made: a clock that is set back makes it untrue again."""
    until: datetime
    value: object


class Keeping:
    """What was made, by name, with the version it was made for and the time for which it is true."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], _Kept] = {}

    def keep(
        self,
        key: tuple[object, ...],
        version: object,
        make: Callable[[], T],
        now: datetime,
        until: Callable[[], datetime] | None = None,
    ) -> T:
        """Give what is kept under a name if it is still true, else make it; every name is made by one function only."""
        kept = self._kept.get(key)
        if kept is None or kept.version != version or not kept.since <= now < kept.until:
            kept = _Kept(version, now, ENDLESS if until is None else until(), make())
            if len(self._kept) >= _LIMIT:
                self._kept.clear()
            self._kept[key] = kept
        value: T = kept.value  # type: ignore[assignment]  # every key is made by one function only
        return value

    def until(self, *key: object) -> datetime:
        """Tell until when something that was just made or given is true."""
        return self._kept[key].until


def joined(
    kind: type[List],
    href: Href,
    query: PageQuery,
    fragments: Sequence[bytes],
    poll_s: int | None = None,
    *,
    subscribable: bool = False,
) -> bytes:
    """Join one page of a list whose items are all rendered."""
    cut = page(fragments, query.start, query.limit)
    return render_list(kind, str(href), cut.all, cut.items, poll_s, 1 if subscribable else None)


def cut(
    kind: type[List],
    asked: Asked,
    items: Sequence[I],
    rendered: Callable[[I], bytes],
    poll_s: int | None = None,
    *,
    subscribable: bool = False,
) -> bytes:
    """Join one page of a long list, of which no more is rendered than that page."""
    found = page(items, asked.query.start, asked.query.limit)
    fragments = [rendered(item) for item in found.items]
    return render_list(kind, str(asked.href), found.all, fragments, poll_s, 1 if subscribable else None)
