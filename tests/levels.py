"""Levels without a wire between them: the serving half of one node, as the link above of another."""

from dataclasses import replace
from datetime import timedelta

from tierline.engine.serving_status import listed_until, served_status
from tierline.env import SeededRandom
from tierline.model.control import Provenance
from tierline.model.errors import Forbidden, LinkError
from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import FleetMember, FleetSeen, Program
from tierline.operations.serving import registry, telemetry
from tierline.operations.serving.state import Serving
from tierline.storage.memory import MemoryStore

OPERATOR = Principal(party=PartyId("utility"), role=Role.OPERATOR, name="ada")


def serving_of(name, clock, store=None, seed=7):
    """Make the serving half of a node without a grid."""
    state = Serving(
        party=PartyId(name), store=store or MemoryStore(), clock=clock, random=SeededRandom(f"{name}/{seed}"), pen=1
    )
    state.load()
    return state


def member_of(device, serving):
    """Give an EndDevice as it is listed to whoever stands for it."""
    return FleetMember(
        lfdi=serving.lfdi_of[device.der_id],
        pin=device.pin,
        device_category=device.device_category,
        enabled=device.enabled,
        programs=tuple(served.record.mrid for served in serving.programs_for(device.der_id)),
    )


def shown(served, now, provenance=None):
    """Give a program as it is shown now."""
    siblings = [record.control for record in served.controls.values()]
    return Program(
        mrid=served.record.mrid,
        primacy=served.record.primacy,
        description=served.record.description,
        controls=tuple(
            replace(
                control, status=status, status_time=control.status_time if status > 1 else None, provenance=provenance
            )
            for control in sorted(siblings, key=lambda one: one.mrid)
            if listed_until(control) > now
            for status in (served_status(control, siblings, now),)
        ),
        default=None if served.default is None else replace(served.default.default, provenance=provenance),
    )


class Above:
    """A FleetNorthbound to the serving half of another node, for one party that stands for DERs there."""

    def __init__(self, serving, party, channel="above"):
        self.serving = serving
        self.principal = Principal(party=PartyId(party), role=Role.AGGREGATOR, name=party)
        self.channel = ChannelId(channel)
        self.is_down = False
        self.refuses = {}
        self.walks = 0
        self.responses, self.reports, self.infos, self.enrolled = [], [], [], []
        self.is_closed = False

    def _check(self, what):
        if self.is_down:
            raise LinkError("no route to host")
        if what in self.refuses:
            raise self.refuses[what]

    def _mine(self):
        serving = self.serving
        return [
            device
            for device in serving.devices.values()
            if device.enabled and device.managed_by == self.principal.party and device.der_id in serving.lfdi_of
        ]

    async def walk(self):
        self.walks += 1
        self._check("walk")
        serving, now = self.serving, self.serving.clock.now()
        members = [member_of(device, serving) for device in self._mine()]
        provenance = Provenance(party=serving.party, channel=self.channel, server="above:1", lfdi=Lfdi("A" * 40))
        wanted = {mrid for member in members for mrid in member.programs}
        return FleetSeen(
            channel=self.channel,
            members={member.lfdi: member for member in members},
            programs={mrid: shown(serving.programs[mrid], now, provenance) for mrid in wanted},
        )

    async def enrol(self, members):
        self._check("enrol")
        self.enrolled.append(tuple(members))
        known = {self.serving.lfdi_of[device.der_id]: device for device in self._mine()}
        for lfdi in known.keys() - {member.lfdi for member in members}:
            await registry.enable(OPERATOR, self.serving, lfdi, enabled=False)
        new = [
            registry.NewDevice(lfdi=member.lfdi, pin=member.pin, managed_by=self.principal.party)
            for member in members
            if member.lfdi not in known
        ]
        if new:
            await registry.register(OPERATOR, self.serving, new)

    def _der(self, lfdi):
        device = registry.device_of(self.serving, lfdi)
        if device is None:
            raise Forbidden(f"{lfdi} is not listed")
        return device.der_id

    async def respond(self, response):
        self._check("respond")
        self.responses.append(response)
        await telemetry.record_response(
            self.principal,
            self.serving,
            self._der(response.lfdi),
            response.mrid,
            response.status,
            response.created_at,
        )

    async def report(self, lfdi, readings):
        self._check("report")
        self._check(lfdi)
        self.reports.append((lfdi, tuple(readings)))
        der = self._der(lfdi)
        found = [
            (Mrid(f"{abs(hash((lfdi, one.point))) % (1 << 60):032X}"), replace(one, der_id=der)) for one in readings
        ]
        await telemetry.record_readings(self.principal, self.serving, der, found)

    async def put_info(self, lfdi, kind, document):
        self._check("put_info")
        self.infos.append((lfdi, kind, document))
        await telemetry.put_info(self.principal, self.serving, self._der(lfdi), kind, document)

    async def close(self):
        self.is_closed = True


def later(clock, seconds):
    """Give a whole second some time from now."""
    return (clock.now() + timedelta(seconds=seconds)).replace(microsecond=0)
