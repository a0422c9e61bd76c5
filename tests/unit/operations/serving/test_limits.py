from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.engine.governor import Cap
from tierline.model.control import Setpoints
from tierline.model.errors import Forbidden
from tierline.model.parties import Principal, Role
from tierline.operations.serving.limits import govern, recall
from tierline.operations.serving.programs import set_default
from tierline.operations.serving.topology import find_group

LIMIT = Setpoints.of({"max_lim_w_pct": Decimal(0)})
HOUR = Cap(name="hour", window=timedelta(hours=1), power_w=None, devices=3, per_principal=True)


@pytest.fixture
def group(serving):
    return find_group(serving, "feeder-1").group.id


def test_without_a_budget_nothing_is_capped(serving, operator, group):
    request = govern(operator, serving, group, LIMIT)
    assert request.power_w == 30_000
    assert len(request.devices) == 2


async def test_what_was_granted_counts_for_as_long_as_the_window(serving, operator, group, send, clock):
    serving.budget = (HOUR,)
    await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(0))
    other = find_group(serving, "feeder-2").group.id
    with pytest.raises(Forbidden, match=r"refused by the governor: .*hour"):
        govern(operator, serving, other, LIMIT)
    colleague = Principal(party=serving.party, role=Role.OPERATOR, name="bob")
    govern(colleague, serving, other, LIMIT)
    clock.move(hours=1)
    govern(operator, serving, other, LIMIT)
    assert serving.granted == []


async def test_a_restart_forgets_no_grant(serving, operator, group, send, clock, restarted):
    serving.budget = (HOUR,)
    await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(0))
    again = restarted()
    again.budget = serving.budget
    recall(again)
    assert again.granted == serving.granted
    with pytest.raises(Forbidden):
        govern(operator, again, find_group(again, "feeder-2").group.id, LIMIT)
    clock.move(hours=2)
    later = restarted()
    later.budget = serving.budget
    recall(later)
    assert later.granted == []


async def test_a_default_counts_too(serving, operator, group, restarted):
    serving.budget = (HOUR,)
    await set_default(operator, serving, group, LIMIT)
    again = restarted()
    again.budget = serving.budget
    recall(again)
    assert again.granted == serving.granted
    assert len(again.granted) == 1


async def test_without_a_budget_nothing_is_recalled(send, clock, restarted):
    await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(0))
    again = restarted()
    recall(again)
    assert again.granted == []
