"""Prices go down the levels: a market publishes, an aggregator follows, and so do its gateways. They command nothing."""

import asyncio
import json
import os
import runpy
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.env import ask_local
from tierline.model.errors import LinkError
from tierline.model.identity import PartyId
from tierline.model.records import AuditRecord
from tierline.operations.serving import groups, prices, registry
from tierline.operations.serving.audit import faults
from tierline.protocols.sep2.transport import Peer, Request
from tierline.protocols.sep2.views.names import short

pytestmark = pytest.mark.e2e

_HERE = Path(__file__).parent
_SPINE = runpy.run_path(str(_HERE.parent / "spine.py"))
_RELAY = runpy.run_path(str(_HERE / "test_relay.py"))
OPERATOR = _SPINE["OPERATOR"]
free_port, Levels = _RELAY["free_port"], _RELAY["Levels"]
START = datetime(2026, 6, 18, 12, tzinfo=UTC)
TIERLINE = (sys.executable, "-m", "tierline")


class Market:
    """A market, an aggregator that obeys it with its fleet, and a gateway of the aggregator: each a process of its own."""

    def __init__(self, folder):
        self.spine = Levels(folder, speed=60.0)
        self.folder = folder
        self.ports = {name: (free_port(), free_port()) for name in ("market", "pool")}
        """Of the server and of the operator API."""
        self.processes = {}

    def write(self, name, level, more):
        serves = ""
        if name in self.ports:
            sep2, operator = self.ports[name]
            serves = f"""
                [identity]
                pen = 40732
                [serve.sep2]
                listen = ["127.0.0.1:{sep2}"]
                poll_rate_s = 60
                post_rate_s = 60
                [operator]
                listen = "127.0.0.1:{operator}"
                """
        text = self.spine.common(name, level, name).replace("seed = 1", f'state = "{name}"')
        (self.folder / f"{name}.toml").write_text(text + serves + more)

    def north(self, channel):
        return f"""
            [[north]]
            protocol = "sep2"
            channel = "{channel}"
            party = "{channel}"
            server = "https://127.0.0.1:{self.ports[channel][0]}/dcap"
            """

    @asynccontextmanager
    async def running(self):
        spine = self.spine
        market, pool, gateway = spine.certificate("market"), spine.certificate("pool"), spine.device("gateway")
        port = await spine.inverter("gateway")
        self.write("market", 5, "")
        self.write("pool", 3, self.north("market") + '[fleet]\ngroup = "*"\n')
        device = f'[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:{port}"\n'
        self.write("gateway", 2, self.north("pool") + device)
        assert market != pool
        try:
            for name in ("market", "pool", "gateway"):
                await self.start(name)
            await self.said("market", "device", "add", "--lfdi", pool)
            await self.said("pool", "device", "add", "--lfdi", gateway)
            yield self
        finally:
            for name in list(self.processes):
                await self.end(name, signal.SIGTERM)
            await spine.close()

    async def start(self, name):
        file = self.folder / f"{name}.toml"
        self.processes[name] = await asyncio.create_subprocess_exec(
            *TIERLINE, "run", file, stdout=DEVNULL, stderr=DEVNULL
        )
        async with asyncio.timeout(60):
            while not await self.answers(name):  # noqa: ASYNC110 - another process answers when it can
                await asyncio.sleep(0.05)

    async def answers(self, name):
        """Tell whether a node is there for its operator, or for its owner."""
        try:
            if name not in self.ports:
                return bool(await self.at_gateway())
            _, writer = await asyncio.open_connection("127.0.0.1", self.ports[name][1])
        except (OSError, LinkError):
            return False
        writer.close()
        return True

    async def end(self, name, number):
        process = self.processes.pop(name)
        process.send_signal(number)
        await process.wait()

    async def typed(self, name, *words):
        """Type a command for a node; gives exit code, output and errors."""
        more = {}
        if name in self.ports:
            token = self.folder / name / "operator.token"
            more = {"TIERLINE_URL": f"http://127.0.0.1:{self.ports[name][1]}", "TIERLINE_TOKEN_FILE": str(token)}
        process = await asyncio.create_subprocess_exec(
            *TIERLINE, *words, stdout=PIPE, stderr=PIPE, cwd=self.folder, env={**os.environ, **more}
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async def said(self, name, *words):
        code, out, err = await self.typed(name, *words[:2], "--json", *words[2:])
        assert code == 0, err
        return json.loads(out)

    async def at_gateway(self):
        """Ask the gateway over its socket which tariffs it follows, as `tierline owner prices` does."""
        answer = await ask_local(str(self.folder / "gateway" / "gateway.owner"), b'{"do": "prices"}')
        return json.loads(answer)

    async def until(self, holds, real_s=90):
        async with asyncio.timeout(real_s):
            while not holds((await self.at_gateway())["tariffs"]):  # noqa: ASYNC110 - another process follows
                await asyncio.sleep(0.1)
        found = await self.said("gateway", "owner", "prices", "gateway.toml")
        return found["gateways"][0]["tariffs"]


def names(tariffs):
    """Give prices by name, whoever tells of them."""
    return sorted((price["mrid"], Decimal(str(price["price"]))) for one in tariffs for price in one["prices"])


async def test_a_price_of_a_market_reaches_a_gateway_through_an_aggregator_and_goes_when_it_is_withdrawn(tmp_path):
    world = Market(tmp_path)
    async with world.running():
        begin = (world.spine.clock.now() + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
        starts = [begin + timedelta(hours=2 * number) for number in range(2)]
        tariff = await world.said("market", "price", "tariff", "day ahead", "--currency", "978")
        made = []
        for start, price in zip(starts, ("0.12345", "-0.05"), strict=True):
            at = start.isoformat()
            span = ("--start", at, "--for", "2h")
            found = await world.said("market", "price", "set", *span, "--", tariff["mrid"], price)
            made += found["prices"]
        expected = names([{"prices": made}])
        shown = await world.until(lambda found: len(names(found)) == 2)
        assert names(shown) == expected
        assert [(one["mrid"], one["currency"], one["followed_from"]) for one in shown] == [
            (tariff["mrid"], 978, "pool")
        ]
        (kept,) = (await world.said("pool", "price", "tariffs"))["tariffs"]
        assert (kept["mrid"], kept["followed_from"]) == (tariff["mrid"], "market")
        code, _, err = await world.typed("pool", "price", "set", tariff["mrid"], "1", "--start", starts[0].isoformat())
        assert (code, "changes there" in err) == (1, True)

        # What was read is durable: killed, and with nobody above it, the aggregator serves it.
        await world.end("market", signal.SIGKILL)
        await world.end("pool", signal.SIGKILL)
        await world.start("pool")
        listed = await world.said("pool", "price", "list", tariff["mrid"])
        assert names([listed]) == expected
        await world.end("gateway", signal.SIGKILL)
        await world.start("gateway")
        assert await world.until(bool) == shown

        await world.start("market")
        await world.said("market", "price", "withdraw", tariff["mrid"], starts[0].isoformat())
        left = await world.until(lambda found: len(names(found)) == 1)
        assert names(left) == [one for one in expected if one[1] < 0]


def status_of(node, lfdi, tariff):
    """Ask a server for a tariff as one of its DERs, whether that was told of it or not."""
    peer = Peer(lfdi=lfdi, fingerprint=lfdi, address="127.0.0.1")
    request = Request(method="GET", path=f"/tp/{short(tariff)}", query="", headers={}, body=b"", peer=peer)
    return node.serving.handler.handle(request, node.clock.now()).status


def kept_at(node):
    return {one.description: node.pricing.followed.prices(one.mrid, START) for one in node.pricing.followed.tariffs()}


async def test_a_tariff_for_a_group_is_shown_through_a_relay_to_that_group_alone_and_comes_by_notices(tmp_path):
    levels = Levels(tmp_path)
    utility = levels.top()
    async with levels.stack, asyncio.TaskGroup() as group:
        port = await levels.start(group, utility)
        above = utility.serving.state
        own = registry.NewDevice(lfdi=levels.certificate("substation"), aggregates=PartyId("substation"))
        both = [
            registry.NewDevice(lfdi=levels.device(name), service_point=point, managed_by=PartyId("substation"))
            for name, point in (("inside", "pv_000"), ("outside", "pv_001"))
        ]
        _, inside, outside = await registry.register(OPERATOR, above, [own, *both])
        pilot = await groups.create_group(OPERATOR, above, "pilot")
        await groups.add_members(OPERATOR, above, pilot.group.id, [inside.der_id])
        substation = levels.substation(port)
        substation_port = await levels.start(group, substation)
        here = substation.serving.state
        levels.tasks["substation"].append(group.create_task(substation.pricing.run(OPERATOR)))
        gateways = {}
        for name, device in (("inside", inside), ("outside", outside)):
            node = levels.gateway(name, substation_port, await levels.inverter(name), device.pin)
            gateways[name] = node
            await levels.start(group, node)
            levels.tasks[name].append(group.create_task(node.pricing.run(OPERATOR)))
        await levels.until(lambda: len(here.devices) == 2 and len(above.subscriptions) >= 5, 600)

        async def publish(description, price, **more):
            new = prices.NewTariff(description=description, currency=978, **more)
            tariff = await prices.create_tariff(OPERATOR, above, new)
            start = levels.clock.now() + timedelta(hours=5)
            one = prices.NewPrice(start=start, duration_s=3600, price=Decimal(price))
            return tariff.mrid, *(await prices.set_prices(OPERATOR, above, tariff.mrid, [one]))

        asked_at = levels.clock.now()
        everybody, common = await publish("for all", "0.3")
        some, special = await publish("pilot", "0.1", group=pilot.group.id)
        # The utility asks to be polled every 300 s; only its notices make the substation this quick.
        await levels.until(lambda: here.prices.get(everybody) and here.prices.get(some), 250)
        assert (levels.clock.now() - asked_at).total_seconds() < 250
        await levels.until(lambda: len(kept_at(gateways["inside"])) == 2, 300)
        await levels.until(lambda: len(kept_at(gateways["outside"])) == 1, 300)
        for name, expected in (("inside", {"for all": common, "pilot": special}), ("outside", {"for all": common})):
            kept = kept_at(gateways[name])
            assert {what: [one.mrid for one in found] for what, found in kept.items()} == {
                what: [one.mrid] for what, one in expected.items()
            }
            assert all(
                found[0].created_at == expected[what].created_at.replace(microsecond=0) for what, found in kept.items()
            )
        assert [status_of(substation, above.lfdi_of[one.der_id], some) for one in (inside, outside)] == [200, 404]

        # The group changes: who leaves loses the tariff, who joins gets it.
        await groups.remove_members(OPERATOR, above, pilot.group.id, [inside.der_id])
        await groups.add_members(OPERATOR, above, pilot.group.id, [outside.der_id])
        await levels.until(lambda: set(kept_at(gateways["inside"])) == {"for all"}, 900)
        await levels.until(lambda: set(kept_at(gateways["outside"])) == {"for all", "pilot"}, 900)
        await prices.withdraw_prices(OPERATOR, above, some, [special.start])
        await levels.until(lambda: kept_at(gateways["outside"])["pilot"] == [], 900)
        audit = here.store.load(AuditRecord)
        told = [(line.resource, line.outcome) for line in audit if line.verb == "follow"]
        assert told.count((f"tariff {everybody}", "followed")) == 1
        assert told.count((f"tariff {some}", "followed")) == 1
        assert 2 <= len(told) <= 5, "one line a change, not one a poll"
        assert faults(audit) == []
        for name in list(levels.tasks):
            await levels.stop(name)
    await levels.close()
