"""Prices, and that nothing makes a control of one."""

import ast
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import tierline
from tierline.model.control import EventStatus
from tierline.model.errors import ConfigError, Conflict, Forbidden
from tierline.model.identity import GroupId
from tierline.model.parties import Principal, Role
from tierline.model.records import AuditRecord
from tierline.operations.serving.audit import faults
from tierline.operations.serving.groups import create_group, delete_group
from tierline.operations.serving.prices import (
    NewPrice,
    NewTariff,
    create_tariff,
    in_currency,
    prices_since,
    remove_tariff,
    set_prices,
    status_of,
    tariffs,
    withdraw_prices,
)

EURO = 978


@pytest.fixture
async def tariff(serving, operator):
    return await create_tariff(operator, serving, NewTariff(description="day ahead", currency=EURO))


@pytest.fixture
def price(clock):
    return lambda hour, value, hours=1: NewPrice(
        start=clock.now() + timedelta(hours=hour), duration_s=round(hours * 3600), price=Decimal(value)
    )


async def test_prices_are_kept_in_steps_of_the_tariff(serving, operator, tariff, price, clock, restarted):
    await set_prices(operator, serving, tariff.mrid, [price(1, "-0.05"), price(0, "0.12345")])
    for state in (serving, restarted()):
        found = prices_since(operator, state, tariff.mrid, clock.now(), 10)
        assert [record.price for record in found] == [12345, -5000]
        assert [in_currency(tariff, record) for record in found] == [Decimal("0.12345"), Decimal("-0.05")]
    assert tariffs(operator, serving) == [tariff]
    assert faults(serving.store.load(AuditRecord)) == []


async def test_what_is_over_is_not_listed(serving, operator, tariff, price, clock):
    await set_prices(operator, serving, tariff.mrid, [price(hour, 1) for hour in range(5)])
    clock.move(hours=2, minutes=30)
    found = prices_since(operator, serving, tariff.mrid, clock.now(), 2)
    assert [record.start.hour for record in found] == [14, 15]


async def test_a_price_takes_the_place_of_one_that_begins_with_it(serving, operator, tariff, price, clock):
    await set_prices(operator, serving, tariff.mrid, [price(0, 1), price(1, 2)])
    await set_prices(operator, serving, tariff.mrid, [price(0, 3, hours=0.5)])
    found = prices_since(operator, serving, tariff.mrid, clock.now(), 10)
    assert [(record.price, record.duration_s) for record in found] == [(300_000, 1800), (200_000, 3600)]
    # What begins at this very instant has begun.
    old = next(record for record in serving.prices[tariff.mrid].values() if record.price == 100_000)
    assert old.status is EventStatus.SUPERSEDED


async def test_two_prices_never_hold_at_once(serving, operator, tariff, price):
    await set_prices(operator, serving, tariff.mrid, [price(0, 1), price(1, 2)])
    with pytest.raises(Conflict, match="holds until 14:00, after the one from 13:00 begins"):
        await set_prices(operator, serving, tariff.mrid, [price(0, 1, hours=2)])
    with pytest.raises(Conflict, match="begin at the same time"):
        await set_prices(operator, serving, tariff.mrid, [price(5, 1), price(5, 2)])
    assert len(serving.prices[tariff.mrid]) == 2


async def test_what_is_replaced_stays_listed_as_cancelled_before_it_began_and_as_superseded_after(
    serving, operator, tariff, price, clock
):
    now, later = await set_prices(operator, serving, tariff.mrid, [price(0, 1), price(1, 2)])
    clock.move(minutes=1)
    news = [replace(price(0, 3), start=now.start), replace(price(0, 4), start=later.start)]
    await set_prices(operator, serving, tariff.mrid, news)
    kept = serving.prices[tariff.mrid]
    assert (kept[now.mrid].status, kept[later.mrid].status) == (EventStatus.SUPERSEDED, EventStatus.CANCELLED)
    assert kept[now.mrid].status_at == kept[later.mrid].status_at == clock.now()
    assert (kept[now.mrid].price, kept[now.mrid].created_at) == (now.price, now.created_at)
    assert len({record.mrid for record in kept.values()}) == len(kept) == 4


