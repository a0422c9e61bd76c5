"""Taking DERs in and out in band, by the party that stands for them."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.errors import Conflict, Forbidden, LinkError
from tierline.model.identity import GroupId, Lfdi, PartyId, sfdi_of
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.model.records import AuditRecord, IdentityRecord
from tierline.operations.serving import enrolment, registry, telemetry, topology
from tierline.operations.serving.audit import faults
from tierline.operations.serving.registry import NewDevice

OWN, NEW = Lfdi("AA" * 20), Lfdi("CD" * 20)
POOLER = Principal(party=PartyId("pooler"), role=Role.AGGREGATOR, name=OWN, lfdi=OWN)
OTHER = Principal(party=PartyId("other"), role=Role.AGGREGATOR, name="other", lfdi=Lfdi("BB" * 20))


@pytest.fixture
async def own(serving, operator):
    """The entries of two parties that stand for others."""
    new = [NewDevice(lfdi=who.lfdi, aggregates=who.party) for who in (POOLER, OTHER)]
    return (await registry.register(operator, serving, new))[0]


@pytest.fixture
async def taken(serving, own):
    """A DER that the party took in, and that the operator put into its place."""
    device, _ = await enrolment.enrol(POOLER, serving, NEW, 1 << 21)
    feeder = GroupId(topology.find_group(serving, "feeder-1").group.id)
    joins = topology.Move(der_id=device.der_id, leaves=(), joins=(feeder,))
    await serving.commit(topology.membership_records(serving, [joins], "operator"))
    return device


async def test_a_new_der_is_taken_in_with_a_pin_and_no_place_in_one_transaction(serving, own):
    commits = serving.commits
    device, is_new = await enrolment.enrol(POOLER, serving, NEW, 1 << 23)
    assert is_new
    assert serving.commits == commits + 1
    assert serving.devices[device.der_id] == device
    assert serving.lfdi_of[device.der_id] == NEW
    assert (device.managed_by, device.service_point, device.device_category) == ("pooler", "", 1 << 23)
    assert (device.enabled, device.aggregates, device.registered_at) == (True, None, serving.clock.now())
    assert 0 <= device.pin <= 999_999
    audit = serving.audit_tail
    assert (audit.verb, audit.resource, audit.principal) == ("register", f"device {device.der_id}", OWN)
    assert json.loads(audit.detail) == {"lfdi": NEW, "for": "pooler"}


async def test_the_same_der_again_is_given_as_it_is(serving, own):
    first, _ = await enrolment.enrol(POOLER, serving, NEW, 1)
    commits = serving.commits
    assert await enrolment.enrol(POOLER, serving, NEW, 2) == (first, False)
    assert serving.commits == commits


async def test_the_party_s_own_entry_is_given_as_it_is(serving, own):
    assert await enrolment.enrol(POOLER, serving, OWN, 0) == (own, False)


async def test_two_that_come_at_once_are_one(serving, own):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(enrolment.enrol(POOLER, serving, NEW, 0)) for _ in range(3)]
    assert sorted(task.result()[1] for task in tasks) == [False, False, True]
    assert len({task.result()[0].der_id for task in tasks}) == 1


async def test_ders_of_others_are_not_taken_in(serving, own, taken):
    before = dict(serving.devices)
    for who, lfdi in ((OTHER, NEW), (POOLER, OTHER.lfdi), (POOLER, Lfdi("01" * 20))):
        with pytest.raises(Forbidden, match=f"LFDI {lfdi} is not one that {who.party} may register"):
            await enrolment.enrol(who, serving, lfdi, 0)
    assert serving.devices == before


async def test_a_der_that_is_shut_out_is_not_taken_in_again(serving, operator, taken):
    await registry.enable(operator, serving, taken.der_id, enabled=False)
    with pytest.raises(Forbidden):
        await enrolment.enrol(POOLER, serving, NEW, 0)
    assert not serving.devices[taken.der_id].enabled


async def test_an_lfdi_that_a_der_had_before_is_not_taken_in(serving, taken):
    old = serving.identities[NEW]
    await serving.commit([replace(old, valid_to=serving.clock.now()), replace(old, lfdi=Lfdi("CE" * 20))])
    with pytest.raises(Forbidden):
        await enrolment.enrol(POOLER, serving, NEW, 0)
    assert await enrolment.enrol(POOLER, serving, Lfdi("CE" * 20), 0) == (taken, False)


async def test_an_lfdi_with_the_sfdi_of_another_is_refused(serving, own, taken):
    twin = Lfdi(NEW[:10] + "0" * 30)
    assert sfdi_of(twin) == sfdi_of(NEW)
    with pytest.raises(Conflict, match=f"has the SFDI {sfdi_of(NEW)} of {NEW}"):
        await enrolment.enrol(POOLER, serving, twin, 0)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.AGGREGATOR])
async def test_nobody_else_takes_in_or_out_in_band(serving, taken, role):
    who = Principal(party=PartyId("pooler"), role=role, name="it", lfdi=NEW)
    with pytest.raises(Forbidden, match="out of band"):
        await enrolment.enrol(who, serving, NEW, 0)
    if role in {Role.OPERATOR, Role.SELF}:
        return
    with pytest.raises(Forbidden, match="out of band"):
        await enrolment.remove(who, serving, taken.der_id)


async def test_a_party_takes_in_so_many_and_no_more(serving, own, monkeypatch):
    monkeypatch.setattr(enrolment, "DEVICES_PER_PARTY", 1)
    await enrolment.enrol(POOLER, serving, NEW, 0)
    with pytest.raises(enrolment.TooManyDevices, match="pooler has 1 DERs"):
        await enrolment.enrol(POOLER, serving, Lfdi("CE" * 20), 0)
    await enrolment.enrol(OTHER, serving, Lfdi("CE" * 20), 0)


async def test_a_full_disk_takes_nobody_in_and_nobody_out(serving, taken, full_disk):
    before = dict(serving.devices), dict(serving.lfdi_of), dict(serving.memberships)
    full_disk()
    with pytest.raises(LinkError):
        await enrolment.enrol(POOLER, serving, Lfdi("CE" * 20), 0)
    with pytest.raises(LinkError):
        await enrolment.remove(POOLER, serving, taken.der_id)
    assert (serving.devices, serving.lfdi_of, serving.memberships) == before


async def test_who_is_taken_out_is_nobody_and_what_was_stays(serving, taken, send, clock):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(50))
    await telemetry.record_response(POOLER, serving, taken.der_id, control.mrid, ResponseStatus.RECEIVED, clock.now())
    commits = serving.commits
    clock.move(minutes=1)
    await enrolment.remove(POOLER, serving, taken.der_id)
    assert serving.commits == commits + 1
    device = serving.devices[taken.der_id]
    assert (device.enabled, device.service_point, device.changed_at) == (False, "", clock.now())
    assert registry.device_of(serving, NEW) is None
    assert taken.der_id not in serving.lfdi_of
    assert not serving.groups_of[taken.der_id]
    assert serving.standing.ders("pooler") == frozenset()
    assert len(serving.responses_of[taken.der_id]) == 1
    (identity,) = (record for record in serving.store.load(IdentityRecord) if record.lfdi == NEW)
    assert identity.valid_to == clock.now()
    audit = serving.audit_tail
    assert (audit.verb, audit.resource) == ("remove", f"device {taken.der_id}")
    assert json.loads(audit.detail)["lfdi"] == NEW
    assert faults(serving.store.load(AuditRecord)) == []


async def test_who_was_taken_out_comes_back_as_the_same_der_without_its_place(serving, taken, clock):
    await enrolment.remove(POOLER, serving, taken.der_id)
    clock.move(minutes=1)
    back, is_new = await enrolment.enrol(POOLER, serving, NEW, 1 << 23)
    assert is_new
    assert (back.der_id, back.pin, back.device_category) == (taken.der_id, taken.pin, 1 << 23)
    assert (back.enabled, back.registered_at) == (True, clock.now())
    assert registry.device_of(serving, NEW) == back
    assert not serving.groups_of[taken.der_id]


async def test_what_one_party_took_out_another_may_take_in_as_another_der(serving, operator, taken, restarted):
    await enrolment.remove(POOLER, serving, taken.der_id)
    theirs, is_new = await enrolment.enrol(OTHER, serving, NEW, 0)
    assert is_new
    assert theirs.der_id != taken.der_id
    with pytest.raises(Forbidden):
        await enrolment.enrol(POOLER, serving, NEW, 0)
    for state in (serving, restarted()):
        assert registry.device_of(state, NEW) == theirs
        assert state.lfdi_of_sfdi[sfdi_of(NEW)] == NEW
    await enrolment.remove(OTHER, serving, theirs.der_id)
    (direct,) = await registry.register(operator, serving, [NewDevice(lfdi=NEW, service_point="pv-1")])
    assert direct.der_id not in {taken.der_id, theirs.der_id}
    assert registry.device_of(restarted(), NEW) == direct


async def test_of_an_lfdi_that_had_several_ders_the_last_one_is_remembered(serving, taken, restarted, clock):
    await enrolment.remove(POOLER, serving, taken.der_id)
    clock.move(seconds=1)
    theirs, _ = await enrolment.enrol(OTHER, serving, NEW, 0)
    clock.move(seconds=1)
    await enrolment.remove(OTHER, serving, theirs.der_id)
    again = restarted()
    assert again.identities[NEW].der_id == serving.identities[NEW].der_id == theirs.der_id


async def test_a_switching_operation_does_not_bring_back_who_was_taken_out(serving, operator, own):
    new = NewDevice(lfdi=NEW, managed_by=POOLER.party, service_point="pv-4")
    (device,) = await registry.register(operator, serving, [new])
    await enrolment.remove(POOLER, serving, device.der_id)
    await topology.confirm_switching(operator, serving, {2: False, 3: True})
    assert not serving.groups_of[device.der_id]


async def test_a_silent_der_can_be_taken_out(serving, operator, own):
    (device,) = await registry.register(operator, serving, [NewDevice(lfdi=None, managed_by=POOLER.party)])
    await enrolment.remove(POOLER, serving, device.der_id)
    assert not serving.devices[device.der_id].enabled


async def test_only_those_a_party_manages_are_taken_out_and_once(serving, taken, own, der):
    for one in (own.der_id, der("pv-1").der_id, "nobody"):
        with pytest.raises(Forbidden, match="does not manage this device"):
            await enrolment.remove(POOLER, serving, one)
    with pytest.raises(Forbidden):
        await enrolment.remove(OTHER, serving, taken.der_id)
    await enrolment.remove(POOLER, serving, taken.der_id)
    with pytest.raises(Forbidden):
        await enrolment.remove(POOLER, serving, taken.der_id)


async def test_an_end_is_never_before_its_beginning_when_the_clock_is_set_back(serving, taken, clock):
    clock.move(hours=-1)
    await enrolment.remove(POOLER, serving, taken.der_id)
    (identity,) = (record for record in serving.store.load(IdentityRecord) if record.lfdi == NEW)
    assert identity.valid_to == identity.valid_from


async def test_an_operator_takes_out_anyone_who_may_then_be_registered_anew(serving, operator, taken, own, der):
    await registry.enable(operator, serving, own.der_id, enabled=False)
    for device in (taken, own, der("pv-1"), der("pv-4")):
        lfdi = serving.lfdi_of.get(device.der_id)
        await enrolment.remove(operator, serving, device.der_id)
        assert (serving.audit_tail.verb, serving.audit_tail.resource) == ("remove", f"device {device.der_id}")
        assert not serving.groups_of[device.der_id]
        with pytest.raises(Conflict, match="taken out already"):
            await enrolment.remove(operator, serving, device.der_id)
        if lfdi is not None:
            (new,) = await registry.register(operator, serving, [NewDevice(lfdi=lfdi)])
            assert new.der_id != device.der_id
    assert serving.standing.peers("pooler") == frozenset()
