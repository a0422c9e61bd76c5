"""The simulated network at message level: requests and responses between named ends, with faults per link and time.

Each direction of a link has its own stream of random numbers, so that one more node changes nothing for the others.
What an end is told: a response, or LinkError. A LinkError says nothing about whether the request was carried out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierline.model.errors import LinkError
from tierline.sim.faults import FAULTLESS, Fault, LinkFaults

if TYPE_CHECKING:
    import asyncio

    from tierline.ports import Random
    from tierline.sim.loop import VirtualLoop

# Any: requests and responses belong to the two ends; the network carries them unopened.
Handler = Callable[[str, Any], Awaitable[Any]]
"""Answers a request: `await handler(source, request)`."""

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]
"""Starts a handler as a task of the end it belongs to, so that it dies with it."""

Record = Callable[[str, str], None]
"""Takes a line of the trace: who, what."""

REFUSAL_S = 0.01
"""How soon a sender learns that nobody listens or that its own link is down."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one message."""

    delay_s: float
    """How long it travels."""
    echo_s: float | None
    """When its duplicate arrives, if there is one."""
    fault: Fault | None
    """LOSS, PARTITION or CUT: it does not arrive."""


class Links:
    """The state of every link, and the draw of each message's fate."""

    def __init__(self, loop: VirtualLoop, random: Callable[[str], Random], faults: Counter[Fault]) -> None:
        self._loop = loop
        self._random = random
        self._streams: dict[tuple[str, str], Random] = {}
        self._weather: dict[tuple[str, str], LinkFaults] = {}
        self._blocked: dict[tuple[str, str], list[Fault]] = {}
        self.faults = faults
        self.usual = FAULTLESS
        """How links behave for which nothing else is said."""

    def set_weather(self, source: str, target: str, faults: LinkFaults | None) -> None:
        """Give one direction of a link its own faults; None gives it the usual ones again."""
        if faults is None:
            self._weather.pop((source, target), None)
        else:
            self._weather[source, target] = faults

    def block(self, source: str, target: str, kind: Fault) -> None:
        """Close one direction of a link; blockages add up."""
        self._blocked.setdefault((source, target), []).append(kind)

    def unblock(self, source: str, target: str, kind: Fault) -> None:
        """Take one blockage away again."""
        self._blocked[source, target].remove(kind)

    def blockage(self, source: str, target: str) -> Fault | None:
        """Tell what closes this direction; a cut, which is noticed, covers a partition."""
        kinds = self._blocked.get((source, target))
        return min(kinds, key=lambda kind: kind is not Fault.CUT) if kinds else None

    def behaviour(self, source: str, target: str) -> tuple[LinkFaults, Random]:
        """Tell how this direction behaves now, and where its random numbers come from."""
        key = (source, target)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = self._random(f"link {source} > {target}")
        return self._weather.get(key, self.usual), stream

    def fate(self, source: str, target: str) -> Fate:
        """Draw what happens to one message; always the same number of draws, so that faults can be taken away singly."""
        faults, random = self.behaviour(source, target)
        lost, echoed, held = random.fraction(), random.fraction(), random.fraction()
        delay_s = _within(faults.latency_s, random.fraction())
        held_s = _within(faults.held_back_s, random.fraction())
        fault = self.blockage(source, target) or (Fault.LOSS if lost < faults.loss else None)
        if fault is not None:
            return Fate(delay_s, None, fault)
        if held < faults.delay:
            self.faults[Fault.DELAY] += 1
            delay_s += held_s
        return Fate(delay_s, delay_s + held_s if echoed < faults.duplication else None, None)


