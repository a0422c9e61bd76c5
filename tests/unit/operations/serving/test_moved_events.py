"""Which events a switching operation takes DERs out of and brings them under."""

from datetime import timedelta

from tierline.model.control import Setpoints
from tierline.operations.serving.dispatch import Order, cancel_control, create_control
from tierline.operations.serving.moved_events import moved_events
from tierline.operations.serving.topology import find_group, preview_switching

TO_THE_TIE = {2: False, 3: True}
"""Feeds the far half of feeder-2 from feeder-1."""


async def issue(operator, serving, group, *, in_s=0, for_s=900):
    order = Order(
        group_id=find_group(serving, group).group.id,
        setpoints=Setpoints.of({"connect": False}),
        start=serving.clock.now() + timedelta(seconds=in_s),
        duration_s=for_s,
    )
    return (await create_control(operator, serving, order)).mrid


async def test_events_of_groups_that_are_left_or_joined_are_found_in_order(serving, operator):
    later = await issue(operator, serving, "feeder-1", in_s=600)
    running = await issue(operator, serving, "feeder-2")
    await issue(operator, serving, "system")  # nobody leaves it or joins it
    moves = preview_switching(operator, serving, TO_THE_TIE)
    (who,) = {move.der_id for move in moves}
    found = moved_events(serving, moves)
    assert [(event.record.mrid, event.leave, event.join) for event in found] == [
        (running, (who,), ()),
        (later, (), (who,)),
    ]


async def test_what_is_over_or_cancelled_touches_nobody(serving, operator):
    await cancel_control(operator, serving, await issue(operator, serving, "feeder-1"))
    await issue(operator, serving, "feeder-2", for_s=60)
    serving.clock.time += timedelta(seconds=61)
    assert moved_events(serving, preview_switching(operator, serving, TO_THE_TIE)) == []
