"""A power cut between any two steps repeats a step and nothing else."""

from decimal import Decimal

import engine_player as p
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


class Luck:
    """Draws a different number each time, so that a second draw would show."""

    def __init__(self):
        self.count = 0

    def __call__(self, low, high):
        self.count += 1
        return low + self.count % (high - low + 1)


def a_day(cuts=(), draw=p.middle):
    """Two channels, randomization, supersession, displacement, cancellation at once and with a rest."""
    player = p.Player(p.dual(), draw, cuts=cuts)
    a = p.limit("A", 10, 100, 50, rs=5, rd=5)
    b = p.limit("B", 40, 30, 30, created=1)
    c = p.event("C", 20, 200, {"target_w": Decimal(1)})
    d = p.event("D", 60, 20, {"fixed_w_pct": Decimal(2)})
    e = p.limit("E", 150, 100, 20, rs=10)
    player.see(0, p.program("F0", 5, a, e, default={"max_lim_w_pct": Decimal(100)}))
    player.see(1, p.program("F1", 5, c), channel=p.AGGREGATOR, offset=2.0)
    player.run(30)
    player.see(30, p.program("F0", 5, a, b, d, e))
    player.run(170)
    player.see(170, p.program("F0", 5, p.limit("E", 150, 100, 20, rs=10, status=3)))
    player.run(400)
    return player


CALM = a_day()


def test_the_day_has_all_sorts_of_ends():
    assert {status for _, _, status in CALM.posted} == {1, 2, 3, 6, 7, 13}
    assert len(CALM.writes) > 6


@pytest.mark.parametrize("step", range(1, CALM.steps + 1))
def test_a_cut_before_any_step_changes_nothing_that_is_seen(step):
    cut = a_day(cuts=[step])
    assert sorted(cut.posted) == sorted(CALM.posted)
    assert [(t, dict(s)) for t, s in cut.writes] == [(t, dict(s)) for t, s in CALM.writes]


@settings(deadline=None)
@given(st.sets(st.integers(1, 2 * CALM.steps), max_size=12))
def test_many_cuts_change_nothing_that_is_seen(cuts):
    cut = a_day(cuts)
    assert sorted(cut.posted) == sorted(CALM.posted)
    assert [(t, dict(s)) for t, s in cut.writes] == [(t, dict(s)) for t, s in CALM.writes]


@pytest.mark.parametrize("step", range(1, CALM.steps + 1, 3))
def test_offsets_that_are_durable_are_not_drawn_again(step):
    """The player's store refuses a second one."""
    luck = Luck()
    player = a_day([step, step + 2], luck)
    drawn = luck.count
    player.restart()
    player.tick(401)
    assert luck.count == drawn
