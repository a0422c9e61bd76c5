"""What the tests of the serving half share."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tierline.env import SeededRandom
from tierline.model.errors import LinkError
from tierline.model.identity import Lfdi, PartyId
from tierline.model.parties import Principal, Role
from tierline.operations.serving import registry
from tierline.operations.serving.destinations import Destinations
from tierline.operations.serving.state import Serving
from tierline.operations.serving.subscriptions import Subscriptions, Wish
from tierline.operations.serving.topology import find_group
from tierline.operations.serving.watching import Watch, Watched


@pytest.fixture
def restarted(serving):
    """Give the node as it would be after a restart: from its store alone."""

    def restart():
        again = Serving(
            party=serving.party,
            store=serving.store,
            clock=serving.clock,
            random=SeededRandom(7),
            pen=serving.pen,
            grid=serving.grid,
        )
        again.load()
        return again

    return restart


class Refusing:
    """A store whose disk is full."""

    def __init__(self, store):
        self.store = store

    async def commit(self, put=(), delete=()):
        raise LinkError("no space left")

    async def forget_before(self, kind, time, *, limit=0):
        raise LinkError("no space left")

    def __getattr__(self, name):
        return getattr(self.store, name)


@pytest.fixture
def full_disk(serving):
    """Let the store refuse from now on."""

    def fill():
        serving.store = Refusing(serving.store)

    return fill


@pytest.fixture
def later(clock):
    return lambda **parts: clock.now() + timedelta(**parts)


class Subscribing:
    """A node with subscriptions; a path is the kind of what is watched and its key."""

    def __init__(self, serving, operator):
        self.serving = serving
        self.operator = operator
        self.names = {}
        self.restart()

    def restart(self, serving=None):
        self.serving = serving or self.serving
        destinations = Destinations(frozenset(), self._resolve)
        self.all = Subscriptions(self.serving, destinations, self._locate)

    async def _resolve(self, host):
        if host not in self.names:
            raise LinkError(f"{host} cannot be looked up")
        return self.names[host]

    def _locate(self, path):
        kind, _, of = path.partition("/")
        return Watch(Watched(kind), *of.split("/")) if kind in set(Watched) else None

    def principal(self, device):
        role = Role.DEVICE if device.aggregates is None else Role.AGGREGATOR
        lfdi = self.serving.lfdi_of[device.der_id]
        return Principal(party=device.aggregates or device.party, role=role, name=lfdi, lfdi=lfdi)

    async def subscribe(self, device, path, uri="https://93.184.216.34/told", **more):
        wish = Wish(resource=path, notification_uri=uri, **more)
        return await self.all.subscribe(self.principal(device), device.der_id, wish)

    def program(self, group):
        """The program of a group, by the group's name."""
        return self.serving.programs_of[find_group(self.serving, group).group.id][0]

    async def told_of(self, change):
        """Make a change and give the subscriptions that are to be told of it."""
        before = dict(self.serving.notices)
        await change
        now = self.serving.notices
        return {key for key, notice in now.items() if before.get(key) is not notice}

    async def aggregator(self, party="bright", lfdi="AA", members=()):
        """Register who stands for a party, and put some DERs under it."""
        device, *_ = await registry.register(
            self.operator,
            self.serving,
            [registry.NewDevice(lfdi=Lfdi(lfdi * 20), aggregates=PartyId(party))],
        )
        for name in members:
            await self.manage(name, party)
        return device

    async def touch(self, name):
        """Change something of an EndDevice that has no further consequences."""
        device = registry.find_device(self.serving, name)
        await self.serving.commit([replace(device, device_category=device.device_category + 1)])

    async def manage(self, name, party):
        device = registry.find_device(self.serving, name)
        await self.serving.commit([replace(device, managed_by=None if party is None else PartyId(party))])


@pytest.fixture
def subscribing(serving, operator):
    return Subscribing(serving, operator)
