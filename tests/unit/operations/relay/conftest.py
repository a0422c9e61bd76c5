"""A relay over a store in memory, and what a server above may show to it."""

import runpy
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.control import Control, Interval, Provenance, Setpoints
from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import DefaultControl, FleetMember, FleetSeen, Program
from tierline.model.records import AuditRecord
from tierline.operations.relay.downward import mirror
from tierline.operations.relay.relayed import Relayed
from tierline.operations.serving import registry
from tierline.operations.serving.audit import faults

_LEVELS = runpy.run_path(str(Path(__file__).parents[3] / "levels.py"))

CHANNEL = ChannelId("utility")
ABOVE = Principal(party=PartyId("utility"), role=Role.UPSTREAM, name="utility")


class Scene:
    """One relay, and a server above that shows what it is told to."""

    def __init__(self, clock):
        self.clock = clock
        self.levels = _LEVELS
        self.serving = _LEVELS["serving_of"]("substation", clock)
        self.relayed = Relayed(channel=CHANNEL)
        self.lfdis = [Lfdi(f"{number:02X}" * 20) for number in range(1, 5)]

    def program(self, number=1, controls=(), default=None, primacy=100):
        return Program(
            mrid=Mrid(f"{number:032X}"),
            primacy=primacy,
            controls=tuple(controls),
            default=default,
            description="feeder",
        )

    def control(self, number=1, start_s=60, duration_s=600, **changes):
        parts = {
            "mrid": Mrid(f"C{number:031X}"),
            "creation_time": self.clock.now(),
            "interval": Interval(start=self.clock.now() + timedelta(seconds=start_s), duration_s=duration_s),
            "setpoints": Setpoints.of({"max_lim_w_pct": Decimal(50)}),
            "randomize_start_s": 30,
            "randomize_duration_s": -20,
            "provenance": Provenance(party=PartyId("utility"), channel=CHANNEL, server="192.0.2.1:443"),
        }
        return Control(**{**parts, **changes})

    def default(self, pct=80, **changes):
        parts = {"mrid": Mrid("D" * 32), "setpoints": Setpoints.of({"max_lim_w_pct": Decimal(pct)})}
        return DefaultControl(**{**parts, **changes})

    def seen(self, *programs, members=None, **parts):
        """Everybody is assigned to every program, unless it is said who is to which."""
        mrids = tuple(program.mrid for program in programs)
        members = dict.fromkeys(self.lfdis[:2], mrids) if members is None else members
        return FleetSeen(
            channel=CHANNEL,
            members={
                lfdi: FleetMember(lfdi=lfdi, pin=111115, device_category=1 << 20, programs=tuple(assigned))
                for lfdi, assigned in members.items()
            },
            programs={program.mrid: program for program in programs},
            **parts,
        )

    async def register(self, *lfdis, **parts):
        devices = [registry.NewDevice(lfdi=lfdi, pin=111115, **parts) for lfdi in lfdis or self.lfdis[:2]]
        return await registry.register(_LEVELS["OPERATOR"], self.serving, devices)

    async def refused(self, above, *programs):
        """Mirror what is refused in part; gives what is, told once in the audit and never again in any life."""
        seen = self.seen(*programs)
        changes = await mirror(above, self.serving, self.relayed, seen)
        lines = [line for line in self.serving.store.load(AuditRecord) if line.outcome == "refused"]
        assert [line.resource for line in lines] == list(changes.refused) != []
        assert faults(self.serving.store.load(AuditRecord)) == []
        assert (await mirror(above, self.serving, self.relayed, seen)).commits == 0
        serving, relayed = self.restarted()
        assert (await mirror(above, serving, relayed, seen)).commits == 0
        return changes.refused

    def restarted(self, enrol="none"):
        """Give the relay as it would be after a restart: from its store alone."""
        store = self.serving.store
        return _LEVELS["serving_of"]("substation", self.clock, store, seed=8), Relayed.load(store, CHANNEL, enrol)


@pytest.fixture
def scene(clock):
    return Scene(clock)


@pytest.fixture
def above():
    return ABOVE