class MessageNetwork:
    """Carries requests to handlers and responses back."""

    def __init__(self, loop: VirtualLoop, links: Links, record: Record) -> None:
        self._loop = loop
        self._links = links
        self._faults = links.faults
        self._record = record
        self._ends: dict[str, tuple[Handler, Spawn]] = {}
        self._sent: Counter[tuple[str, str]] = Counter()
        self._newest: dict[tuple[str, str], int] = {}
        self.messages = 0
        """How many messages arrived."""

    def attach(self, name: str, handler: Handler, spawn: Spawn) -> None:
        """Let an end answer requests from now on."""
        self._ends[name] = (handler, spawn)

    def detach(self, name: str) -> None:
        """Let nobody answer at this name any more."""
        self._ends.pop(name, None)

    async def call(self, source: str, target: str, request: Any, *, timeout_s: float = 30.0) -> Any:
        """Send a request and wait for its response.

        Raises: LinkError, when no response came; the request may have been carried out all the same, even twice.
        """
        answer: asyncio.Future[Any] = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, _fail, answer, f"{target} did not answer within {timeout_s:g} s")
        try:
            self._send(source, target, request, answer)
            return await answer
        finally:
            timer.cancel()

    def _send(self, source: str, target: str, request: Any, answer: asyncio.Future[Any]) -> None:
        fate = self._links.fate(source, target)
        if fate.fault is not None:
            self._faults[fate.fault] += 1
            self._record(source, f"{fate.fault} > {target}")
            if fate.fault is Fault.CUT:
                self._loop.call_later(REFUSAL_S, _fail, answer, f"the link to {target} is down")
            return
        number = self._number(source, target)
        self._loop.call_later(fate.delay_s, self._deliver, source, target, request, answer, number)
        if fate.echo_s is not None:
            echo: asyncio.Future[Any] = self._loop.create_future()
            echo.cancel()  # nobody waits for the response to a duplicate
            self._loop.call_later(fate.echo_s, self._deliver, source, target, request, echo, number)
            self._loop.call_later(fate.echo_s, self._count, Fault.DUPLICATION)

    def _deliver(self, source: str, target: str, request: Any, answer: asyncio.Future[Any], number: int) -> None:
        self._arrived(source, target, number)
        end = self._ends.get(target)
        if end is None:
            self._record(target, f"nobody < {source}")
            self._loop.call_later(REFUSAL_S, _fail, answer, f"{target} refused: nobody listens")
            return
        handler, spawn = end
        self._record(target, f"request < {source}")
        task = spawn(_answering(handler, source, request))
        task.add_done_callback(lambda task: self._answered(source, target, task, answer))

    def _answered(self, source: str, target: str, task: asyncio.Task[Any], answer: asyncio.Future[Any]) -> None:
        if task.cancelled() or task.exception() is not None:  # the end died; whoever spawned the task sees why
            self._loop.call_later(REFUSAL_S, _fail, answer, f"{target} hung up")
            return
        fate = self._links.fate(target, source)
        if fate.fault is not None:
            self._faults[Fault.RESPONSE_LOSS] += 1
            if fate.fault is not Fault.LOSS:
                self._faults[fate.fault] += 1
            self._record(target, f"{fate.fault} of a response > {source}")
            return
        number = self._number(target, source)
        self._loop.call_later(fate.delay_s, self._return, source, target, task.result(), answer, number)

    def _return(self, source: str, target: str, response: Any, answer: asyncio.Future[Any], number: int) -> None:
        if not answer.done():  # else it timed out, its caller died, or the request was a duplicate's
            self._arrived(target, source, number)
            self._record(source, f"response < {target}")
            answer.set_result(response)

    def _number(self, source: str, target: str) -> int:
        self._sent[source, target] += 1
        return self._sent[source, target]

    def _arrived(self, source: str, target: str, number: int) -> None:
        self.messages += 1
        newest = self._newest.get((source, target), 0)
        if number < newest:
            self._count(Fault.REORDER)
        else:
            self._newest[source, target] = number

    def _count(self, fault: Fault) -> None:
        self._faults[fault] += 1


async def _answering(handler: Handler, source: str, request: Any) -> Any:
    return await handler(source, request)


def _fail(answer: asyncio.Future[Any], why: str) -> None:
    if not answer.done():
        answer.set_exception(LinkError(why))


def _within(bounds: tuple[float, float], fraction: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * fraction