async def test_a_withdrawn_price_stays_as_cancelled_and_makes_room_for_another(
    serving, operator, tariff, price, clock, restarted
):
    _, later = await set_prices(operator, serving, tariff.mrid, [price(0, 1), price(1, 2)])
    clock.move(minutes=1)
    (gone,) = await withdraw_prices(operator, serving, tariff.mrid, [later.start, later.start])
    assert gone == replace(later, status=EventStatus.CANCELLED, status_at=clock.now())
    assert restarted().prices[tariff.mrid][later.mrid] == gone
    assert [one.price for one in prices_since(operator, serving, tariff.mrid, clock.now(), 9)] == [100_000]
    (new,) = await set_prices(operator, serving, tariff.mrid, [price(1.5, 5)])
    assert [one.mrid for one in prices_since(operator, serving, tariff.mrid, later.start, 9)] == [new.mrid]
    assert prices_since(operator, serving, tariff.mrid, later.start, 9, ended=True) == [gone, new]
    assert [status_of(serving, one) for one in (gone, new)] == [EventStatus.CANCELLED, EventStatus.SCHEDULED]
    assert faults(serving.store.load(AuditRecord)) == []


async def test_only_what_is_there_and_not_over_is_withdrawn(serving, operator, tariff, price, clock):
    (over,) = await set_prices(operator, serving, tariff.mrid, [price(0, 1)])
    with pytest.raises(ConfigError, match=f"no price of 'day ahead' begins at .*price list {tariff.mrid[:8]}"):
        await withdraw_prices(operator, serving, tariff.mrid, [over.start, over.start + timedelta(seconds=1)])
    assert serving.prices[tariff.mrid] == {over.mrid: over}
    clock.move(hours=1)
    with pytest.raises(Conflict, match="is over"):
        await withdraw_prices(operator, serving, tariff.mrid, [over.start])


async def test_a_tariff_goes_when_nothing_of_it_holds_any_more(serving, operator, tariff, price, clock, restarted):
    (one,) = await set_prices(operator, serving, tariff.mrid, [price(1, 1)])
    with pytest.raises(Conflict, match="withdraw them first"):
        await remove_tariff(operator, serving, tariff.mrid)
    await withdraw_prices(operator, serving, tariff.mrid, [one.start])
    assert await remove_tariff(operator, serving, tariff.mrid) == tariff
    for state in (serving, restarted()):
        assert (state.tariffs, dict(state.prices)) == ({}, {})


async def test_a_tariff_concerns_a_group_or_everybody(serving, operator):
    group = await create_group(operator, serving, "contract 7")
    of_group = GroupId(group.group.id)
    made = await create_tariff(operator, serving, NewTariff(description="x", currency=EURO, group=of_group))
    everybody = await create_tariff(operator, serving, NewTariff(description="y", currency=EURO))
    chosen = await create_tariff(operator, serving, NewTariff(description="z", currency=EURO, primacy=70))
    assert (made.group, made.primacy) == (of_group, 1)
    assert (everybody.group, everybody.primacy) == (None, 2)
    assert chosen.primacy == 70
    assert len({made.mrid, made.rate_component, everybody.mrid, everybody.rate_component}) == 4


async def test_a_group_stays_while_a_tariff_is_for_it(serving, operator):
    of_group = GroupId((await create_group(operator, serving, "contract 7")).group.id)
    made = await create_tariff(operator, serving, NewTariff(description="x", currency=EURO, group=of_group))
    with pytest.raises(Conflict, match="tariff 'x' is for group contract 7; remove it first"):
        await delete_group(operator, serving, of_group)
    await remove_tariff(operator, serving, made.mrid)
    await delete_group(operator, serving, of_group)


async def test_a_followed_tariff_is_only_its_servers_to_change(serving, operator, tariff, price):
    await serving.commit([replace(tariff, followed_from="market")])
    for change in (
        set_prices(operator, serving, tariff.mrid, [price(0, 1)]),
        withdraw_prices(operator, serving, tariff.mrid, [price(0, 1).start]),
        remove_tariff(operator, serving, tariff.mrid),
    ):
        with pytest.raises(Conflict, match="is followed from market and changes there"):
            await change


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"description": ""}, "does not describe a tariff"),
        ({"description": "x" * 33}, "does not describe a tariff"),
        ({"description": "ü" * 17}, "does not describe a tariff"),
        ({"currency": 0}, "0 is no number of a currency"),
        ({"currency": 1000}, "1000 is no number of a currency"),
        ({"price_power_of_ten": 10}, "steps of 10\\^10"),
        ({"group": GroupId("x")}, "there is no group 'x'"),
        ({"primacy": 3}, "3 is no primacy"),
    ],
)
async def test_a_tariff_that_makes_no_sense_is_refused(serving, operator, given, what):
    with pytest.raises(ConfigError, match=what):
        await create_tariff(operator, serving, NewTariff(**({"description": "x", "currency": EURO} | given)))


