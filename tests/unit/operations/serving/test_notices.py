from dataclasses import replace
from datetime import timedelta

import pytest

from tierline.model.errors import LinkError
from tierline.model.identity import Lfdi
from tierline.model.parties import Principal, Role
from tierline.model.records import NoticeRecord, SubscriptionRecord
from tierline.operations.serving import registry
from tierline.operations.serving.notices import GIVEN_UP_AFTER, REFUSALS, Outbox
from tierline.operations.serving.subscriptions import KEPT_FOR


@pytest.fixture
def outbox(serving, subscribing):
    who = Principal(party=serving.party, role=Role.SELF, name="utility")
    return Outbox(who, serving, subscribing.all)


@pytest.fixture
async def pending(subscribing, serving, der):
    """A subscription of pv-1 to the list of EndDevices, with a notice."""
    record = await subscribing.subscribe(der("pv-1"), "end_devices")
    await subscribing.touch("pv-1")
    return lambda: serving.notices.get(record.subscription_id)


def key(serving):
    return next(iter(serving.subscriptions))


async def test_a_notice_is_found_with_its_subscription(outbox, pending, serving):
    assert outbox.find(key(serving)) == (pending(), serving.subscriptions[key(serving)])
    assert outbox.find("nonsense") is None


async def test_a_notice_that_arrived_is_gone(outbox, pending, serving, subscribing):
    await outbox.delivered(pending())
    assert pending() is None
    assert serving.store.load(NoticeRecord) == []
    assert len(serving.subscriptions) == 1
    assert subscribing.all.newest == {}


async def test_what_changed_while_a_notice_was_under_way_is_told_again(outbox, pending, subscribing, clock):
    sent = pending()
    clock.move(seconds=5)
    await subscribing.touch("pv-1")
    await outbox.delivered(sent)
    again = pending()
    assert (again.attempts, again.since, again.next_at) == (0, clock.now(), clock.now())
    await outbox.delivered(again)
    assert pending() is None


async def test_a_change_that_is_being_written_is_not_lost_to_a_notice_that_just_arrived(
    outbox, pending, subscribing, serving
):
    """The change is computed before its notice is taken over: in between the older notice arrives."""
    sent = pending()
    (coming,) = subscribing.all.consequence([replace(registry.find_device(serving, "pv-1"), device_category=9)], [])
    await outbox.delivered(sent)
    assert coming.subscription_id in serving.notices
    await outbox.delivered(pending())
    assert pending() is None


async def test_a_change_that_was_refused_by_the_disk_is_told_at_most_once_too_often(
    outbox, pending, subscribing, serving
):
    real = serving.store

    class Full:
        async def commit(self, put=(), delete=()):
            raise LinkError("no space left")

    serving.store = Full()
    with pytest.raises(LinkError):
        await subscribing.touch("pv-1")
    with pytest.raises(LinkError):
        await outbox.delivered(pending())
    serving.store = real
    await outbox.delivered(pending())
    await outbox.delivered(pending())
    assert pending() is None


async def test_after_a_restart_a_notice_is_delivered_as_before(pending, subscribing, serving, restarted):
    subscribing.restart(restarted())
    serving = subscribing.serving
    again = Outbox(Principal(party=serving.party, role=Role.SELF, name="utility"), serving, subscribing.all)
    await again.delivered(serving.notices[key(serving)])
    assert serving.notices == {}


async def test_pauses_double_up_to_five_minutes(outbox, pending, clock):
    pauses = []
    for _ in range(8):
        again_at = await outbox.failed(pending(), "no connection")
        assert pending().next_at == again_at
        pauses.append((again_at - clock.now()).total_seconds())
        clock.move(seconds=pauses[-1])
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert pending().attempts == 8


