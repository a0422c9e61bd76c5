"""What the owner of a site may ask and order at the gateway itself, over a socket in its state folder (docs/decisions/0015, 0016).

A question is one line of JSON, `{"do": "explain"}` or `{"do": "opt_out", "mrid": …}`; so is the answer: what was found, or
`{"error": …, "says": …}` with the name and the words of what went wrong.
"""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

import structlog

from tierline.engine.following.obey import OWNER
from tierline.engine.lifecycle import State
from tierline.env import SystemRandom, serve_local
from tierline.model.errors import ConfigError, Conflict, LinkError, PeerError, TierlineError
from tierline.model.identity import mrid
from tierline.model.records import AppliedRecord
from tierline.node.owner_said import limit_told, order_of
from tierline.node.supervise import supervise
from tierline.operations.following.owner_limits import check_limit, with_limit, without_limit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tierline.engine.following.obey import Obey
    from tierline.engine.lifecycle import EventState
    from tierline.model.identity import ChannelId, Mrid
    from tierline.model.programs import Program
    from tierline.node.compose import Node
    from tierline.node.config import NodeConfig
    from tierline.node.follower import Follower
    from tierline.node.pricing import Pricing
    from tierline.operations.following.owner_limits import LimitOrder
    from tierline.ports import Clock, DeviceFacts, Random, Store

log = structlog.get_logger(__name__)

SUFFIX = ".owner"
"""What the name of a socket ends with; before it stands the name of the node."""


def socket_of(config: NodeConfig) -> Path:
    """Give the path of the owner's socket of a node."""
    return config.state / f"{config.node.name}{SUFFIX}"


async def serve_owner(node: Node, follower: Follower) -> None:
    """Listen to the owner until cancelled; that nobody can be heard there keeps the node from nothing."""
    path = socket_of(node.config)
    # A node of a seeded run draws the same again after a restart, and a limit must never get the name of another.
    pen = 0 if node.config.identity is None else node.config.identity.pen
    desk = Desk(follower, node.store, node.clock, SystemRandom(), pen, node.pricing)

    async def listen() -> None:
        try:
            node.files.make_folder(str(path.parent))
            await serve_local(str(path), desk.answer)
        except ConfigError as error:
            raise LinkError(str(error)) from error

    await supervise("owner", listen, node.clock, node.random, node=node.name)


