from dataclasses import replace

from tierline.model.programs import FleetMember
from tierline.model.records import EndDeviceRecord, IdentityRecord
from tierline.operations.relay.enrolling import offered, registered, taken


def listed(lfdi, pin=111115):
    return FleetMember(lfdi=lfdi, pin=pin, device_category=4)


async def test_those_are_offered_that_are_let_in_and_no_party(scene):
    (device, off, *_) = await scene.register(*scene.lfdis[:2])
    await scene.register(scene.lfdis[2], aggregates="flexco")
    await scene.serving.commit([replace(off, enabled=False)])
    assert offered(scene.serving) == [
        FleetMember(lfdi=scene.lfdis[0], pin=device.pin, device_category=device.device_category)
    ]


async def test_who_is_registered_is_found_by_the_lfdi_it_has_now(scene):
    (device,) = await scene.register(scene.lfdis[0])
    assert registered(scene.serving, scene.lfdis[0]) == device
    assert registered(scene.serving, scene.lfdis[1]) is None
    identity = scene.serving.identities[scene.lfdis[0]]
    await scene.serving.commit([replace(identity, valid_to=scene.clock.now())])
    assert registered(scene.serving, scene.lfdis[0]) is None


async def test_taking_writes_an_end_device_and_its_identity_once(scene):
    put, new, refused = taken(scene.serving, [listed(scene.lfdis[0])])
    assert [type(record) for record in put] == [EndDeviceRecord, IdentityRecord]
    assert list(new) == [scene.lfdis[0]]
    assert refused == {}
    await scene.serving.commit(put)
    assert taken(scene.serving, [listed(scene.lfdis[0])]) == ([], {}, {})


def test_two_that_share_an_sfdi_cannot_both_be_taken(scene):
    twin = scene.lfdis[0][:-1] + "F"
    _, new, refused = taken(scene.serving, [listed(scene.lfdis[0]), listed(twin)])
    assert list(new) == [scene.lfdis[0]]
    assert list(refused) == [twin]


def test_a_pin_the_server_does_not_show_is_none_here(scene):
    put, *_ = taken(scene.serving, [listed(scene.lfdis[0], pin=None)])
    assert put[0].pin is None
