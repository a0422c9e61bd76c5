"""Our server under test: a utility composed from its TOML, its clock scaled, its operator a few calls."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from bench.der import OPERATOR, spine_of
from bench.scripted_client import connected, context_of
from tierline.model.control import Setpoints
from tierline.node.compose import prepare
from tierline.operations.serving import dispatch, programs, registry, topology
from tierline.security.keys import write_credential

POINT = "pv_000"


def setpoints_of(values):
    """Write setpoints; whole numbers are meant as numbers of the model."""
    return Setpoints.of({name: Decimal(value) if type(value) is int else value for name, value in values.items()})


class Served:
    """A utility with one DER, known out of band."""

    def __init__(self, folder, clock):
        self.spine = spine_of(folder, clock)
        self.clock = clock
        self.utility = self.spine.utility()
        self.state = self.utility.serving.state
        self.lfdi = self.spine.device("device")
        self.device = None
        self.port = None
        self._stack = AsyncExitStack()

    async def open(self, pin=111115):
        await prepare(self.utility)
        new = registry.NewDevice(lfdi=self.lfdi, service_point=POINT, pin=pin)
        (self.device,) = await registry.register(OPERATOR, self.state, [new])
        http = await self._stack.enter_async_context(self.utility.serving.http)
        self.port = (await http.listen("127.0.0.1", 0)).port

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

    async def control(self, setpoints, *, after_s, duration_s, group=None, **more):
        """Create a control as the operator does."""
        order = dispatch.Order(
            group_id=group or self.group(),
            setpoints=setpoints_of(setpoints),
            start=self.clock.now() + timedelta(seconds=after_s),
            duration_s=duration_s,
            **more,
        )
        return (await dispatch.create_control(OPERATOR, self.state, order)).control
