from dataclasses import replace

import pytest

from tierline.model.errors import ConfigError, Conflict, Forbidden, LinkError
from tierline.model.identity import Lfdi, sfdi_of
from tierline.model.parties import Principal, Role
from tierline.model.records import AuditRecord, EndDeviceRecord, IdentityRecord, MembershipRecord
from tierline.operations.serving import registry
from tierline.operations.serving.registry import NewDevice

NEW = Lfdi("CD" * 20)


async def test_a_device_is_enrolled_with_identity_groups_and_audit_in_one_transaction(serving, operator):
    commits = serving.commits
    (device,) = await registry.register(operator, serving, [NewDevice(lfdi=NEW, service_point="pv-1")])
    assert serving.commits == commits + 1
    assert registry.device_of(serving, NEW) == device
    names = {serving.groups[group].group.name for group in serving.groups_of[device.der_id]}
    assert {"feeder-1", "sub-1"} < names
    assert serving.audit_tail.verb == "register"


async def test_a_full_disk_enrols_nobody(serving, operator, full_disk):
    before = dict(serving.devices), dict(serving.identities), serving.audit_tail
    full_disk()
    with pytest.raises(LinkError):
        await registry.register(operator, serving, [NewDevice(lfdi=NEW)])
    assert (serving.devices, serving.identities, serving.audit_tail) == before


async def test_a_pin_is_drawn_where_none_is_given(serving, operator):
    drawn, given = await registry.register(operator, serving, [NewDevice(lfdi=NEW), NewDevice(lfdi=None, pin=0)])
    assert 0 <= drawn.pin <= 999_999
    assert given.pin == 0


@pytest.mark.parametrize(
    ("device", "error", "what"),
    [
        (NewDevice(lfdi=NEW, service_point="moon"), ConfigError, "no service point 'moon'"),
        (NewDevice(lfdi=NEW, pin=1_000_000), ConfigError, "a PIN has six digits, 1000000 has not"),
        (NewDevice(lfdi=NEW, pin=-1), ConfigError, "a PIN has six digits"),
        (NewDevice(lfdi=Lfdi("01" * 20)), Conflict, "is registered already"),
        (NewDevice(lfdi=Lfdi("01" * 5 + "FF" * 15)), Conflict, f"has the SFDI {sfdi_of(Lfdi('01' * 20))}"),
        (NewDevice(lfdi=None, aggregates="p"), ConfigError, "stands for others and is no DER"),
        (NewDevice(lfdi=NEW, aggregates="p", managed_by="q"), ConfigError, "stands for others and is no DER"),
        (NewDevice(lfdi=NEW, aggregates="p", service_point="pv-1"), ConfigError, "stands for others and is no DER"),
    ],
)
async def test_what_cannot_be_enrolled_is_named_and_nothing_of_its_call_is_kept(serving, operator, device, error, what):
    before = dict(serving.devices)
    with pytest.raises(error, match=what):
        await registry.register(operator, serving, [NewDevice(lfdi=Lfdi("EF" * 20)), device])
    assert serving.devices == before


async def test_one_certificate_cannot_be_enrolled_twice_in_one_call(serving, operator):
    with pytest.raises(Conflict, match="registered already"):
        await registry.register(operator, serving, [NewDevice(lfdi=NEW), NewDevice(lfdi=NEW)])


async def test_two_certificates_with_one_sfdi_cannot_be_enrolled_in_one_call(serving, operator):
    with pytest.raises(Conflict, match="has the SFDI"):
        await registry.register(operator, serving, [NewDevice(lfdi=NEW), NewDevice(lfdi=Lfdi(NEW[:10] + "0" * 30))])


async def test_a_certificate_that_was_replaced_is_never_free(serving, operator, der):
    old = serving.identities[serving.lfdi_of[der("pv-1").der_id]]
    await serving.commit([replace(old, lfdi=NEW), replace(old, valid_to=serving.clock.now())])
    await registry.enable(operator, serving, der("pv-1").der_id, enabled=False)
    with pytest.raises(Conflict, match="registered already"):
        await registry.register(operator, serving, [NewDevice(lfdi=old.lfdi)])


async def test_the_entry_of_a_party_is_in_no_group(serving, operator):
    (entry,) = await registry.register(operator, serving, [NewDevice(lfdi=NEW, aggregates="pooler")])
    assert entry.aggregates == "pooler"
    assert not serving.groups_of.get(entry.der_id)


async def test_without_a_grid_no_service_point_is_known(serving, operator):
    serving.grid = None
    with pytest.raises(ConfigError, match="no service point"):
        await registry.register(operator, serving, [NewDevice(lfdi=NEW, service_point="pv-1")])
    (device,) = await registry.register(operator, serving, [NewDevice(lfdi=NEW)])
    assert not serving.groups_of.get(device.der_id)
    assert registry.rating_w(serving, device) == 0


