import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tierline.model.errors import Forbidden, LinkError, PeerError, Unsupported
from tierline.model.parties import Principal, Role
from tierline.model.records import AuditRecord, NoticeStatus, SubscriptionRecord
from tierline.operations.serving import subscriptions
from tierline.operations.serving.audit import faults
from tierline.operations.serving.subscriptions import KEPT_FOR, PER_DER, TooMany, Wish, is_expired

ELSEWHERE = "https://93.184.216.35/told"


async def test_a_subscription_is_kept_and_audited(subscribing, serving, der, clock):
    device = der("pv-1")
    record = await subscribing.subscribe(device, "end_devices", limit=7)
    assert serving.store.load(SubscriptionRecord) == [record]
    assert subscribing.all.of(device.der_id) == [record]
    assert (record.der_id, record.resource, record.limit) == (device.der_id, "end_devices", 7)
    assert (record.created_at, record.renewed_at) == (clock.now(), clock.now())
    assert (serving.audit_tail.verb, serving.audit_tail.resource) == ("subscribe", f"device {device.der_id}")
    assert ELSEWHERE.replace("35", "34") in serving.audit_tail.detail


async def test_the_same_again_renews_and_is_not_doubled(subscribing, serving, der, clock):
    first = await subscribing.subscribe(der("pv-1"), "end_devices", limit=7)
    clock.move(hours=24)
    again = await subscribing.subscribe(der("pv-1"), "end_devices", limit=0, level="-S1")
    assert again == replace(first, limit=0, level="-S1", renewed_at=clock.now())
    assert serving.subscriptions == {first.subscription_id: again}


async def test_a_renewal_at_the_same_instant_can_be_told_from_a_beginning(subscribing, der):
    await subscribing.subscribe(der("pv-1"), "end_devices")
    again = await subscribing.subscribe(der("pv-1"), "end_devices")
    assert again.created_at < again.renewed_at


async def test_another_listener_or_resource_or_device_is_another_subscription(subscribing, serving, der):
    await subscribing.subscribe(der("pv-1"), "end_devices")
    await subscribing.subscribe(der("pv-1"), "end_devices", ELSEWHERE)
    await subscribing.subscribe(der("pv-1"), f"end_device/{der('pv-1').der_id}")
    await subscribing.subscribe(der("pv-2"), "end_devices")
    assert len(serving.subscriptions) == 4
    ids = [record.subscription_id for record in subscribing.all.of(der("pv-1").der_id)]
    assert ids == sorted(ids)
    assert len(ids) == 3


async def test_nobody_subscribes_for_another(subscribing, der):
    who = subscribing.principal(der("pv-1"))
    wish = Wish(resource="end_devices", notification_uri=ELSEWHERE)
    with pytest.raises(Forbidden):
        await subscribing.all.subscribe(who, der("pv-2").der_id, wish)


async def test_who_stands_for_others_subscribes_under_its_own_entry(subscribing, der):
    aggregator = await subscribing.aggregator(members=["pv-1"])
    wish = Wish(resource="end_devices", notification_uri=ELSEWHERE)
    with pytest.raises(Forbidden, match="under its own EndDevice"):
        await subscribing.all.subscribe(subscribing.principal(aggregator), der("pv-1").der_id, wish)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"lower": 1, "upper": 2}, Unsupported),
        ({"lower": 1}, PeerError),
        ({"upper": 1}, PeerError),
        ({"lower": 2, "upper": 1}, PeerError),
        ({"encoding": 1}, Unsupported),
        ({"encoding": 2}, PeerError),
        ({"level": "+S2"}, Unsupported),
        ({"level": ""}, Unsupported),
        ({"limit": -1}, PeerError),
        ({"limit": 2**32}, PeerError),
        ({"uri": "http://listener.example/"}, PeerError),
        ({"uri": "https://10.0.0.1/"}, Forbidden),
        ({"uri": "https://unknown.example/"}, PeerError),
        ({"uri": "https://hidden.example/"}, Forbidden),
    ],
)
async def test_what_cannot_be_kept_is_refused(subscribing, serving, der, more, error):
    subscribing.names["hidden.example"] = ("93.184.216.34", "127.0.0.1")
    with pytest.raises(error):
        await subscribing.subscribe(der("pv-1"), "end_devices", **more)
    assert serving.subscriptions == {}