async def test_a_price_that_makes_no_sense_is_refused(serving, operator, tariff, price):
    for wrong, what in (
        (price(0, "0.123456"), "counts in steps of 0.00001"),
        (price(0, 30_000), "no price of this tariff"),
        (price(0, 1, hours=0), "at least one second"),
    ):
        with pytest.raises(ConfigError, match=what):
            await set_prices(operator, serving, tariff.mrid, [wrong])
    with pytest.raises(ConfigError, match="there is no tariff"):
        await set_prices(operator, serving, "0" * 32, [price(0, 1)])
    with pytest.raises(ConfigError, match="there is no tariff"):
        prices_since(operator, serving, "0" * 32, price(0, 1).start, 1)


async def test_a_viewer_publishes_nothing(serving, tariff, price):
    viewer = Principal(party=serving.party, role=Role.VIEWER, name="bob")
    with pytest.raises(Forbidden):
        await create_tariff(viewer, serving, NewTariff(description="x", currency=EURO))
    with pytest.raises(Forbidden):
        await set_prices(viewer, serving, tariff.mrid, [price(0, 1)])
    with pytest.raises(Forbidden):
        await withdraw_prices(viewer, serving, tariff.mrid, [])
    with pytest.raises(Forbidden):
        await remove_tariff(viewer, serving, tariff.mrid)


# --- a price is information, never a control ------------------------------------------------------------------------------

MAKERS = frozenset({"Control", "ControlRecord", "DefaultControl", "DefaultRecord", "create_control", "set_default"})
"""What makes a control or a default, or has one made."""
FOLLOWING = frozenset({"tierline.operations.following.prices", "tierline.operations.relay.prices"})
"""What keeps the prices that are followed."""
MIRRORS = frozenset({"tierline.model.records", "tierline.operations.serving.state", "tierline.storage.schema"})
"""What keeps every kind of record and looks into none."""


def modules():
    root = Path(tierline.__file__).parent
    for path in sorted(root.rglob("*.py")):
        name = ".".join(("tierline", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        yield name, ast.parse(path.read_text())


def knows_prices(tree):
    """Tell whether a module names the record of a price, or reads the prices a node holds."""
    return any(
        (isinstance(node, ast.Name) and node.id in {"PriceRecord", "TariffRecord"})
        or (isinstance(node, ast.ImportFrom) and node.module == "tierline.operations.serving.prices")
        or (isinstance(node, ast.Attribute) and node.attr in {"prices", "tariffs"} and _is_state(node.value))
        for node in ast.walk(tree)
    )


def _is_state(node):
    return (isinstance(node, ast.Name) and node.id in {"serving", "state"}) or (
        isinstance(node, ast.Attribute) and node.attr in {"serving", "_serving", "state", "_state"}
    )


def makes_controls(tree):
    return any(
        isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in MAKERS)
            or (isinstance(node.func, ast.Attribute) and node.func.attr in {"create_control", "set_default"})
        )
        for node in ast.walk(tree)
    )


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_what_knows_prices_makes_no_control_and_what_makes_controls_knows_no_price():
    trees = dict(modules())
    knowing = {name for name, tree in trees.items() if knows_prices(tree)} - MIRRORS
    making = {name for name, tree in trees.items() if makes_controls(tree)}
    assert {"tierline.operations.serving.prices", *FOLLOWING} <= knowing
    assert {"tierline.operations.serving.dispatch", "tierline.operations.serving.deriving"} <= making
    assert knowing & making == set()


def test_nothing_that_makes_a_control_comes_to_prices_by_its_imports():
    trees = dict(modules())
    making = {
        name
        for name, tree in trees.items()
        if makes_controls(tree) and name.startswith(("tierline.engine", "tierline.operations", "tierline.protocols"))
    }
    reached, todo = set(making), list(making)
    while todo:
        for imported in imports(trees[todo.pop()]):
            if imported in trees and imported not in reached:
                reached.add(imported)
                todo.append(imported)
    assert reached.isdisjoint({"tierline.operations.serving.prices", *FOLLOWING})


def test_a_member_of_a_fleet_offers_by_contract_not_by_tariff():
    tree = dict(modules())["tierline.operations.serving.members"]
    assert not knows_prices(tree)
