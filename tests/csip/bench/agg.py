"""An aggregator of ours under test: composed from its TOML, gateways of ours below it, its head-end scripted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from bench.der import NAME, OPERATOR, Der, HeldDevice, free_port
from bench.documents import Device
from bench.scripted_client import context_of as caller_of
from bench.scripted_server import context_of
from tierline.model.identity import PartyId
from tierline.node.compose import compose, prepare
from tierline.node.config import parse_config
from tierline.operations.serving import registry
from tierline.security.keys import write_credential
from tierline.security.pki import make_server

BORN = Der.named()[1]
LEAD_S, WALK_S, STEP_S = 70, 40, 20
"""As for a timetable, with one more level to go through: those below poll every 15 s."""


class Leaf:
    """One DER below the aggregator."""

    def __init__(self, name, lfdi, now):
        self.name = name
        self.lfdi = lfdi
        self.device = HeldDevice(now)


class Aggregator(Der):
    """Everything of one row: head-end, aggregator, and DERs below it."""

    def __init__(self, folder, clock, leaves=("eda1", "eda2")):
        super().__init__(folder, clock)
        credential = make_server(self.spine.mica, NAME, BORN, ip_addresses=["127.0.0.1"])
        write_credential(folder, "agg", credential)
        self.lfdi = credential.lfdi
        self.leaves = {name: Leaf(name, self.spine.device(name), self.now) for name in leaves}
        self.listener_port = free_port()
        self.operator = replace(OPERATOR, party=PartyId("aggregator"))
        self.on_open = None

    def context(self, credential=None):
        credential = credential or make_server(self.spine.mica, NAME, BORN, ip_addresses=["127.0.0.1"])
        self.head_end_files = write_credential(self.spine.folder / f"he-{credential.lfdi}", "own", credential)
        return context_of(*self.head_end_files, self.spine.folder / "root.pem")

    def compose_aggregator(self, port, *, enrol="take", subscribe=True, poll_s=15):
        text = f"""{self.spine.common("agg", 3, "aggregator")}
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            poll_rate_s = {poll_s}
            post_rate_s = 30
            [listener]
            listen = "127.0.0.1:{self.listener_port}"
            uri = "https://127.0.0.1:{self.listener_port}"
            [[north]]
            protocol = "sep2"
            channel = "utility"
            party = "utility"
            server = "https://127.0.0.1:{port}/dcap"
            pin = 111115
            use = "relay"
            enrol = "{enrol}"
            subscribe = {str(subscribe).lower()}
            """
        return compose(parse_config(text, self.spine.folder / "agg.toml"), self.spine.databases)

    @asynccontextmanager
    async def head_end(self, credential=None, *, context=None):
        """Open the scripted head-end: the aggregator's own entry first, then its DERs."""
        async with super().head_end(credential, context=context) as server:
            server.devices = [Device(self.lfdi, stands_for_others=True)]
            server.devices += [Device(leaf.lfdi) for leaf in self.leaves.values()]
            server.caller = caller_of(*self.head_end_files)
            if self.on_open is not None:
                self.on_open(server)
            yield server

    @asynccontextmanager
    async def aggregating(self, *, leaves=True, walked=True, **more):
        """Run the aggregator at the head-end, and its gateways below it."""
        node = self.agg = self.compose_aggregator(self.server.port, **more)
        await prepare(node)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(node.serving.http)
            self.port = (await node.serving.http.listen("127.0.0.1", 0)).port
            await stack.enter_async_context(node.listening.http)
            await node.listening.http.listen(*node.listening.listen)
            running = [
                asyncio.ensure_future(node.relaying.run()),
                asyncio.ensure_future(node.serving.telling.task.run()),
            ]
            try:
                if walked:
                    await self.until(lambda: not node.relaying.unwalked())
                if leaves:
                    running += [asyncio.ensure_future(self.gateway(leaf).run()) for leaf in self.leaves.values()]
                yield node
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

    async def register_leaves(self):
        """Register all DERs at the aggregator, as its operator does."""
        new = [registry.NewDevice(lfdi=leaf.lfdi, pin=111115) for leaf in self.leaves.values()]
        await registry.register(self.operator, self.agg.serving.state, new)

    async def take_out(self, name):
        """Shut one DER out, as the aggregator's operator does."""
        await registry.enable(self.operator, self.agg.serving.state, self.leaves[name].lfdi, enabled=False)

    @staticmethod
    def anonymous():
        """Give the context of a caller that has no certificate."""
        return caller_of()

    def gateway(self, leaf):
        follower = self.compose(self.port, name=leaf.name, party="aggregator")
        follower._south = leaf.device
        return follower

    def answers(self, lfdi):
        """Give what one DER answered, by event: (created, status)."""
        found = {}
        for at, subject, status, who in self.server.responses():
            if who == lfdi:
                found.setdefault(subject, []).append((at, status))
        return found