async def test_what_is_not_there_and_what_is_not_seen_are_refused_alike(subscribing, serving, der):
    other = der("pv-2").der_id
    unseen = [f"{kind}/{other}" for kind in ("end_device", "assignments", "programs")]
    unseen += [f"{kind}/{subscribing.program('feeder-2')}" for kind in ("program", "controls", "default")]
    faults = set()
    for path in [*unseen, "nonsense", "controls/" + "0" * 32, "end_device/nobody"]:
        with pytest.raises(PeerError, match="cannot be subscribed to") as fault:
            await subscribing.subscribe(der("pv-1"), path)
        faults.add(str(fault.value).replace(path, ""))
    assert len(faults) == 1
    assert serving.subscriptions == {}


async def test_what_is_ones_own_can_be_subscribed_to(subscribing, der):
    own = der("pv-1")
    for kind in ("end_device", "assignments", "programs"):
        await subscribing.subscribe(own, f"{kind}/{own.der_id}")
    for kind in ("program", "controls", "default"):
        await subscribing.subscribe(own, f"{kind}/{subscribing.program('feeder-1')}")
    assert len(subscribing.all.of(own.der_id)) == 6


async def test_who_stands_for_others_sees_what_they_see_and_is_assigned_nothing_itself(subscribing, der):
    aggregator = await subscribing.aggregator(members=["pv-1"])
    for kind in ("end_device", "assignments", "programs"):
        await subscribing.subscribe(aggregator, f"{kind}/{der('pv-1').der_id}")
    await subscribing.subscribe(aggregator, f"controls/{subscribing.program('feeder-1')}")
    await subscribing.subscribe(aggregator, f"end_device/{aggregator.der_id}")
    for path in (f"assignments/{aggregator.der_id}", f"controls/{subscribing.program('feeder-2')}"):
        with pytest.raises(PeerError):
            await subscribing.subscribe(aggregator, path)


async def test_one_device_holds_so_many_and_no_more(subscribing, serving, der, monkeypatch):
    monkeypatch.setattr(subscriptions, "PER_DER", 2)
    for uri in (ELSEWHERE, ELSEWHERE + "/2"):
        await subscribing.subscribe(der("pv-1"), "end_devices", uri)
    with pytest.raises(TooMany, match="2 subscriptions"):
        await subscribing.subscribe(der("pv-1"), "end_devices", ELSEWHERE + "/3")
    await subscribing.subscribe(der("pv-1"), "end_devices", ELSEWHERE)
    await subscribing.subscribe(der("pv-2"), "end_devices")
    assert len(serving.subscriptions) == 3


async def test_who_stands_for_others_holds_as_many_for_each(subscribing, monkeypatch):
    monkeypatch.setattr(subscriptions, "PER_DER", 2)
    aggregator = await subscribing.aggregator(members=["pv-1"])
    for number in range(4):
        await subscribing.subscribe(aggregator, "end_devices", f"{ELSEWHERE}/{number}")
    with pytest.raises(TooMany):
        await subscribing.subscribe(aggregator, "end_devices", ELSEWHERE)


def test_there_is_room_for_15_programs():
    assert PER_DER >= 3 * 15 + 15 + 2


async def at_once(serving, *works):
    """Begin works while somebody else is writing; gives them once all wait for that."""
    async with serving.writing:
        tasks = [asyncio.ensure_future(work) for work in works]
        for _ in range(5):
            await asyncio.sleep(0)
    return tasks


async def test_wishes_that_wait_are_granted_in_one_transaction_each_with_its_audit(subscribing, serving, der):
    aggregator = await subscribing.aggregator(members=["pv-1", "pv-2"])
    paths = [f"{kind}/{der(name).der_id}" for kind in ("assignments", "programs") for name in ("pv-1", "pv-2")]
    before, links = serving.commits, len(serving.store.load(AuditRecord))
    tasks = await at_once(serving, *(subscribing.subscribe(aggregator, path) for path in paths))
    records = await asyncio.gather(*tasks)
    assert [record.resource for record in records] == paths
    assert serving.commits == before + 1
    chain = serving.store.load(AuditRecord)
    assert len(chain) == links + len(paths)
    assert faults(chain) == []
    assert serving.audit_tail == chain[-1]