async def test_a_viewer_enrols_nobody(serving):
    viewer = Principal(party=serving.party, role=Role.VIEWER, name="eve")
    with pytest.raises(Forbidden):
        await registry.register(viewer, serving, [NewDevice(lfdi=NEW)])


async def test_a_disabled_device_is_shut_out_until_it_is_enabled(serving, operator, der):
    lfdi = serving.lfdi_of[der("pv-1").der_id]
    await registry.enable(operator, serving, "pv-1", enabled=False)
    assert registry.device_of(serving, lfdi) is None
    assert serving.audit_tail.verb == "disable"
    await registry.enable(operator, serving, "pv-1", enabled=True)
    assert registry.device_of(serving, lfdi) == der("pv-1")
    assert serving.audit_tail.verb == "enable"


def groups_of(serving, device):
    return {serving.groups[group].group.name for group in serving.groups_of[device.der_id]}


async def test_a_device_is_placed_and_placed_elsewhere_in_one_transaction(serving, operator):
    (device,) = await registry.register(operator, serving, [NewDevice(lfdi=NEW)])
    for point, feeder in (("pv-1", {"feeder-1"}), ("pv-3", {"feeder-2"}), ("", set())):
        commits = serving.commits
        placed = await registry.place(operator, serving, NEW, point)
        assert serving.commits == commits + 1
        assert (placed.service_point, serving.devices[device.der_id]) == (point, placed)
        assert groups_of(serving, device) & {"feeder-1", "feeder-2"} == feeder
        assert (serving.audit_tail.verb, serving.audit_tail.resource) == ("place", f"device {device.der_id}")


async def test_a_device_is_not_placed_where_nothing_is_nor_one_that_is_none(serving, operator):
    with pytest.raises(ConfigError, match="no service point 'moon'"):
        await registry.place(operator, serving, "pv-1", "moon")
    await registry.register(operator, serving, [NewDevice(lfdi=NEW, aggregates="pooler")])
    with pytest.raises(ConfigError, match="is no DER"):
        await registry.place(operator, serving, NEW, "pv-1")
    (gone,) = await registry.register(operator, serving, [NewDevice(lfdi=None)])
    await registry.enable(operator, serving, gone.der_id, enabled=False)
    with pytest.raises(Conflict, match="was taken out"):
        await registry.place(operator, serving, gone.der_id, "pv-1")
    viewer = Principal(party=serving.party, role=Role.VIEWER, name="eve")
    with pytest.raises(Forbidden):
        await registry.place(viewer, serving, "pv-1", "pv-2")


@pytest.mark.parametrize("name", ["pv-1", "0101", "01" * 20])
def test_a_device_is_found_by_what_an_operator_types(serving, name):
    assert registry.find_device(serving, name).service_point == "pv-1"


def test_a_device_is_found_by_its_id_in_any_case(serving, der):
    assert registry.find_device(serving, der("pv-4").der_id.upper()) == der("pv-4")


@pytest.mark.parametrize("name", ["010", "moon", ""])
def test_an_unknown_device_is_named(serving, name):
    with pytest.raises(ConfigError, match=f"there is no device '{name}'"):
        registry.find_device(serving, name)


async def test_a_name_that_fits_several_devices_is_refused(serving, operator):
    await registry.register(operator, serving, [NewDevice(lfdi=Lfdi("0101FF" + "0" * 34))])
    with pytest.raises(ConfigError, match="stands for 2 devices"):
        registry.find_device(serving, "0101")


async def test_a_certificate_that_was_replaced_stands_for_nobody(serving, der):
    device = der("pv-1")
    old = serving.identities[serving.lfdi_of[device.der_id]]
    new = replace(old, lfdi=NEW)
    await serving.commit([new, replace(old, valid_to=serving.clock.now())])
    assert registry.device_of(serving, old.lfdi) is None
    assert registry.device_of(serving, NEW) == device


async def test_a_certificate_that_expired_without_another_leaves_the_device_silent(serving, der):
    device = der("pv-1")
    old = serving.identities[serving.lfdi_of[device.der_id]]
    await serving.commit([replace(old, valid_to=serving.clock.now())])
    assert device.der_id not in serving.lfdi_of


def test_the_rating_is_that_of_the_service_point(serving, der):
    assert registry.rating_w(serving, der("pv-3")) == 30_000
    assert registry.rating_w(serving, replace(der("pv-3"), service_point="moon")) == 0


async def test_seeded_randomness_gives_no_key_twice_after_a_restart(serving, operator, restarted):
    again = restarted()
    devices = await registry.register(operator, again, [NewDevice(lfdi=None) for _ in range(8)])
    assert not {device.der_id for device in devices} & serving.devices.keys()
    assert len(again.devices) == len(serving.devices) + 8


async def test_everything_is_there_after_a_restart(serving, restarted):
    again = restarted()
    assert again.devices == serving.devices
    assert again.lfdi_of == serving.lfdi_of
    kinds = (EndDeviceRecord, IdentityRecord, MembershipRecord, AuditRecord)
    assert all(serving.store.load(kind) for kind in kinds)
