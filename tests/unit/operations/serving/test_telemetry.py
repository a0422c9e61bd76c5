import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.errors import Conflict, Forbidden, LinkError, PeerError
from tierline.model.identity import DerId, Mrid
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.model.records import DerInfoKind, MirrorUsagePointRecord, ReadingRecord, ResponseRecord
from tierline.model.telemetry import Phase, Reading
from tierline.operations.serving import registry, telemetry

MRID = Mrid("A" * 32)


@pytest.fixture
def device(serving, der):
    """The principal of a device's certificate."""

    def principal(point):
        lfdi = serving.lfdi_of[der(point).der_id]
        return Principal(party=serving.party, role=Role.DEVICE, name=lfdi, lfdi=lfdi)

    return principal


@pytest.fixture
async def control(send, later):
    return await send("feeder-1", start=later(hours=1), max_lim_w_pct=Decimal(50))


async def answer(serving, device, der, mrid, status=ResponseStatus.RECEIVED):
    now = serving.clock.now()
    return await telemetry.record_response(device("pv-1"), serving, der("pv-1").der_id, mrid, status, now)


async def test_a_response_is_kept_and_there_after_a_restart(serving, device, der, control, restarted):
    record = await answer(serving, device, der, control.mrid)
    for state in (serving, restarted()):
        assert state.responses[control.mrid] == {(der("pv-1").der_id, 1): record}
        assert state.responses_of[der("pv-1").der_id] == {(control.mrid, 1): record}


async def test_the_same_response_again_changes_nothing(serving, device, der, control, clock):
    record = await answer(serving, device, der, control.mrid)
    commits = serving.commits
    clock.move(hours=1)
    assert await answer(serving, device, der, control.mrid) == record
    assert serving.commits == commits


async def test_a_response_to_an_event_nobody_knows_is_refused(serving, device, der):
    with pytest.raises(PeerError, match="Response/subject: there is no event ABC"):
        await answer(serving, device, der, Mrid("ABC"))


async def test_a_full_disk_acknowledges_no_response(serving, device, der, control, full_disk):
    full_disk()
    with pytest.raises(LinkError):
        await answer(serving, device, der, control.mrid)
    assert not serving.responses.get(control.mrid)


async def twice_at_once(serving, device, der, control, *, refusals):
    """Let the same Response come twice while the store takes its time over the first; give (outcomes, commits tried)."""
    commit, tried = serving.store.commit, []

    async def slow(put=(), delete=()):
        tried.append(put)
        await asyncio.sleep(0)
        if len(tried) <= refusals:
            raise LinkError("the disk is full")
        await commit(put, delete)

    serving.store.commit = slow
    both = (answer(serving, device, der, control.mrid) for _ in range(2))
    return await asyncio.gather(*both, return_exceptions=True), len(tried)


async def test_a_response_that_comes_again_while_it_is_written_down_is_written_once(serving, device, der, control):
    outcomes, tried = await twice_at_once(serving, device, der, control, refusals=0)
    assert outcomes[0] == outcomes[1] == serving.responses[control.mrid][der("pv-1").der_id, 1]
    assert tried == 1
    assert not serving.arriving


async def test_a_response_that_comes_again_is_written_down_when_its_first_copy_was_not(serving, device, der, control):
    outcomes, tried = await twice_at_once(serving, device, der, control, refusals=1)
    assert isinstance(outcomes[0], LinkError)
    assert outcomes[1] == serving.responses[control.mrid][der("pv-1").der_id, 1]
    assert tried == 2


async def test_nobody_speaks_for_another(serving, device, der, control):
    other = der("pv-2").der_id
    now = serving.clock.now()
    one = device("pv-1")
    with pytest.raises(Forbidden):
        await telemetry.record_response(one, serving, other, control.mrid, ResponseStatus.RECEIVED, now)
    with pytest.raises(Forbidden):
        await telemetry.record_readings(one, serving, other, [])
    with pytest.raises(Forbidden):
        await telemetry.put_info(one, serving, other, DerInfoKind.STATUS, b"")
    with pytest.raises(Forbidden):
        await telemetry.put_mirror(one, serving, other, MRID, b"")
    with pytest.raises(Forbidden):
        await telemetry.put_info(one, serving, DerId("nobody"), DerInfoKind.STATUS, b"")


def reading(der, clock, value=1, **changes):
    base = Reading(der_id=der("pv-1").der_id, point="w", value=value, power_of_ten=0, time=clock.now())
    return replace(base, **changes)


async def test_a_reading_at_one_time_is_kept_once(serving, device, der, clock):
    for value in (1, 2):
        await telemetry.record_readings(
            device("pv-1"), serving, der("pv-1").der_id, [(MRID, reading(der, clock, value))]
        )
    assert [record.reading.value for record in serving.store.load(ReadingRecord)] == [2]


async def test_the_latest_reading_is_that_of_the_newest_time(serving, device, der, clock):
    new = reading(der, clock, 2)
    old = reading(der, clock, 1, time=clock.now().replace(year=2025))
    other = reading(der, clock, 3, phase=Phase.A)
    pairs = [(MRID, new), (MRID, old), (Mrid("B" * 32), other)]
    await telemetry.record_readings(device("pv-1"), serving, der("pv-1").der_id, pairs)
    latest = {key[1:]: record.reading.value for key, record in serving.latest.items()}
    assert latest == {("w", 0): 2, ("w", 128): 3}