async def test_no_transaction_holds_more_wishes_than_may_be_granted_together(subscribing, serving, der, monkeypatch):
    monkeypatch.setattr(subscriptions, "_TOGETHER", 2)
    before = serving.commits
    works = (subscribing.subscribe(der("pv-1"), "end_devices", f"{ELSEWHERE}/{number}") for number in range(5))
    await asyncio.gather(*await at_once(serving, *works))
    assert (len(serving.subscriptions), serving.commits) == (5, before + 3)


async def test_a_wish_that_is_refused_spoils_no_other_of_its_transaction(subscribing, serving, der, monkeypatch):
    monkeypatch.setattr(subscriptions, "PER_DER", 2)
    uris = [f"{ELSEWHERE}/{number}" for number in range(4)]
    works = [subscribing.subscribe(der("pv-1"), "end_devices", uri) for uri in uris]
    works.append(subscribing.subscribe(der("pv-2"), "end_devices"))
    before = serving.commits
    outcomes = await asyncio.gather(*await at_once(serving, *works), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SubscriptionRecord] * 2 + [TooMany] * 2 + [SubscriptionRecord]
    assert (len(serving.subscriptions), serving.commits) == (3, before + 1)


async def test_who_lost_its_right_while_it_waited_is_refused(subscribing, serving, der):
    async with serving.writing:
        device = der("pv-1")
        waiting = asyncio.ensure_future(subscribing.subscribe(device, "end_devices"))
        await asyncio.sleep(0)
        await serving.commit([replace(device, enabled=False)])
    with pytest.raises(Forbidden):
        await waiting
    assert serving.subscriptions == {}


async def test_the_same_wish_twice_at_once_is_kept_once_and_renewed(subscribing, serving, der):
    works = (subscribing.subscribe(der("pv-1"), "end_devices") for _ in range(3))
    first, *again = await asyncio.gather(*await at_once(serving, *works))
    assert first.created_at == first.renewed_at
    assert all(record.created_at < record.renewed_at for record in again)
    assert {record.subscription_id for record in again} == {first.subscription_id} == set(serving.subscriptions)
    assert [record.verb for record in serving.store.load(AuditRecord)].count("subscribe") == 1


async def test_what_was_kept_while_a_wish_waited_is_renewed_without_audit(subscribing, serving, der):
    async with serving.writing:
        waiting = asyncio.ensure_future(subscribing.subscribe(der("pv-1"), "end_devices"))
        await asyncio.sleep(0)
        now = serving.clock.now()
        known = SubscriptionRecord(
            party=serving.party,
            subscription_id="aaaa",
            der_id=der("pv-1").der_id,
            resource="end_devices",
            notification_uri="https://93.184.216.34/told",
            encoding=0,
            level="+S1",
            limit=0,
            created_at=now,
            renewed_at=now,
        )
        await serving.commit([known])
    assert (await waiting).subscription_id == "aaaa"
    assert "subscribe" not in [record.verb for record in serving.store.load(AuditRecord)]


async def test_a_store_that_refuses_refuses_all_that_wait_and_keeps_none(subscribing, serving, der, full_disk):
    works = (subscribing.subscribe(der("pv-1"), "end_devices", f"{ELSEWHERE}/{number}") for number in range(3))
    tasks = await at_once(serving, *works)
    full_disk()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LinkError] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    assert serving.subscriptions == {}


async def test_who_gives_up_while_others_wait_takes_nobody_along(subscribing, serving, der):
    works = (subscribing.subscribe(der("pv-1"), "end_devices", f"{ELSEWHERE}/{number}") for number in range(3))
    async with serving.writing:
        first, *others = [asyncio.ensure_future(work) for work in works]
        await asyncio.sleep(0)
        first.cancel()
    records = await asyncio.gather(*others)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert {record.subscription_id for record in records} == set(serving.subscriptions)


