import asyncio
import json
from decimal import Decimal

import pytest

from tierline.model.control import Setpoints
from tierline.sim.operators import AGAIN_S
from tierline.sim.owner_evidence import OwnerEvidence
from tierline.sim.owners import Owner, desk_of
from tierline.sim.workload import OwnerCancel, OwnerLimit
from tierline.sim.world import World

NEVER = object()
NOTHING_YET = {"error": "LinkError", "says": "the device was not found yet"}


def limit(at_s, start_in_s=None):
    setpoints = Setpoints.of({"gen_lim_w": Decimal(4000)})
    return OwnerLimit(at_s=at_s, setpoints=setpoints, start_in_s=start_in_s, duration_s=600)


class Desk:
    """Keeps what is said as a gateway does, but for what it is told to do instead."""

    def __init__(self, *instead):
        self.instead = list(instead)
        """Per question that is no question for the limits: None, an error, or NEVER: it is done and not answered."""
        self.limits = []
        self.asked = []

    async def answer(self, line):
        question = json.loads(line)
        if question["do"] == "limits":
            return json.dumps({"limits": self.limits}).encode()
        self.asked.append(question)
        instead = self.instead.pop(0) if self.instead else None
        if isinstance(instead, dict):
            return json.dumps(instead).encode()
        found = self.done(question)
        if instead is NEVER:
            await asyncio.Event().wait()
        return json.dumps(found).encode()

    def done(self, question):
        if question["do"] == "limit":
            self.limits.append({"mrid": f"M{len(self.limits)}", "state": "received"})
            return self.limits[-1]
        (one,) = (one for one in self.limits if one["mrid"] == question["mrid"])
        one["state"] = "cancelled"
        return one


def play(desk, *acts, dies_at_s=None):
    """Have an owner say these things; give what he wrote down."""
    book = OwnerEvidence()
    owner = Owner(acts, book)

    async def gateway(node):
        await owner.speak(node, desk)

    with World(1) as world:
        world.node("gateway", gateway)
        if dies_at_s is not None:
            world.loop.call_at(dies_at_s, lambda: world.crash("gateway", down_s=10.0))
        world.run(1.0)
    return book


def test_he_says_each_thing_in_its_time_and_notes_what_he_was_told():
    desk = Desk()
    book = play(desk, limit(60.0), limit(120.0, start_in_s=300), OwnerCancel(at_s=180.0, pick=3))
    assert [(one.at_s, one.told_at_s, one.mrid) for one in book.asked] == [
        (60.0, 60.0, "M0"),
        (120.0, 120.0, "M1"),
        (180.0, 180.0, "M1"),
    ]
    assert desk.asked == [
        {"do": "limit", "setpoints": {"gen_lim_w": "4000"}, "duration_s": 600},
        {"do": "limit", "setpoints": {"gen_lim_w": "4000"}, "duration_s": 600, "start_in_s": 300},
        {"do": "cancel", "mrid": "M1"},
    ]
    assert [one.start_s - one.clock_s for one in book.asked[:2]] == [0, 300]


def test_where_nothing_can_be_cancelled_he_says_nothing():
    assert play(Desk(), OwnerCancel(at_s=60.0, pick=0)).asked == []


def test_what_could_not_be_done_he_says_again():
    book = play(Desk(NOTHING_YET), limit(60.0))
    assert [(one.at_s, one.told_at_s, bool(one.refused)) for one in book.asked] == [
        (60.0, None, True),
        (60.0 + AGAIN_S, 60.0 + AGAIN_S, False),
    ]


def test_what_is_refused_he_does_not_say_again():
    book = play(Desk({"error": "Conflict", "says": "its time has passed"}), limit(60.0))
    assert [(one.told_at_s, one.refused) for one in book.asked] == [(None, "its time has passed")]


@pytest.mark.parametrize("kind", ["limit", "cancel"])
def test_when_the_gateway_died_before_it_answered_he_asks_what_holds_and_does_not_say_it_twice(kind):
    acts = [limit(60.0), OwnerCancel(at_s=120.0, pick=0)]
    desk = Desk(NEVER) if kind == "limit" else Desk(None, NEVER)
    book = play(desk, *acts[: 1 + (kind == "cancel")], dies_at_s=200.0)
    assert [one.told_at_s for one in book.asked][-1] == 210.0
    assert len(desk.asked) == len(book.asked) == 1 + (kind == "cancel")
    assert [one.mrid for one in book.asked][:1] == ["M0"]


def test_when_the_gateway_died_and_kept_nothing_he_says_it_again():
    class Forgetting(Desk):
        def done(self, question):
            return {} if len(self.asked) == 1 else super().done(question)

    book = play(Forgetting(NEVER), limit(60.0), dies_at_s=200.0)
    assert [one.told_at_s for one in book.asked] == [None, 210.0]


def test_the_desk_is_the_one_of_the_product_and_knows_no_prices():
    answers = []

    async def gateway(node):
        desk = desk_of(node, None, None, 0)
        answers.append(json.loads(await desk.answer(b'{"do": "prices"}')))

    with World(1) as world:
        world.node("gateway", gateway)
        world.run(0.1)
    assert answers == [{"tariffs": []}]
