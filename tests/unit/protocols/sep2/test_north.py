"""The north face against our own server in memory, and against couriers that do not bring what was hoped for."""

from dataclasses import replace

import pytest

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.records import DerInfoRecord, KnownRecord, ReadingRecord, ResponseRecord
from tierline.ports import DeviceFacts
from tierline.protocols.sep2.codec import parse
from tierline.protocols.sep2.resources.devices import DeviceInformation

NOTHING = DeviceFacts(
    manufacturer="", model="", serial="", version="", nameplate={}, settings={}, functions=frozenset()
)


async def test_a_walk_tells_programs_and_the_pace(bench, above):
    await bench.control()
    seen = await above.north.walk()
    assert [len(program.controls) for program in seen.programs] == [1, 0, 0]
    assert above.north.poll_s == 60


async def test_an_answer_reaches_the_server_once_with_our_lfdi(bench, above):
    record = await bench.control()
    await above.north.walk()
    await above.north.respond(above.answer(record.mrid))
    (found,) = bench.store.load(ResponseRecord)
    assert (found.mrid, found.status, found.lfdi, found.created_at) == (record.mrid, 1, above.lfdi, bench.clock.now())


async def test_where_an_answer_goes_is_known_after_a_restart_without_a_walk(bench, above):
    record = await bench.control()
    await above.north.walk()
    above.start()
    await above.north.respond(above.answer(record.mrid, lfdi=above.lfdi))
    assert len(bench.store.load(ResponseRecord)) == 1


async def test_where_answers_go_is_written_down_once_and_forgotten_on_demand(bench, above):
    record = await bench.control()
    await above.north.walk()
    (known,) = above.store.load(KnownRecord)
    assert (known.name, known.value) == (f"reply_to/utility/{record.mrid}", "/rsps/r/rsp")
    above.store.commit = None  # a walk that brings nothing new writes nothing
    await above.north.walk()
    del above.store.commit
    await above.north.forget([record.mrid, "F" * 32])
    assert above.store.load(KnownRecord) == []
    await above.north.forget([record.mrid])
    with pytest.raises(PeerError, match="has no replyTo"):
        await above.north.respond(above.answer(record.mrid))


async def test_one_of_several_servers_of_a_channel_keeps_its_paths_apart(bench, above):
    record = await bench.control()
    above.start(is_one_of=True)
    await above.north.walk()
    (known,) = above.store.load(KnownRecord)
    assert known.name == f"reply_to/utility@{above.server}/{record.mrid}"
    above.start()
    with pytest.raises(PeerError, match="has no replyTo"):
        await above.north.respond(above.answer(record.mrid))


async def test_other_channels_memories_are_left_alone(bench, above):
    await above.store.commit([KnownRecord(party="utility", name="reply_to/other/A", value="/x")])
    above.start()
    with pytest.raises(PeerError, match="has no replyTo"):
        await above.north.respond(above.answer("A"))


@pytest.mark.parametrize(("status", "kind"), [(400, PeerError), (404, Forbidden), (503, LinkError)])
async def test_a_refused_answer_is_asked_once_and_said(bench, above, status, kind, brought):
    record = await bench.control()
    await above.north.walk()
    above.courier.instead["POST"] = lambda _: brought(status)
    above.courier.log.clear()
    with pytest.raises(kind):
        await above.north.respond(above.answer(record.mrid))
    assert above.courier.log == [("POST", "/rsps/r/rsp")]


async def test_an_answer_is_not_sent_to_another_server(bench, above, brought):
    record = await bench.control()

    def misled(answer):
        return brought(200, answer.body.replace(b'replyTo="/rsps', b'replyTo="https://evil.example/rsps'))

    above.courier.instead[("GET", f"{bench.program()}/derc?s=0&l=255")] = misled
    await above.north.walk()
    with pytest.raises(PeerError, match=r"leads away from 192\.0\.2\.1:8443"):
        await above.north.respond(above.answer(record.mrid))
    assert above.courier.writes() == []


async def test_absolute_links_of_the_same_server_are_followed(bench, above, brought):
    def absolute(answer):
        body = answer.body
        for name in (b"href", b"replyTo"):
            body = body.replace(name + b'="/', name + b'="https://192.0.2.1:8443/')
        location = answer.location and f"https://192.0.2.1:8443{answer.location}"
        return brought(answer.status, body, location)

    above.courier.instead = dict.fromkeys(("GET", "POST"), absolute)
    record = await bench.control()
    seen = await above.north.walk()
    assert len(seen.programs[0].controls) == 1
    await above.north.respond(above.answer(record.mrid))
    await above.north.report([above.reading()])
    assert len(bench.store.load(ResponseRecord)) == len(bench.store.load(ReadingRecord)) == 1


async def test_nothing_is_sent_before_the_first_walk(above):
    for work in (above.north.report([above.reading()]), above.north.describe(NOTHING, {}, above.bench.NOON)):
        with pytest.raises(PeerError, match="not walked yet"):
            await work
    assert above.courier.log == []


async def test_a_broken_link_is_passed_on(above):
    above.courier.instead["GET"] = LinkError("no route")
    with pytest.raises(LinkError, match="no route"):
        await above.north.walk()
    await above.north.close()
    assert above.courier.is_closed


@pytest.mark.parametrize(("tells_serial", "told"), [(False, ""), (True, "SN-7")])
async def test_a_serial_number_is_told_only_where_that_was_allowed(bench, above, tells_serial, told):
    above.start(tells_serial=tells_serial)
    await above.north.walk()
    facts = replace(NOTHING, serial="SN-7", nameplate={"rtg_max_w": 5000}, settings={"set_max_w": 5000})
    await above.north.describe(facts, {}, bench.clock.now())
    found = [record.document for record in bench.store.load(DerInfoRecord) if record.kind == "di"]
    assert [parse(document, DeviceInformation).mf_ser_num for document in found] == [told]
    assert (b"SN-7" in found[0]) is tells_serial
