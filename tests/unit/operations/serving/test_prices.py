"""Prices, and that nothing makes a control of one."""

import ast
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import tierline
from tierline.model.errors import ConfigError, Conflict, Forbidden
from tierline.model.parties import Principal, Role
from tierline.model.records import AuditRecord
from tierline.operations.serving.audit import faults
from tierline.operations.serving.prices import (
    NewPrice,
    create_tariff,
    in_currency,
    prices_since,
    set_prices,
    tariffs,
)

EURO = 978


@pytest.fixture
async def tariff(serving, operator):
    return await create_tariff(operator, serving, "day ahead", EURO, -5)


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


async def test_two_prices_never_hold_at_once(serving, operator, tariff, price):
    await set_prices(operator, serving, tariff.mrid, [price(0, 1), price(1, 2)])
    with pytest.raises(Conflict, match="holds until 14:00, after the one from 13:00 begins"):
        await set_prices(operator, serving, tariff.mrid, [price(0, 1, hours=2)])
    with pytest.raises(Conflict, match="begin at the same time"):
        await set_prices(operator, serving, tariff.mrid, [price(5, 1), price(5, 2)])
    assert len(serving.prices[tariff.mrid]) == 2


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (("", EURO, 0), "does not describe a tariff"),
        (("x" * 193, EURO, 0), "does not describe a tariff"),
        (("x", 0, 0), "0 is no number of a currency"),
        (("x", 1000, 0), "1000 is no number of a currency"),
        (("x", EURO, 10), "steps of 10\\^10"),
    ],
)
async def test_a_tariff_that_makes_no_sense_is_refused(serving, operator, given, what):
    with pytest.raises(ConfigError, match=what):
        await create_tariff(operator, serving, *given)


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
        await create_tariff(viewer, serving, "x", EURO, 0)
    with pytest.raises(Forbidden):
        await set_prices(viewer, serving, tariff.mrid, [price(0, 1)])


# --- a price is information, never a control ------------------------------------------------------------------------------

MAKERS = frozenset({"Control", "ControlRecord", "DefaultControl", "DefaultRecord", "create_control", "set_default"})
"""What makes a control or a default, or has one made."""
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
    assert "tierline.operations.serving.prices" in knowing
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
    assert "tierline.operations.serving.prices" not in reached


def test_a_member_of_a_fleet_offers_by_contract_not_by_tariff():
    tree = dict(modules())["tierline.operations.serving.members"]
    assert not knows_prices(tree)
