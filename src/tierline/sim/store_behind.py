"""A store that stands before another one: what a subclass does not do otherwise is done by that."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tierline.model.records import Record
    from tierline.ports import Store

R = TypeVar("R", bound="Record")


class StoreBehind:
    """Hands everything on to the store behind it; see `ports.Store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Write all of it or nothing, durably.

        Raises: LinkError when the disk refuses.
        """
        await self._store.commit(put, delete)

    async def forget_before(self, kind: type[Record], time: datetime, *, limit: int = 10_000) -> int:
        """Delete the oldest records of one kind from before a time, at most `limit`; gives how many.

        Raises: LinkError when the disk refuses.
        """
        return await self._store.forget_before(kind, time, limit=limit)

    def load(self, kind: type[R]) -> list[R]:
        """Read all records of one kind, in order of their key."""
        return self._store.load(kind)

    def load_since(self, kind: type[R], time: datetime, *, limit: int = 10_000) -> list[R]:
        """Read readings or audit records at or after a time, oldest first."""
        return self._store.load_since(kind, time, limit=limit)

    def load_pending(self, kind: type[R]) -> list[R]:
        """Read those records of one kind whose time is still to come about."""
        return self._store.load_pending(kind)

    def each(
        self,
        kind: type[R],
        *,
        of: Sequence[object] = (),
        prefix: str = "",
        after: Sequence[object] = (),
        newest_first: bool = False,
    ) -> Iterator[R]:
        """Read records of one kind, one by one, in order of their key."""
        return self._store.each(kind, of=of, prefix=prefix, after=after, newest_first=newest_first)

    def close(self) -> None:
        """Close the store."""
        self._store.close()
