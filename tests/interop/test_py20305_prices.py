"""A client we did not write finds our tariffs and relays the price that holds: py20305, in its own process, over TLS.

Its command line has no switch for the Pricing function set, so its own discovery and tariff processor are called from a script.
"""

import asyncio
import json
import runpy
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.identity import GroupId
from tierline.model.records import Flow
from tierline.node.compose import prepare
from tierline.operations.serving import groups, prices, registry

pytestmark = [pytest.mark.interop, pytest.mark.e2e]

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]

CLIENT = """
import asyncio, json, pathlib, sys
from py20305.client.discovery import discover
from py20305.client.http import Sep2Client
from py20305.client.state import DiscoveredState
from py20305.client.tls import TlsConfig
from py20305.events.tariff import TariffProcessor

folder, port = pathlib.Path(sys.argv[1]), sys.argv[2]
told = []

class Relay:
    async def relay_schedule_notification(self, lfdis, notification):
        told.append({
            "mrid": notification.mrid, "start": notification.start, "duration": notification.duration,
            "primacy": notification.primacy, "status": notification.current_status, **notification.payload,
        })

async def main():
    tls = TlsConfig(folder / "foreign.pem", folder / "foreign.key", folder / "root.pem", check_hostname=False)
    state = DiscoveredState()
    state.pricing_enabled = True
    async with Sep2Client(f"https://127.0.0.1:{port}", tls=tls) as client:
        await discover(client, state)
        processor = TariffProcessor(client, state, Relay())
        await processor.process_tariffs()
        await asyncio.sleep(0.1)
        await processor.shutdown()
    listed = {
        one.profile.m_rid.value.hex(): [len(part.time_tariff_intervals) for part in one.rate_components]
        for one in state.tariff_profiles.values()
    }
    print(json.dumps({"listed": listed, "told": told, "poll": state.poll_rates.get("tariff")}))

asyncio.run(main())
"""


async def test_py20305_finds_the_tariffs_of_its_device_and_the_price_that_holds(tmp_path):
    spine = Spine(tmp_path, speed=1.0, start=datetime.now(UTC))
    utility = spine.utility(poll_rate_s=60)
    await prepare(utility)
    state = utility.serving.state
    lfdi = spine.device("foreign")
    (device,) = await registry.register(OPERATOR, state, [registry.NewDevice(lfdi=lfdi, service_point="pv_000")])
    mine, others = [
        GroupId((await groups.create_group(OPERATOR, state, name)).group.id) for name in ("contract 7", "contract 8")
    ]
    await groups.add_members(OPERATOR, state, mine, [device.der_id])
    made = {}
    for name, group in (("everybody", None), ("mine", mine), ("others", others)):
        new = prices.NewTariff(description=name, currency=978, group=group, flow=Flow.RECEIVED)
        made[name] = (await prices.create_tariff(OPERATOR, state, new)).mrid.lower()
    now = state.clock.now().replace(microsecond=0)
    spans = [(-1, "0.08"), (0, "0.12345"), (1, "-0.01")]
    new = [
        prices.NewPrice(
            start=now + timedelta(hours=hours) - timedelta(minutes=5), duration_s=3600, price=Decimal(price)
        )
        for hours, price in spans
    ]
    for name, which in (("mine", new), ("others", new), ("everybody", new[2:])):
        await prices.set_prices(OPERATOR, state, state.tariffs[made[name].upper()].mrid, which)
    async with utility.serving.http as http:
        listener = await http.listen("127.0.0.1", 0)
        command = (sys.executable, "-c", CLIENT, str(tmp_path), str(listener.port))
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(60):
            out, errors = await client.communicate()
    await spine.close()
    assert client.returncode == 0, errors.decode()[-5000:]
    found = json.loads(out)
    # The first price of "mine" ended five minutes ago.
    assert found["listed"] == {made["mine"]: [2], made["everybody"]: [1]}
    assert found["poll"] == 60
    (told,) = found["told"]
    start = int((now - timedelta(minutes=5)).timestamp())
    assert (told["start"], told["duration"], told["status"], told["primacy"]) == (start, 3600, 1, 1)
    assert (told["currency"], told["price_power_of_ten_multiplier"], told["tou_tier"]) == (978, -5, 0)
    assert told["prices"] == [{"price": 12345, "start_value": 0, "consumption_block": 0}]
