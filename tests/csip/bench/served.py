"""Our server under test: a utility composed from its TOML, its clock scaled, its operator a few calls."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from bench.der import OPERATOR, free_port, spine_of
from bench.scripted_client import connected, context_of
from bench.scripted_server import Answer, ScriptedServer
from bench.scripted_server import context_of as listener_context
from tierline.model.control import Setpoints
from tierline.model.identity import PartyId, lfdi_of_certificate
from tierline.node.compose import compose, prepare
from tierline.node.config import parse_config
from tierline.operations.serving import dispatch, programs, registry, topology
from tierline.security.keys import load_certificates, write_credential

POINT = "pv_000"


def setpoints_of(values):
    """Write setpoints; whole numbers are meant as numbers of the model."""
    return Setpoints.of({name: Decimal(value) if type(value) is int else value for name, value in values.items()})


class Served:
    """A utility with one DER, known out of band."""

    def __init__(self, folder, clock):
        self.spine = spine_of(folder, clock)
        self.clock = clock
        self.listener_port = free_port()
        self.utility = self.compose()
        self.state = self.utility.serving.state
        self.lfdi = self.spine.device("device")
        self.device = None
        self.port = None
        self._stack = AsyncExitStack()

    def compose(self):
        """Compose the utility; a second time it is the same one after a restart."""
        text = f"""{self.spine.common("utility", 4, "utility")}
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            poll_rate_s = 60
            post_rate_s = 300
            [serve.sep2.notify]
            allow = ["127.0.0.1:{self.listener_port}"]
            [grid]
            file = "oberrhein"
            """
        return compose(parse_config(text, self.spine.folder / "utility.toml"), self.spine.databases)

    async def restart(self):
        """End the utility and start it again from what it kept."""
        await self._stack.aclose()
        self.utility = self.compose()
        self.state = self.utility.serving.state
        await prepare(self.utility)
        await self._listen()

    async def _listen(self):
        http = await self._stack.enter_async_context(self.utility.serving.http)
        self.port = (await http.listen("127.0.0.1", 0)).port

    @asynccontextmanager
    async def telling(self):
        """Run what notifies subscribers, with the listener of one of them, which keeps what it is told."""
        files = [self.spine.folder / f"agg.{end}" for end in ("pem", "key")]
        context = listener_context(*files, self.spine.folder / "root.pem")
        task = asyncio.ensure_future(self.utility.serving.telling.task.run())
        try:
            async with ScriptedServer(context, self.now, self.listener_port) as listener:
                listener.script = {"*": lambda _: Answer(204)}
                yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def aggregator(self, ders=2):
        """Register a party that stands for some DERs of the same service point; gives their LFDIs."""
        lfdi = self.spine.device("agg")
        new = [registry.NewDevice(lfdi=lfdi, aggregates=PartyId("fleet"), pin=111115)]
        mine = [self.spine.device(f"managed-{n}") for n in range(ders)]
        new += [registry.NewDevice(lfdi=one, service_point=POINT, managed_by=PartyId("fleet")) for one in mine]
        self.managed = (await registry.register(OPERATOR, self.state, new))[1:]
        return [lfdi, *mine]

    async def open(self, pin=111115):
        await prepare(self.utility)
        new = registry.NewDevice(lfdi=self.lfdi, service_point=POINT, pin=pin)
        (self.device,) = await registry.register(OPERATOR, self.state, [new])
        await self._listen()

    async def close(self):
        await self._stack.aclose()
        await self.spine.close()

    def now(self):
        return self.clock.now().timestamp()

    def context(self, name="device", **more):
        return context_of(self.spine.folder / f"{name}.pem", self.spine.folder / f"{name}.key", **more)

    @asynccontextmanager
    async def client(self, context=None):
        async with connected(self.port, context or self.context()) as client:
            yield client

    def holder(self, credential):
        """Give the context of whoever holds a certificate."""
        return context_of(*write_credential(self.spine.folder / credential.lfdi, "own", credential))

    async def another(self):
        """Put one more DER under the care of the aggregator; gives its LFDI."""
        lfdi = self.spine.device("late")
        await registry.register(OPERATOR, self.state, [registry.NewDevice(lfdi=lfdi, managed_by=PartyId("fleet"))])
        return lfdi

    def spine_lfdi(self):
        """Give the LFDI of the server itself."""
        return lfdi_of_certificate(load_certificates(self.spine.folder / "utility.pem")[0])

    def transformer(self):
        """Name the substation of the DER."""
        return next(iter(topology.elements_of(self.state, POINT) & {one.id for one in self.state.grid.transformers}))

    def group(self, element=None):
        """Find the group of an element of the grid; of the DER's feeder when none is named."""
        feeders = {one.id for one in self.state.grid.feeders}
        element = element or next(iter(topology.elements_of(self.state, POINT) & feeders))
        return topology.find_group(self.state, element).group.id

    async def default(self, setpoints, group=None):
        """Set the default of a group as the operator does."""
        await programs.set_default(OPERATOR, self.state, group or self.group(), setpoints_of(setpoints))

    async def cancel(self, control):
        await dispatch.cancel_control(OPERATOR, self.state, control.mrid)

    async def until(self, holds, civil_s=600):
        await self.spine.until(holds, civil_s)

    async def sleep_until(self, t):
        await self.clock.sleep_until(datetime.fromtimestamp(t, UTC))

    async def control(self, setpoints, *, duration_s, after_s=0, at=None, group=None, **more):
        """Create a control as the operator does."""
        order = dispatch.Order(
            group_id=group or self.group(),
            setpoints=setpoints_of(setpoints),
            start=(at or self.clock.now()) + timedelta(seconds=after_s),
            duration_s=duration_s,
            **more,
        )
        return (await dispatch.create_control(OPERATOR, self.state, order)).control
