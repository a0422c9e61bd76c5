import asyncio
import time
from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.env import SeededRandom
from tierline.model.errors import LinkError
from tierline.model.identity import GroupId, Lfdi, Mrid
from tierline.model.records import AppliedRecord, EndDeviceRecord, IdentityRecord
from tierline.operations.serving import topology
from tierline.operations.serving.state import Serving


async def test_after_a_restart_it_holds_what_it_held(serving, send, respond, later, operator, restarted):
    control = await send("feeder-1", start=later(hours=1), max_lim_w_pct=Decimal(50))
    await respond("pv-1", control.mrid, 1)
    await topology.confirm_switching(operator, serving, {2: False})
    again = restarted()
    for kept in ("devices", "identities", "lfdi_of", "groups", "memberships", "programs", "responses", "switches"):
        assert getattr(again, kept) == getattr(serving, kept), kept
    assert again.audit_tail == serving.audit_tail


def test_without_a_grid_no_switch_is_known(serving, restarted):
    serving.grid = None
    assert restarted().switches == {}


async def test_nothing_changes_in_memory_before_the_store_has_it(serving, der, full_disk):
    before = der("pv-1"), dict(serving.versions), serving.commits
    full_disk()
    with pytest.raises(LinkError):
        await serving.commit([replace(der("pv-1"), enabled=False)])
    assert (der("pv-1"), dict(serving.versions), serving.commits) == before


def test_programs_come_by_primacy_and_then_by_mrid_downwards(serving, der):
    found = serving.programs_for(der("pv-1").der_id)
    assert [served.record.primacy for served in found] == [100, 110, 130]
    assert serving.programs_for("nobody") == []


async def test_of_equal_primacy_the_higher_mrid_comes_first(serving, der):
    (first, *_) = serving.programs_for(der("pv-1").der_id)
    twin = replace(first.record, mrid=Mrid("F" * 32))
    await serving.commit([twin])
    assert [served.record.mrid for served in serving.programs_for(der("pv-1").der_id)][:2] == [
        twin.mrid,
        first.record.mrid,
    ]


async def test_every_change_raises_the_version_of_what_it_touches_and_no_other(serving, der, send, later):
    device, other = der("pv-1"), der("pv-3")
    before = dict(serving.versions)
    await send("feeder-1", start=later(hours=1), max_lim_w_pct=Decimal(50))
    program = topology.find_group(serving, "feeder-1").group.id
    (mrid,) = serving.programs_of[program]
    changed = {key for key, version in serving.versions.items() if before.get(key) != version}
    assert changed == {f"program:{mrid}"}
    before = dict(serving.versions)
    await serving.commit([replace(device, enabled=False)])
    changed = {key for key, version in serving.versions.items() if before.get(key) != version}
    assert changed == {f"device:{device.der_id}", "devices"}
    before = dict(serving.versions)
    await serving.commit([replace(serving.programs[mrid].record, primacy=90)])
    changed = {key for key, version in serving.versions.items() if before.get(key) != version}
    assert f"assigned:{device.der_id}" in changed
    assert f"assigned:{other.der_id}" not in changed
    assert serving.program(mrid).record.primacy == 90
    assert serving.programs_of[program] == [mrid]


def test_what_is_not_there_is_none(serving):
    assert serving.program(Mrid("0")) is serving.control(Mrid("0")) is None


async def test_a_stale_end_of_a_membership_does_not_end_the_one_that_holds(serving, der):
    group = topology.find_group(serving, "feeder-1").group.id
    current = serving.memberships[der("pv-1").der_id, group]
    early = current.membership.valid_from.replace(year=2025)
    stale = replace(current, membership=replace(current.membership, valid_from=early, valid_to=early))
    await serving.commit([stale])
    assert serving.memberships[der("pv-1").der_id, group] == current


async def test_records_of_others_and_deletions_that_never_happen_are_bugs(serving, der, clock):
    with pytest.raises(AssertionError, match="AppliedRecord is not a record of the serving half"):
        await serving.commit(
            [AppliedRecord(party=serving.party, der_id=der("pv-1").der_id, explanation=b"", applied_at=clock.now())]
        )
    with pytest.raises(AssertionError, match="EndDeviceRecord records are never deleted"):
        await serving.commit(delete=[der("pv-1")])


async def test_two_writers_take_turns(serving, operator, der):
    """Else two acts would claim the same place in the audit."""
    from tierline.operations.serving import registry

    async def slow(put=(), delete=()):
        await asyncio.sleep(0)
        await commit(put, delete)

    commit, serving.store.commit = serving.store.commit, slow
    before = serving.audit_tail.sequence
    await asyncio.gather(*(registry.enable(operator, serving, "pv-1", enabled=on) for on in (True, False) * 5))
    assert serving.audit_tail.sequence == before + 10
    assert not der("pv-1").enabled


async def test_ten_thousand_devices_are_loaded_in_two_seconds(serving, clock):
    """A start after an outage must not itself be one."""
    random = SeededRandom(1)
    records = []
    for number in range(10_000):
        der_id = f"{number:013}"
        records += [
            EndDeviceRecord(
                party=serving.party,
                der_id=der_id,
                service_point="",
                pin=number,
                device_category=0,
                managed_by=None,
                enabled=True,
                registered_at=clock.now(),
                changed_at=clock.now(),
            ),
            IdentityRecord(
                party=serving.party, der_id=der_id, lfdi=Lfdi(f"{random.bits(160):040X}"), valid_from=clock.now()
            ),
        ]
    groups = [GroupId(record.group.id) for record in serving.groups.values()][:2]
    joins = [topology.Move(der_id=f"{number:013}", leaves=(), joins=tuple(groups)) for number in range(10_000)]
    records += topology.membership_records(serving, joins, "registered")
    await serving.commit(records)
    again = Serving(party=serving.party, store=serving.store, clock=clock, random=random, pen=1, grid=serving.grid)
    before = time.process_time()  # not the wall's: other tests may run beside this one
    again.load()
    took = time.process_time() - before
    assert len(again.devices) == 10_004
    assert took < 2.0


async def test_a_store_that_refuses_is_trouble_until_it_takes_a_change_again(serving, full_disk):
    kept = serving.store
    full_disk()
    with pytest.raises(LinkError):
        await serving.commit()
    assert serving.trouble
    serving.store = kept
    await serving.commit()
    assert serving.trouble == ""