async def test_a_cancelled_subscription_is_gone_with_its_notice(subscribing, serving, der):
    record = await subscribing.subscribe(der("pv-1"), "end_devices")
    await subscribing.touch("pv-1")
    assert serving.notices
    await subscribing.all.cancel(subscribing.principal(der("pv-1")), record.subscription_id)
    assert (serving.subscriptions, serving.notices) == ({}, {})
    assert serving.store.load(SubscriptionRecord) == []
    assert serving.audit_tail.verb == "unsubscribe"
    assert await subscribing.told_of(subscribing.touch("pv-1")) == set()
    assert (await subscribing.subscribe(der("pv-1"), "end_devices")).subscription_id != record.subscription_id


async def test_nobody_cancels_what_is_anothers_or_nobodys(subscribing, serving, der):
    record = await subscribing.subscribe(der("pv-1"), "end_devices")
    for who, name in ((der("pv-2"), record.subscription_id), (der("pv-1"), "nonsense")):
        with pytest.raises(Forbidden):
            await subscribing.all.cancel(subscribing.principal(who), name)
    assert len(serving.subscriptions) == 1


async def test_the_node_drops_what_it_must_and_says_why(subscribing, serving, der):
    record = await subscribing.subscribe(der("pv-1"), "end_devices")
    who = Principal(party=serving.party, role=Role.SELF, name="utility")
    with pytest.raises(Forbidden):
        await subscribing.all.drop(subscribing.principal(der("pv-1")), [record], "no reason")
    await subscribing.all.drop(who, [record], "not renewed")
    assert serving.subscriptions == {}
    assert "not renewed" in serving.audit_tail.detail
    count = len(serving.store.load(AuditRecord))
    await subscribing.all.drop(who, [record], "not renewed")
    assert len(serving.store.load(AuditRecord)) == count


async def test_a_full_disk_keeps_nothing_and_says_so(subscribing, serving, der, full_disk):
    full_disk()
    with pytest.raises(LinkError):
        await subscribing.subscribe(der("pv-1"), "end_devices")
    assert serving.subscriptions == {}
    assert subscribing.all.of(der("pv-1").der_id) == []


async def test_subscriptions_and_their_notices_outlive_a_restart(subscribing, serving, der, restarted):
    record = await subscribing.subscribe(der("pv-1"), "end_devices")
    await subscribing.touch("pv-1")
    subscribing.restart(restarted())
    assert subscribing.all.of(record.der_id) == [record]
    assert subscribing.all.take_fresh() == [record.subscription_id]
    again = subscribing.touch("pv-1")
    assert await subscribing.told_of(again) == {record.subscription_id}


async def test_a_subscription_that_is_not_renewed_ends(subscribing, serving, der, clock):
    record = await subscribing.subscribe(der("pv-1"), "end_devices")
    clock.move(seconds=KEPT_FOR.total_seconds())
    assert subscribing.all.expired(clock.now()) == []
    clock.move(seconds=1)
    assert subscribing.all.expired(clock.now()) == [record]
    assert is_expired(record, clock.now())
    assert await subscribing.told_of(subscribing.touch("pv-1")) == set()


async def test_many_changes_make_one_notice_that_tells_since_when(subscribing, serving, der, clock):
    record = await subscribing.subscribe(der("pv-1"), "end_devices")
    since = clock.now()
    await subscribing.touch("pv-1")
    waiting = replace(serving.notices[record.subscription_id], attempts=3, next_at=since + timedelta(minutes=5))
    await serving.commit([waiting])
    clock.move(minutes=1)
    await subscribing.touch("pv-1")
    (notice,) = serving.notices.values()
    assert (notice.status, notice.since) == (NoticeStatus.CHANGED, since)
    assert (notice.attempts, notice.next_at) == (3, since + timedelta(minutes=5))


async def test_a_notice_is_in_the_transaction_of_its_change(subscribing, serving, der, full_disk):
    await subscribing.subscribe(der("pv-1"), "end_devices")
    subscribing.all.news.clear()
    commits = serving.commits
    await subscribing.touch("pv-1")
    assert serving.commits == commits + 1
    assert len(serving.notices) == 1
    assert subscribing.all.news.is_set()
    full_disk()
    subscribing.all.news.clear()
    with pytest.raises(LinkError):
        await subscribing.touch("pv-1")
    assert not subscribing.all.news.is_set()
