"""A node that stops in the middle of an event goes on as if nothing had happened."""

import asyncio
import re
import runpy
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.engine.following import document
from tierline.model.control import Setpoints
from tierline.model.programs import ResponseStatus
from tierline.model.records import FollowedEventRecord, ResponseRecord
from tierline.node.compose import Databases, prepare
from tierline.operations.serving import dispatch, registry, topology
from tierline.protocols.sep2.transport import Peer, Request

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]
POINT = "pv_000"


async def utility_of(spine):
    """A utility that knows one device."""
    utility = spine.utility()
    await prepare(utility)
    lfdi = spine.device(f"gw-{POINT}")
    new = registry.NewDevice(lfdi=lfdi, service_point=POINT)
    (device,) = await registry.register(OPERATOR, utility.serving.state, [new])
    return utility, device


def order(spine, state, *, start_s, duration_s, **more):
    feeder = next(iter(topology.elements_of(state, POINT) & {f.id for f in state.grid.feeders}))
    return dispatch.Order(
        group_id=topology.find_group(state, feeder).group.id,
        setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
        start=spine.clock.now() + timedelta(seconds=start_s),
        duration_s=duration_s,
        **more,
    )


def offsets_of(node):
    """What the follower has drawn, by event, as its store has it."""
    states = [document.load(record.document) for record in node.store.load(FollowedEventRecord)]
    return {state.mrid: (state.r1_s, state.r2_s) for state in states}


def crawl(handler, lfdi, now):
    """Everything a device can find, by path."""
    peer = Peer(lfdi=lfdi, fingerprint="0" * 64, address="127.0.0.1")
    found, waiting = {}, ["/dcap"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            request = Request(method="GET", path=path, query="", headers={}, body=b"", peer=peer)
            answer = handler.handle(request, now)
            found[path] = (answer.status, answer.body)
            waiting += re.findall(r'ref="([^"?]+)"', (answer.body or b"").decode())
    return found


async def test_a_gateway_restarted_in_mid_event_repeats_no_response_and_draws_no_new_offset(tmp_path):
    spine = Spine(tmp_path)
    utility, device = await utility_of(spine)
    state = utility.serving.state
    received = []

    async def counting(put=(), delete=()):
        received.extend(record for record in put if isinstance(record, ResponseRecord))
        await commit(put, delete)

    commit = state.store.commit
    state.store.commit = counting
    inverter_port = await spine.inverter(POINT)
    async with utility.serving.http as http, asyncio.TaskGroup() as group:
        listener = await http.listen("127.0.0.1", 0)

        def gateway():
            return spine.gateway(f"gw-{POINT}", listener.port, inverter_port, device.pin)

        node = gateway()
        running = group.create_task(node.follower.run())
        await spine.until(lambda: state.last_seen, 120)
        asked = order(spine, state, start_s=120, duration_s=400, randomize_start_s=60, randomize_duration_s=60)
        record = await dispatch.create_control(OPERATOR, state, asked)

        def answers():
            return [response.status for response in received if response.mrid == record.mrid]

        def limit():
            block = spine.inverters[POINT].image.block(704)
            return block.value("WMaxLimPct") if block.code("WMaxLimPctEna") else None

        await spine.until(lambda: ResponseStatus.STARTED in answers(), 300)
        drawn = offsets_of(node)
        assert set(drawn) == {record.mrid}
        running.cancel()
        await asyncio.wait([running])
        assert limit() == 50, "the inverter keeps what it was told while its gateway is away"

        node = gateway()
        running = group.create_task(node.follower.run())
        await spine.until(lambda: node.follower.walked, 120)
        await spine.until(lambda: node.follower.obey is not None and node.follower.obey.applied is not None, 60)
        assert limit() == 50
        assert offsets_of(node) == drawn
        await spine.until(lambda: ResponseStatus.COMPLETED in answers(), 600)
        await spine.until(lambda: limit() is None, 30)
        assert answers() == [ResponseStatus.RECEIVED, ResponseStatus.STARTED, ResponseStatus.COMPLETED]
        assert offsets_of(node) == drawn
        running.cancel()
    await spine.close()


async def test_a_utility_made_anew_from_its_database_shows_what_it_showed(tmp_path):
    spine = Spine(tmp_path)
    utility, device = await utility_of(spine)
    before = utility.serving.state
    inverter_port = await spine.inverter(POINT)
    async with utility.serving.http as http, asyncio.TaskGroup() as group:
        listener = await http.listen("127.0.0.1", 0)
        node = spine.gateway(f"gw-{POINT}", listener.port, inverter_port, device.pin)
        running = group.create_task(node.follower.run())
        record = await dispatch.create_control(OPERATOR, before, order(spine, before, start_s=60, duration_s=3600))
        other = await dispatch.create_control(OPERATOR, before, order(spine, before, start_s=7200, duration_s=60))
        await dispatch.cancel_control(OPERATOR, before, other.mrid)
        await spine.until(lambda: (device.der_id, ResponseStatus.STARTED) in before.responses[record.mrid], 300)
        await spine.until(lambda: before.mirrors and before.latest, 700)
        running.cancel()
    spine.databases.close()
    spine.databases = Databases()

    again = spine.utility()
    await prepare(again)
    after = again.serving.state
    now = spine.clock.now()
    for kept in (
        "devices", "identities", "lfdi_of", "groups", "memberships", "program_of_control", "programs_of", "responses",
        "infos", "mirrors", "switches", "audit_tail",
    ):  # fmt: skip
        assert getattr(after, kept) == getattr(before, kept), kept
    assert {der: groups for der, groups in after.groups_of.items() if groups} == dict(before.groups_of)
    assert {mrid: served.controls for mrid, served in after.programs.items()} == {
        mrid: served.controls for mrid, served in before.programs.items()
    }
    shown = crawl(utility.serving.handler, before.lfdi_of[device.der_id], now)
    assert len(shown) > 20
    assert {status for status, _ in shown.values()} == {200}
    assert crawl(again.serving.handler, before.lfdi_of[device.der_id], now) == shown
    third = await dispatch.create_control(OPERATOR, after, order(spine, after, start_s=60, duration_s=60))
    assert third.mrid not in {record.mrid, other.mrid}, "also seeded randomness gives no mRID twice"
    await spine.close()
