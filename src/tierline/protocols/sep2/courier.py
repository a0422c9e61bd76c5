"""What carries the client's steps to a server: one request after the other, or several at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from tierline.model.errors import LinkError, PeerError, TierlineError
from tierline.protocols.sep2.client import Answer, same_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tierline.ports import Clock
    from tierline.protocols.sep2.client import Ask, Steps

T = TypeVar("T")
K = TypeVar("K")


class Answered(Protocol):
    """What a courier brings back."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The whole body."""
        ...

    @property
    def location(self) -> str:
        """The Location header, empty when there is none."""
        ...


class Courier(Protocol):
    """What carries a request: `transport.HttpClient`, or a simulation."""

    async def request(self, method: str, path: str, body: bytes = b"") -> Answered:
        """Send and wait for the answer.

        Raises: LinkError, PeerError.
        """
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class Carrier:
    """Carries steps to one server and never to another."""

    def __init__(self, courier: Courier, clock: Clock, server: str) -> None:
        """Prepare; the server is named host:port."""
        self._courier = courier
        self._clock = clock
        self._server = server

    async def carry(self, steps: Steps[T], *, one_of_many: bool = False) -> T:
        """Carry steps to their end.

        When they are one of many, a link that leads away from the server is judged by the steps, as what the server answers
        is, and what only reads is asked once more when the link fails: among many thousand requests one is lost now and
        then. That the server cannot be reached or believed is never the affair of the steps.

        Raises: LinkError, PeerError, Forbidden.
        """
        try:
            ask = next(steps)
            while True:
                try:
                    path = same_origin(ask.path, self._server)
                except PeerError as error:
                    if not one_of_many:
                        raise
                    ask = steps.throw(error)
                    continue
                try:
                    answer = await self._ask(ask, path)
                except LinkError:
                    if not one_of_many or ask.method != "GET":
                        raise
                    answer = await self._ask(ask, path)
                ask = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            steps.close()

    async def _ask(self, ask: Ask, path: str) -> Answer:
        asked_at = self._clock.now()
        answered = await self._courier.request(ask.method, path, ask.body)
        return Answer(
            status=answered.status,
            body=answered.body,
            location=answered.location,
            asked_at=asked_at,
            answered_at=self._clock.now(),
        )

    async def carry_all(self, works: Iterable[tuple[K, Steps[T]]], take: Callable[[K, T], None], at_once: int) -> None:
        """Carry many independent steps, some of them at once, and hand on each result as it comes.

        The first failure ends it, once what is under way is done: nothing new is begun.

        Raises: LinkError, PeerError, Forbidden.
        """
        failures: list[TierlineError] = []
        waiting = iter(works)

        async def worker() -> None:
            for key, steps in waiting:
                try:
                    take(key, await self.carry(steps, one_of_many=True))
                except TierlineError as error:
                    failures.append(error)
                if failures:
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
        if failures:
            raise failures[0]

    async def close(self) -> None:
        """Let go of the link."""
        await self._courier.close()
