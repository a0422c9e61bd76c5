"""Tariffs that are followed and handed on: whom they concern here, and what stands in the audit."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tierline.model.control import EventStatus
from tierline.model.errors import ConfigError, LinkError
from tierline.model.identity import Mrid
from tierline.model.prices import Price, Tariff, TariffsSeen
from tierline.model.records import AuditRecord, Flow, GroupRecord
from tierline.operations.relay.downward import mirror
from tierline.operations.relay.prices import HandedOnPrices, Shown, keep_only
from tierline.operations.relay.relayed import Relayed
from tierline.operations.serving.audit import faults
from tierline.operations.serving.groups import add_members, create_group, joining
from tierline.operations.serving.prices import NewTariff, create_tariff

DAY, NIGHT = Mrid("A" * 32), Mrid("B" * 32)


@pytest.fixture
def price(scene):
    now = scene.clock.now()

    def make(hour, value=100, **more):
        start = now + timedelta(hours=hour)
        name = Mrid(f"C{hour:031X}")
        return Price(mrid=name, created_at=now, start=start, duration_s=3600, price=value, **{"status_at": now, **more})

    return make


def tariff(mrid, *prices):
    return Tariff(
        mrid=mrid,
        description="day",
        currency=978,
        price_power_of_ten=-5,
        rate_component=Mrid("D" * 32),
        flow=Flow.DELIVERED,
        service=0,
        primacy=1,
        prices=prices,
    )


def seen(*shown, **more):
    """Give tariffs, each with those to whom it is shown."""
    return TariffsSeen(
        channel="utility",
        tariffs={one.mrid: one for one, _ in shown},
        shown_to={one.mrid: frozenset(lfdis) for one, lfdis in shown},
        **more,
    )


@pytest.fixture
async def relay(scene, above):
    """Two DERs that the server above lists."""
    scene.serving.consequences.append(joining(scene.serving))
    scene.ders = {one.lfdi: one.der_id for one in await registered(scene)}
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    return scene


async def registered(scene):
    await scene.register()
    return scene.serving.identities.values()


@pytest.fixture
def keeper(relay, above):
    return HandedOnPrices(above, relay.serving, "utility", relayed=relay.relayed)


def lines(serving):
    return [(line.resource, line.outcome) for line in serving.store.load(AuditRecord) if line.verb == "follow"]


def concerned(serving, mrid):
    return serving.members_of.get(serving.tariffs[mrid].group, set())


async def test_what_is_shown_to_one_is_kept_for_that_one_alone(relay, keeper, price):
    one, two = relay.lfdis[:2]
    await keeper.take(seen((tariff(DAY, price(0)), {one}), (tariff(NIGHT), {one, two})))
    serving = relay.serving
    assert concerned(serving, DAY) == {relay.ders[one]}
    assert concerned(serving, NIGHT) == {relay.ders[one], relay.ders[two]}
    assert serving.tariffs[DAY].followed_from == "utility"
    assert [one.price for one in serving.prices[DAY].values()] == [100]
    restarted, _ = relay.restarted()
    assert (restarted.tariffs, restarted.prices[DAY]) == (serving.tariffs, serving.prices[DAY])
    assert concerned(restarted, DAY) == {relay.ders[one]}


async def test_whom_a_tariff_concerns_follows_what_the_server_shows(relay, keeper, price):
    one, two = relay.lfdis[:2]
    await keeper.take(seen((tariff(DAY, price(0)), {one})))
    group = relay.serving.tariffs[DAY].group
    assert await keeper.take(seen((tariff(DAY, price(0)), {two, relay.lfdis[3]}))) == []
    assert relay.serving.tariffs[DAY].group == group
    assert concerned(relay.serving, DAY) == {relay.ders[two]}


async def test_one_change_is_one_line_of_the_audit_and_a_poll_is_none(relay, keeper, price):
    one = {relay.lfdis[0]}
    shown = seen((tariff(DAY, price(0), price(1)), one))
    await keeper.take(shown)
    commits = relay.serving.commits
    await keeper.take(shown)
    assert relay.serving.commits == commits
    withdrawn = replace(price(1), status=EventStatus.CANCELLED)
    (told,) = await keeper.take(seen((tariff(DAY, price(0), withdrawn), one)))
    assert told.detail["withdrawn"] == 1
    await keeper.take(seen())
    name = f"tariff {DAY}"
    assert lines(relay.serving) == [(name, "followed"), (name, "changed"), (name, "gone")]
    records = relay.serving.store.load(AuditRecord)
    assert faults(records) == []
    assert json.loads(records[-1].detail) == {"channel": "utility", "description": "day", "prices": 2}
    assert records[-1].principal == "utility"


async def test_the_group_of_a_tariff_goes_with_it_and_nobody_is_left_in_it(relay, keeper):
    before = len(relay.serving.groups)
    await keeper.take(seen((tariff(DAY), {relay.lfdis[0]})))
    group = relay.serving.tariffs[DAY].group
    assert len(relay.serving.groups) == before + 1
    await keeper.take(seen())
    for serving in (relay.serving, relay.restarted()[0]):
        assert serving.tariffs == {}
        assert group not in serving.groups
        assert group not in serving.groups_of.get(relay.ders[relay.lfdis[0]], set())
    assert group not in [record.group.id for record in relay.serving.store.load(GroupRecord)]


async def test_a_group_that_has_come_to_be_used_stays(relay, keeper):
    await keeper.take(seen((tariff(DAY), {relay.lfdis[0]})))
    group = relay.serving.tariffs[DAY].group
    operator = relay.levels["OPERATOR"]
    await create_tariff(operator, relay.serving, NewTariff(description="own", currency=978, group=group))
    await keeper.take(seen())
    assert group in relay.serving.groups
    assert relay.serving.members_of[group] == {relay.ders[relay.lfdis[0]]}


async def test_a_tariff_of_this_node_is_not_the_servers_to_change(relay, keeper):
    operator = relay.levels["OPERATOR"]
    own = await create_tariff(operator, relay.serving, NewTariff(description="own", currency=978))
    (told,) = await keeper.take(seen((tariff(own.mrid), set(relay.lfdis))))
    assert (told.outcome, relay.serving.tariffs[own.mrid]) == ("refused", own)
    assert lines(relay.serving) == [(f"tariff {own.mrid}", "refused")]
    assert await keeper.take(seen((tariff(own.mrid), set(relay.lfdis)))) == []


async def test_what_is_refused_is_told_once_in_all_lives(relay, keeper, above):
    shown = seen(refused={"rate component X": "gas"})
    await keeper.take(shown)
    await keeper.take(shown)
    serving, relayed = relay.restarted()
    assert await HandedOnPrices(above, serving, "utility", relayed=relayed).take(shown) == []
    assert lines(serving) == [("rate component X", "refused")]


async def test_without_a_relay_or_a_fleet_everybody_is_concerned(relay, above, price):
    keeper = HandedOnPrices(above, relay.serving, "utility")
    await keeper.take(seen((tariff(DAY, price(0)), ())))
    assert relay.serving.tariffs[DAY].group is None
    assert not any("tariff" in record.group.name for record in relay.serving.groups.values())


async def test_what_a_market_shows_to_a_fleet_concerns_all_of_it(relay, above, price):
    keeper = HandedOnPrices(above, relay.serving, "utility", fleet="pool")
    with pytest.raises(LinkError, match="was not made yet"):
        await keeper.take(seen((tariff(DAY), ())))
    pool = await create_group(relay.levels["OPERATOR"], relay.serving, "pool", everybody=True)
    await keeper.take(seen((tariff(DAY, price(0)), ())))
    assert relay.serving.tariffs[DAY].group == pool.group.id
    await keeper.take(seen())
    assert pool.group.id in relay.serving.groups
    assert len(relay.serving.members_of[pool.group.id]) == 2


async def test_what_a_channel_brought_goes_when_it_is_followed_no_more(relay, keeper, price):
    await keeper.take(seen((tariff(DAY, price(0)), {relay.lfdis[0]})))
    operator = relay.levels["OPERATOR"]
    own = await create_tariff(operator, relay.serving, NewTariff(description="own", currency=978))
    assert await keep_only(operator, relay.serving, {"utility"}) == []
    (told,) = await keep_only(operator, relay.serving, set())
    assert (told.what, told.outcome) == (f"tariff {DAY}", "gone")
    assert list(relay.serving.tariffs) == [own.mrid]


async def test_who_is_served_elsewhere_is_not_concerned_here(relay, keeper):
    one, two = relay.lfdis[:2]
    relay.relayed.elsewhere = frozenset({relay.ders[two]})
    await keeper.take(seen((tariff(DAY), {one, two})))
    assert concerned(relay.serving, DAY) == {relay.ders[one]}


class Other:
    """A second channel, at which this node stands for another DER, and for one that is listed at both."""

    def __init__(self, relay):
        self.serving, self.lfdis = relay.serving, relay.lfdis
        self.relayed = Relayed(channel="other", members={lfdi: relay.ders[lfdi] for lfdi in relay.lfdis[:2]})

    def seen(self, *shown):
        return replace(seen(*shown), channel="other")


async def test_a_tariff_that_comes_by_two_channels_is_for_those_of_both_and_told_once(relay, above, price):
    other, shown = Other(relay), Shown()
    first = HandedOnPrices(above, relay.serving, "utility", relayed=relay.relayed, shown=shown)
    second = HandedOnPrices(above, relay.serving, "other", relayed=other.relayed, shown=shown)
    one, two = relay.lfdis[:2]
    await first.take(seen((tariff(DAY, price(0)), {one})))
    assert await second.take(other.seen((tariff(DAY, price(0)), {two}))) == []
    assert concerned(relay.serving, DAY) == {relay.ders[one], relay.ders[two]}
    await first.take(seen((tariff(DAY, price(0)), {one})))
    assert concerned(relay.serving, DAY) == {relay.ders[one], relay.ders[two]}
    assert relay.serving.tariffs[DAY].followed_from == "utility"
    await second.take(other.seen())
    assert concerned(relay.serving, DAY) == {relay.ders[one]}
    await first.take(seen())
    assert DAY not in relay.serving.tariffs


async def test_nobody_is_let_go_before_all_were_read_that_may_show_him_a_tariff(relay, above, price):
    other, shown = Other(relay), Shown()
    first = HandedOnPrices(above, relay.serving, "utility", relayed=relay.relayed, shown=shown)
    second = HandedOnPrices(above, relay.serving, "other", relayed=other.relayed, shown=shown)
    one = relay.lfdis[0]
    await first.take(seen((tariff(DAY, price(0)), {one})))
    await first.take(seen((tariff(DAY, price(0)), ())))
    assert concerned(relay.serving, DAY) == {relay.ders[one]}
    await second.take(other.seen())
    await first.take(seen((tariff(DAY, price(0)), ())))
    assert concerned(relay.serving, DAY) == set()


async def test_a_tariff_that_concerned_everybody_concerns_those_to_whom_it_is_relayed_now(relay, above, price):
    await HandedOnPrices(above, relay.serving, "utility").take(seen((tariff(DAY, price(0)), ())))
    keeper = HandedOnPrices(above, relay.serving, "utility", relayed=relay.relayed)
    (told,) = await keeper.take(seen((tariff(DAY, price(0)), {relay.lfdis[0]})))
    assert told.outcome == "changed"
    assert concerned(relay.serving, DAY) == {relay.ders[relay.lfdis[0]]}


async def test_the_group_of_a_tariff_is_the_servers_and_no_operators(relay, keeper):
    await keeper.take(seen((tariff(DAY), {relay.lfdis[0]})))
    operator, group = relay.levels["OPERATOR"], relay.serving.tariffs[DAY].group
    with pytest.raises(ConfigError, match="only that server changes it"):
        await add_members(operator, relay.serving, group, [relay.ders[relay.lfdis[1]]])
    device = relay.serving.devices[relay.ders[relay.lfdis[0]]]
    await relay.serving.commit([replace(device, pin=5)])
    assert concerned(relay.serving, DAY) == {device.der_id}