async def test_who_cannot_be_told_for_a_day_loses_the_subscription(outbox, pending, serving, clock):
    assert await outbox.failed(pending(), "no connection") is not None
    clock.move(seconds=GIVEN_UP_AFTER.total_seconds())
    assert await outbox.failed(pending(), "no connection") is not None
    clock.move(seconds=1)
    assert await outbox.failed(pending(), "no connection") is None
    assert (serving.subscriptions, serving.notices) == ({}, {})
    assert "no connection" in serving.audit_tail.detail


async def test_a_refused_notice_is_gone_and_many_in_a_row_end_the_subscription(outbox, pending, subscribing, serving):
    for number in range(1, REFUSALS + 1):
        assert await outbox.refused(pending(), "400") is (number == REFUSALS)
        assert pending() is None
        assert len(serving.subscriptions) == (number < REFUSALS)
        await subscribing.touch("pv-1")
    assert "refused: 400" in serving.audit_tail.detail


async def test_a_notice_that_is_taken_makes_earlier_refusals_forgotten(outbox, pending, subscribing, serving):
    for _ in range(REFUSALS):
        await outbox.refused(pending(), "400")
        await subscribing.touch("pv-1")
        await outbox.delivered(pending())
        await subscribing.touch("pv-1")
    assert len(serving.subscriptions) == 1


async def test_a_subscription_that_was_cancelled_meanwhile_stays_cancelled(outbox, pending, subscribing, serving, der):
    sent = pending()
    await subscribing.all.cancel(subscribing.principal(der("pv-1")), sent.subscription_id)
    await outbox.delivered(sent)
    await outbox.end(sent, "gone")
    assert (serving.subscriptions, serving.notices) == ({}, {})


async def test_what_was_not_renewed_is_tidied_away_and_notices_without_subscription_too(
    outbox, pending, subscribing, serving, der, clock
):
    clock.move(seconds=KEPT_FOR.total_seconds() + 1)
    kept = await subscribing.subscribe(der("pv-2"), "end_devices")
    orphan = replace(pending(), subscription_id="orphan")
    await serving.commit([orphan])
    commits = serving.commits
    await outbox.tidy()
    assert serving.store.load(SubscriptionRecord) == [kept]
    assert serving.store.load(NoticeRecord) == []
    assert "not renewed in time" in serving.audit_tail.detail
    assert serving.commits == commits + 2
    await outbox.tidy()
    assert serving.commits == commits + 2


async def test_a_listener_is_the_subscriber_or_of_the_same_party(outbox, subscribing, serving, operator, der):
    agg = await subscribing.aggregator(members=["pv-2"])
    spare = await subscribing.aggregator(lfdi="AB")
    other = await subscribing.aggregator("dim", "BB", members=["pv-3"])
    own = await subscribing.subscribe(agg, "end_devices")
    lone = await subscribing.subscribe(der("pv-1"), "end_devices")

    def may(record, device):
        return outbox.may_hear(record, serving.lfdi_of[device.der_id])

    assert [may(own, device) for device in (agg, spare, der("pv-2"))] == [True] * 3
    assert [may(own, device) for device in (other, der("pv-1"), der("pv-3"))] == [False] * 3
    assert may(lone, der("pv-1"))
    assert not any(may(lone, device) for device in (agg, der("pv-2")))
    assert not outbox.may_hear(lone, Lfdi("EE" * 20))
    lfdi = serving.lfdi_of[der("pv-2").der_id]
    await registry.enable(operator, serving, "pv-2", enabled=False)
    assert not outbox.may_hear(own, lfdi)


async def test_who_is_shut_out_is_no_recipient(outbox, pending, serving, operator, der, clock):
    record = serving.subscriptions[key(serving)]
    assert outbox.recipient(record) == der("pv-1")
    lfdi = serving.lfdi_of[record.der_id]
    await registry.enable(operator, serving, "pv-1", enabled=False)
    assert outbox.recipient(record) is None
    assert not outbox.may_hear(record, lfdi)
    await registry.enable(operator, serving, "pv-1", enabled=True)
    await serving.commit([replace(serving.identities[lfdi], valid_to=clock.now() + timedelta(seconds=1))])
    assert outbox.recipient(record) is None
