from decimal import Decimal

import pytest

from tierline.model.control import Setpoints
from tierline.model.errors import LinkError, PeerError
from tierline.sim.evidence import FAILURE, Inverter, Window
from tierline.sim.inverter import InverterLink
from tierline.sim.world import World

TARGET = Setpoints.of({"max_lim_w_pct": Decimal(40)})


class Drawn:
    """Gives the numbers named, then ones that fail nothing."""

    def __init__(self, *fractions):
        self.fractions = list(fractions)

    def fraction(self):
        return self.fractions.pop(0) if self.fractions else 0.9

    def between(self, low, high):
        return high


def play(scene, *fractions, calm_from_s=1e9):
    """Run a scene with a link to an inverter that fails as drawn; give the inverter."""
    inverter = Inverter(
        name="pv",
        functions=frozenset({"max_lim_w_pct"}),
        held=Setpoints(),
        random=Drawn(*fractions),
        carries_ramp_time=False,
        calm_from_s=calm_from_s,
    )

    async def program(node):
        await scene(InverterLink(inverter, node))

    with World(1) as world:
        world.node("gateway", program)
        world.run(1.0)
    return inverter


SILENT, REFUSED, ANSWER_LOST = (FAILURE * (kind + 0.5) / 3 for kind in range(3))


def test_a_target_is_held_and_read_back():
    async def scene(link):
        assert (await link.apply(TARGET)).setpoints == TARGET

    inverter = play(scene)
    assert [held for _, held in inverter.writes] == [TARGET]
    assert inverter.troubles == []


@pytest.mark.parametrize(("fraction", "error"), [(SILENT, LinkError), (REFUSED, PeerError)])
def test_a_failed_write_changes_nothing_and_is_noted_until_one_succeeds(fraction, error):
    async def scene(link):
        with pytest.raises(error):
            await link.apply(TARGET)
        await link.apply(TARGET)

    inverter = play(scene, fraction)
    assert len(inverter.writes) == 1
    assert [type(window) for window in inverter.troubles] == [Window]
    assert inverter.trouble_since_s is None


def test_a_write_whose_answer_is_lost_holds_all_the_same():
    async def scene(link):
        with pytest.raises(LinkError):
            await link.apply(TARGET)

    inverter = play(scene, ANSWER_LOST)
    assert inverter.held == TARGET
    assert inverter.trouble_since_s == 0.0


def test_an_inverter_that_is_calm_fails_no_more():
    async def scene(link):
        await link.apply(TARGET)

    assert play(scene, SILENT, calm_from_s=0.0).held == TARGET


def test_it_says_what_it_is_and_measures_what_it_remembers():
    async def scene(link):
        facts = await link.discover()
        assert (facts.serial, facts.functions) == ("pv", frozenset({"max_lim_w_pct"}))
        values, alarms = await link.measure()
        assert [value[0] for value in values] == ["w", "inverter_status"]
        assert alarms == ()
        await link.close()

    assert list(play(scene).measured.values()) == [10_000]


def test_a_question_may_fail_too():
    async def scene(link):
        with pytest.raises(LinkError):
            await link.discover()

    play(scene, SILENT)