async def test_the_last_readings_are_held_across_a_restart_and_not_those_of_who_is_shut_out(
    serving, operator, device, der, clock, restarted
):
    pv = der("pv-1").der_id
    await telemetry.record_readings(device("pv-1"), serving, pv, [(MRID, reading(der, clock))])
    for state in (serving, restarted()):
        assert [kept.value for kept in state.tails.of(pv, MRID)] == [1]
    await registry.enable(operator, serving, pv, enabled=False)
    assert serving.tails.of(pv, MRID) == ()


async def test_what_a_der_says_of_itself_replaces_what_it_said(serving, device, der, restarted):
    for document in (b"<a/>", b"<b/>"):
        await telemetry.put_info(device("pv-1"), serving, der("pv-1").der_id, DerInfoKind.STATUS, document)
    for state in (serving, restarted()):
        (info,) = state.infos.values()
        assert info.document == b"<b/>"


async def test_a_mirror_keeps_its_place_when_it_is_put_again(serving, device, der, restarted):
    record, is_new = await telemetry.put_mirror(device("pv-1"), serving, der("pv-1").der_id, MRID, b"<a/>")
    assert is_new
    for state in (serving, restarted()):
        again, is_new = await telemetry.put_mirror(device("pv-1"), state, der("pv-1").der_id, MRID, b"<b/>")
        assert not is_new
        assert again.mup_id == record.mup_id
        assert state.mirrors[record.mup_id].document == b"<b/>"
        assert list(state.mirrors_of[der("pv-1").der_id]) == [record.mup_id]


async def test_a_mirror_sent_twice_at_the_same_time_gets_one_place(serving, device, der, restarted):
    """A client that lost patience sends again while the first request still waits for the disk."""

    async def slow(put=(), delete=()):
        await asyncio.sleep(0)
        await commit(put, delete)

    commit, serving.store.commit = serving.store.commit, slow
    made = await asyncio.gather(*(
        telemetry.put_mirror(device("pv-1"), serving, der("pv-1").der_id, MRID, b"<a/>") for _ in range(2)
    ))  # fmt: skip
    assert len({record.mup_id for record, _ in made}) == 1
    assert len(serving.store.load(MirrorUsagePointRecord)) == len(serving.mirrors) == 1
    assert restarted().mirrors == serving.mirrors


async def test_a_mirror_the_disk_refused_can_be_sent_again(serving, device, der, full_disk):
    store = serving.store
    full_disk()
    with pytest.raises(LinkError):
        await telemetry.put_mirror(device("pv-1"), serving, der("pv-1").der_id, MRID, b"<a/>")
    assert serving.mirrors == {}
    serving.store = store
    _, is_new = await telemetry.put_mirror(device("pv-1"), serving, der("pv-1").der_id, MRID, b"<a/>")
    assert is_new


async def test_the_mrid_of_another_s_mirror_is_a_conflict(serving, device, der):
    await telemetry.put_mirror(device("pv-1"), serving, der("pv-1").der_id, MRID, b"<a/>")
    with pytest.raises(Conflict, match="is taken"):
        await telemetry.put_mirror(device("pv-2"), serving, der("pv-2").der_id, MRID, b"<b/>")


async def test_a_mirror_that_was_dropped_is_gone_and_its_readings_stay(serving, device, der, clock, restarted):
    record, _ = await telemetry.put_mirror(device("pv-1"), serving, der("pv-1").der_id, MRID, b"<a/>")
    await telemetry.record_readings(device("pv-1"), serving, der("pv-1").der_id, [(MRID, reading(der, clock))])
    with pytest.raises(Forbidden):
        await telemetry.drop_mirror(device("pv-2"), serving, record.mup_id)
    await telemetry.drop_mirror(device("pv-1"), serving, record.mup_id)
    for state in (serving, restarted()):
        assert state.mirrors == {}
    assert serving.mirror_of == serving.mirror_claims == {}
    assert len(serving.store.load(ReadingRecord)) == 1
    with pytest.raises(Forbidden, match="there is no MirrorUsagePoint"):
        await telemetry.drop_mirror(device("pv-1"), serving, record.mup_id)
    again, is_new = await telemetry.put_mirror(device("pv-2"), serving, der("pv-2").der_id, MRID, b"<b/>")
    assert is_new
    assert again.mup_id != record.mup_id


async def test_two_mirrors_never_share_a_place_whatever_is_drawn(serving, device, der, restarted):
    first, _ = await telemetry.put_mirror(device("pv-1"), serving, der("pv-1").der_id, MRID, b"<a/>")
    drawn = [int.from_bytes(__import__("base64").b32decode(first.mup_id.upper() + "==="), "big"), 5]
    serving.random = type("Fixed", (), {"bits": lambda *_: drawn.pop(0)})()
    second, _ = await telemetry.put_mirror(device("pv-1"), serving, der("pv-1").der_id, Mrid("B" * 32), b"<b/>")
    assert second.mup_id != first.mup_id


async def test_responses_are_counted_by_status_once_each(serving, device, der, control):
    for status in (1, 2, 3, 3):
        await answer(serving, device, der, control.mrid, ResponseStatus(status))
    assert [int(record.status) for record in serving.store.load(ResponseRecord)] == [1, 2, 3]
