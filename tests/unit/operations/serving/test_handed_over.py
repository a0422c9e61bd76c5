"""Who was handed over to a control point is known after a restart, where it still holds."""

import pytest

from tierline.model.records import KnownRecord
from tierline.operations.serving import handed_over, registry, topology
from tierline.operations.serving.registry import NewDevice
from tierline.operations.serving.state import Serving

WEST = "west"


def again(state):
    """Start anew over the same store."""
    started = Serving(
        party=state.party, store=state.store, clock=state.clock, random=state.random, pen=state.pen, grid=state.grid,
        control_points=state.control_points,
    )  # fmt: skip
    started.load()
    handed_over.recall(started)
    return started


@pytest.fixture
async def state(serving, operator):
    made = Serving(
        party=serving.party, store=serving.store, clock=serving.clock, random=serving.random, pen=serving.pen,
        grid=serving.grid, control_points={"feeder-1": WEST},
    )  # fmt: skip
    made.load()
    made.consequences.append(handed_over.remembering(made))
    await registry.register(operator, made, [NewDevice(lfdi="B1" * 20, aggregates=WEST)])
    return made


def read_and_keep(state, der):
    state.standing.read(state, WEST, der)
    state.standing.hand_over(state, WEST, state.clock.now())


def led(state):
    return min(der for der in state.standing.ders(WEST) if WEST in state.standing.shown_to(der))


async def test_it_is_written_with_the_next_change_and_known_after_a_restart(state, operator):
    der = led(state)
    read_and_keep(state, der)
    assert again(state).standing.handed_over == {}
    await registry.register(operator, state, [NewDevice(lfdi="B2" * 20)])
    assert again(state).standing.handed_over == {der: {WEST}}
    before = state.store.load(KnownRecord)
    await registry.register(operator, state, [NewDevice(lfdi="B3" * 20)])
    assert state.store.load(KnownRecord) == before


async def test_what_no_longer_holds_is_not_believed(state, operator):
    der = led(state)
    read_and_keep(state, der)
    await registry.register(operator, state, [NewDevice(lfdi="B2" * 20)])
    await topology.confirm_switching(operator, state, {1: False})
    assert der not in state.standing.handed_over
    assert again(state).standing.handed_over == {}
    await registry.register(operator, state, [NewDevice(lfdi="B3" * 20)])
    assert {record.value for record in state.store.load(KnownRecord)} == {""}
