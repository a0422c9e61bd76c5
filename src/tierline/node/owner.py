"""What the owner of a site may ask and order at the gateway itself, over a socket in its state folder (docs/decisions/0015).

A question is one line of JSON, `{"do": "explain"}` or `{"do": "opt_out", "mrid": …}`; so is the answer: what was found, or
`{"error": …, "says": …}` with the name and the words of what went wrong.
"""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

from tierline.env import serve_local
from tierline.model.errors import ConfigError, Conflict, LinkError, PeerError, TierlineError
from tierline.model.records import AppliedRecord
from tierline.node.supervise import supervise

if TYPE_CHECKING:
    from pathlib import Path

    from tierline.engine.following.obey import Obey
    from tierline.engine.lifecycle import EventState
    from tierline.model.identity import ChannelId, Mrid
    from tierline.node.compose import Node
    from tierline.node.config import NodeConfig
    from tierline.node.follower import Follower
    from tierline.ports import Clock, Store

SUFFIX = ".owner"
"""What the name of a socket ends with; before it stands the name of the node."""


def socket_of(config: NodeConfig) -> Path:
    """Give the path of the owner's socket of a node."""
    return config.state / f"{config.node.name}{SUFFIX}"


async def serve_owner(node: Node, follower: Follower) -> None:
    """Listen to the owner until cancelled; that nobody can be heard there keeps the node from nothing."""
    path = socket_of(node.config)
    desk = Desk(follower, node.store, node.clock)

    async def listen() -> None:
        try:
            node.files.make_folder(str(path.parent))
            await serve_local(str(path), desk.answer)
        except ConfigError as error:
            raise LinkError(str(error)) from error

    await supervise("owner", listen, node.clock, node.random, node=node.name)


class Desk:
    """Answers the owner."""

    def __init__(self, follower: Follower, store: Store, clock: Clock) -> None:
        self._follower = follower
        self._store = store
        self._clock = clock

    async def answer(self, line: bytes) -> bytes:
        """Carry out one line; never fails."""
        try:
            found = await self._carry_out(_question(line))
        except TierlineError as error:
            found = {"error": type(error).__name__, "says": str(error)}
        return json.dumps(found, default=_plain, ensure_ascii=False).encode()

    async def _carry_out(self, question: dict[str, object]) -> dict[str, object]:
        obey = self._follower.obey
        if obey is None:
            raise LinkError("the device was not found yet, so nothing is obeyed; is it switched on and connected?")
        match question:
            case {"do": "explain"}:
                return self._explain(obey)
            case {"do": "opt_out", "mrid": str(name)}:
                mrid = _find(obey, name)
                await self._follower.opt_out(mrid)
                return {"mrid": mrid, "state": "opted_out"}
        raise PeerError(f"{question} is no question; ask to explain, or to opt_out of an mrid")

    def _explain(self, obey: Obey) -> dict[str, object]:
        """Tell what the device was last read to hold and why, and which events are not over."""
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


def _find(obey: Obey, name: str) -> Mrid:
    """Find an event by its mRID or the beginning of it; those that are not over go first.

    Raises: Conflict when there is none, or more than one.
    """
    begin = [event for events in obey.events().values() for event in events if event.mrid.startswith(name.upper())]
    found = {event.mrid for event in begin if event.is_live} or {event.mrid for event in begin}
    if len(found) != 1:
        which = f"{len(found)} events begin" if found else "no event begins"
        raise Conflict(f"{which} with {name!r}; give more of its mRID")
    return found.pop()


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
