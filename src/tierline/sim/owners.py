"""The owner of a simulated DER: he says limits at his gateway, at the desk that answers `tierline owner limit`.

He waits for each answer. Where none comes, because the gateway died or could not do it, he asks what holds and says again what
does not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tierline.model.control import Setpoints
from tierline.model.identity import Mrid
from tierline.node.owner import Desk
from tierline.node.pricing import Pricing
from tierline.sim.evidence import second
from tierline.sim.operators import AGAIN_S
from tierline.sim.owner_evidence import OwnerAsked
from tierline.sim.workload import OwnerCancel, OwnerLimit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierline.node.follower import Follower
    from tierline.ports import Store
    from tierline.sim.nodes import Node
    from tierline.sim.owner_evidence import OwnerEvidence
    from tierline.sim.workload import OwnerAct

_OPEN = frozenset({"received", "started"})
"""States of a limit that can be cancelled."""


def desk_of(node: Node, follower: Follower, store: Store, pen: int) -> Desk:
    """Open the desk at which one life of a gateway hears its owner."""
    no_prices = Pricing(clock=node.clock, random=node.random, followed=None)
    return Desk(follower, store, node.clock, node.random, pen, no_prices)


class Owner:
    """One owner, whatever becomes of his gateway."""

    def __init__(self, acts: Sequence[OwnerAct], book: OwnerEvidence) -> None:
        """Prepare to say these things, in order."""
        self._acts = acts
        self._book = book
        self._next_act = 0
        self._unanswered: OwnerAsked | None = None
        self._known: set[Mrid] = set()
        """The limits he knows of."""

    async def speak(self, node: Node, desk: Desk) -> None:
        """Say what is left to be said, each thing in its time."""
        while self._next_act < len(self._acts):
            act = self._acts[self._next_act]
            await node.clock.sleep(max(0.0, act.at_s - node.clock.deadline()))
            limits = (await _ask(desk, {"do": "limits"})).get("limits")
            if limits is None:  # the device was not found yet
                await node.clock.sleep(AGAIN_S)
            elif self._unanswered is not None and self._is_so(self._unanswered, limits):
                self._done(node, self._unanswered)
            else:
                await self._say(node, desk, act, limits)

    def _is_so(self, asked: OwnerAsked, limits: Sequence[Mapping[str, Any]]) -> bool:
        """See whether what was asked for holds, though no answer came."""
        if asked.cancels is not None:
            return any(one["mrid"] == asked.cancels and one["state"] not in _OPEN for one in limits)
        unknown = [Mrid(one["mrid"]) for one in limits if one["mrid"] not in self._known]
        asked.mrid = next(iter(unknown), None)
        return asked.mrid is not None

    async def _say(self, node: Node, desk: Desk, act: OwnerAct, limits: Sequence[Mapping[str, Any]]) -> None:
        self._known |= {one["mrid"] for one in limits}
        now_s = second(node.clock.now())
        match act:
            case OwnerLimit():
                asked = OwnerAsked(
                    at_s=node.clock.deadline(),
                    clock_s=now_s,
                    setpoints=act.setpoints,
                    start_s=now_s + (act.start_in_s or 0),
                    duration_s=act.duration_s,
                )
                values = {name: str(value) for name, value in act.setpoints.items()}
                question = {"do": "limit", "setpoints": values, "duration_s": act.duration_s}
                if act.start_in_s is not None:
                    question["start_in_s"] = act.start_in_s
            case OwnerCancel():
                among = sorted(one["mrid"] for one in limits if one["state"] in _OPEN)
                if not among:
                    self._next_act += 1
                    return
                mrid = Mrid(among[act.pick % len(among)])
                asked = OwnerAsked(at_s=node.clock.deadline(), clock_s=now_s, setpoints=Setpoints(), cancels=mrid)
                question = {"do": "cancel", "mrid": mrid}
        self._unanswered = asked
        self._book.asked.append(asked)
        answer = await _ask(desk, question)
        if "error" in answer:
            asked.refused = answer["says"]
            if answer["error"] == "LinkError":
                await node.clock.sleep(AGAIN_S)
                return
        else:
            asked.mrid = Mrid(answer["mrid"])
        self._done(node, asked)

    def _done(self, node: Node, asked: OwnerAsked) -> None:
        if not asked.refused:
            asked.told_at_s = node.clock.deadline()
        self._unanswered = None
        self._next_act += 1


async def _ask(desk: Desk, question: Mapping[str, object]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await desk.answer(json.dumps(question).encode()))
    return answer