class Desk:
    """Answers the owner."""

    def __init__(
        self, follower: Follower, store: Store, clock: Clock, names: Random, pen: int, pricing: Pricing
    ) -> None:
        self._pricing = pricing
        self._follower = follower
        self._store = store
        self._clock = clock
        self._names = names
        self._pen = pen

    async def answer(self, line: bytes) -> bytes:
        """Carry out one line; never fails."""
        try:
            found = await self._carry_out(_question(line))
        except TierlineError as error:
            found = {"error": type(error).__name__, "says": str(error)}
        return json.dumps(found, default=_plain, ensure_ascii=False).encode()

    async def _carry_out(self, question: dict[str, object]) -> dict[str, object]:
        if question == {"do": "prices"}:
            return {"tariffs": self._pricing.told()}
        obey = self._follower.obey
        if obey is None:
            raise LinkError("the device was not found yet, so nothing is obeyed; is it switched on and connected?")
        match question:
            case {"do": "explain"}:
                return self._explain(obey)
            case {"do": "opt_out", "mrid": str(name)}:
                found = _find((event for events in obey.events().values() for event in events), name)
                await self._follower.opt_out(found)
                return {"mrid": found, "state": "opted_out"}
            case {"do": "limit"}:
                return await self._limit(order_of(question, self._clock.now()))
            case {"do": "cancel", "mrid": str(name)}:
                return await self._cancel(obey, name)
            case {"do": "limits"}:
                known = sorted(obey.events()[OWNER], key=lambda event: (event.starts_at, event.mrid))
                return {"limits": [limit_told(event) for event in known]}
        raise PeerError(
            f"{question} is no question; ask to explain, to opt_out of an mrid, for a limit, to cancel an mrid, for the limits, or for the prices"
        )

    async def _limit(self, order: LimitOrder) -> dict[str, object]:
        """Let the device be limited for a time; the answer comes when that is durable."""
        name = mrid(self._names.bits(96), self._pen)

        def change(program: Program, facts: DeviceFacts) -> Program:
            now = self._clock.now()
            check_limit(order, now, facts.functions, facts.capability)
            return with_limit(program, order, name, now)

        await self._follower.say(change)
        event = self._event(name)
        if event.state is State.REJECTED:
            raise Conflict(
                f"the limit was refused with {', '.join(map(str, map(int, event.answered)))}: its time has passed"
            )
        log.info("limit_said", mrid=name, starts_at=str(event.starts_at), ends_at=str(event.ends_at))
        return limit_told(event)

    async def _cancel(self, obey: Obey, begin: str) -> dict[str, object]:
        name = _find(obey.events()[OWNER], begin)
        await self._follower.say(lambda program, _: without_limit(program, name, self._clock.now()))
        log.info("limit_cancelled", mrid=name)
        return limit_told(self._event(name))

    def _event(self, name: Mrid) -> EventState:
        """Find an event of the owner that was just handled.

        Raises: LinkError when a fault of this program came in between.
        """
        obey = self._follower.obey
        known = [] if obey is None else [event for event in obey.events()[OWNER] if event.mrid == name]
        if not known:
            raise LinkError(f"limit {name} is not known any more; ask again what holds")
        return known[0]

    def _explain(self, obey: Obey) -> dict[str, object]:
        """Tell what the device was last read to hold and why, which events are not over, and what was refused of what is."""
        record = next(iter(self._store.load(AppliedRecord)), None)
        applied = {} if record is None else json.loads(record.explanation)
        return {
            "at": self._clock.now(),
            "is_held": obey.applied is not None,
            "applied_at": None if record is None else record.applied_at,
            "setpoints": applied.get("setpoints", {}),
            "explanation": applied.get("explanation", []),
            "events": [
                _told(obey, channel, event)
                for channel, events in obey.events().items()
                for event in sorted(events, key=lambda event: (event.starts_at, event.mrid))
                if event.is_live
            ],
            "refused": [
                _refused(channel, event)
                for channel, events in obey.events().items()
                for event in sorted(events, key=lambda event: (event.known_at, event.mrid))
                if event.refusal and event.control.interval.end > self._clock.now()
            ],
            "held_back": dict(obey.refused),
            "responses_waiting": self._follower.waiting_responses(),
        }


def _question(line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise PeerError(f"no line of JSON: {line[:80]!r}") from error
    if not isinstance(found, dict):
        raise PeerError(f"no question: {line[:80]!r}")
    return found


def _find(events: Iterable[EventState], name: str) -> Mrid:
    """Find an event by its mRID or the beginning of it; those that are not over go first.

    Raises: Conflict when there is none, or more than one.
    """
    begin = [event for event in events if event.mrid.startswith(name.upper())]
    found = {event.mrid for event in begin if event.is_live} or {event.mrid for event in begin}
    if len(found) != 1:
        which = f"{len(found)} events begin" if found else "no event begins"
        raise Conflict(f"{which} with {name!r}; give more of its mRID")
    return found.pop()


def _refused(channel: ChannelId, event: EventState) -> dict[str, object]:
    return {
        "mrid": event.mrid,
        "channel": channel,
        "setpoints": dict(event.control.setpoints),
        "starts_at": event.control.interval.start,
        "ends_at": event.control.interval.end,
        "answers": [int(status) for status in event.answered],
        "why": event.refusal,
    }


def _told(obey: Obey, channel: ChannelId, event: EventState) -> dict[str, object]:
    return {
        "mrid": event.mrid,
        "channel": channel,
        "state": event.state.value,
        "starts_at": event.starts_at,
        "ends_at": event.ends_at,
        "setpoints": dict(event.control.setpoints),
        "holds": event.held,
        "may_opt_out": not obey.why_not_opt_out(event.mrid),
    }


def _plain(value: object) -> object:
    """Write down what JSON has no type for."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
