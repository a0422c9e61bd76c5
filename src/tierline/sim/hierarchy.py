"""A utility and its DERs on one virtual clock: the real rules, use cases and follower over simulated ports.

Two levels. At message level a walk is one message, so that a day of twenty DERs takes seconds; at byte level the real
2030.5 client and server speak real XML to each other. Everything else is the same: the serving state and its use cases on
a store that survives crashes, the follower with its machine, a device outside every node. What happens is written down as
`Evidence`; judging it is for others.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.engine.following.obey import owner_channel
from tierline.model.control import Setpoints
from tierline.model.errors import LinkError
from tierline.model.identity import ChannelId, Lfdi, PartyId, der_id
from tierline.model.parties import Authority, Channel, ChannelMode
from tierline.node.follower import Self
from tierline.operations.serving import registry, topology
from tierline.operations.serving.state import Serving
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.north import Sep2North
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.views import Rates, Views
from tierline.sim.evidence import DerEvidence, Evidence, Inverter, second
from tierline.sim.faults import Fault, Intensity
from tierline.sim.links import UTILITY, ByteCourier, ByteNorth, MessageNorth, SouthFace
from tierline.sim.operators import AGAIN_S, Operators, operator_of, set_records
from tierline.sim.owner_evidence import OwnerEvidence
from tierline.sim.owners import Owner, desk_of
from tierline.sim.watched import DerStore, ServerStore, WatchedFollower, WatchedStore
from tierline.sim.workload import MODES, OWNER_MODES, SETS, SETTINGS, Mix, draw_acts, draw_owner_acts, grid, in_set
from tierline.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.model.control import FunctionName
    from tierline.ports import Store
    from tierline.sim.nodes import Node

PARTY = PartyId("utility")
OWNER = PartyId("owner")
CHANNEL = ChannelId("utility")
PEN = 40732
OPERATOR = operator_of(PARTY)
MEASURE_S = 1800.0

WITHOUT_STREAMS = frozenset(Fault) - {Fault.SPLIT, Fault.RESET}
"""The kinds of fault a network of messages has."""

FAULTY = Intensity(kinds=WITHOUT_STREAMS, per_node_day=1.0, largest_jump_s=600.0)
"""Every kind, about once a day at each node or link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is simulated."""

    seed: int
    ders: int = 20
    hours: float = 24.0
    real_bytes: bool = False
    mix: Mix = field(default_factory=Mix)
    faults: Intensity | None = FAULTY
    """None: nothing goes wrong, devices included."""


def name_of(number: int) -> str:
    """Give the name of the node of a DER."""
    return f"der{number:02d}"


def lfdi_of(name: str) -> Lfdi:
    """Give the LFDI of a node."""
    return Lfdi(hashlib.sha256(name.encode()).hexdigest()[:40].upper())


def calm_from_s(faults: Intensity | None, hours: float) -> float:
    """Say from when on devices fail no more: always where nothing goes wrong, else when the world falls quiet."""
    return 0.0 if faults is None else (1 - faults.quiet) * hours * 3600


def supersede_code_of(number: int, seed: int) -> str:
    """Say how a DER answers to being superseded by another program (E18): some one way, some the other."""
    return "7" if (number + seed) % 4 == 0 else "14"


def inverter_of(world: World, number: int, modes: Sequence[FunctionName], calm_from_s: float) -> Inverter:
    """Make the device of a DER: some lack a function, some carry no ramp time."""
    left_out = {3: "volt_watt", 4: "freq_droop"}.get(number % 5)
    name = name_of(number)
    return Inverter(
        name=name,
        functions=frozenset({*modes, *SETTINGS} - {left_out}),
        held=Setpoints(),
        carries_ramp_time=number % 7 != 5,
        random=world.random(f"inverter {name}"),
        calm_from_s=calm_from_s,
    )


def is_owned(number: int) -> bool:
    """Say whose owner limits his device himself: every third."""
    return number % 3 == 1


class Hierarchy:
    """One utility, its DERs and the world round them."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.world = World(setting.seed)
        self.evidence = Evidence()
        acts = draw_acts(self.world.random("acts"), hours=setting.hours, mix=setting.mix)
        self._operators = Operators(PARTY, acts, self.evidence)
        self._grid = grid(setting.ders)
        names = [name_of(number) for number in range(setting.ders)]
        self._lfdis = {name: lfdi_of(name) for name in names}
        for number, name in enumerate(names):
            modes = (*MODES, *OWNER_MODES) if is_owned(number) else MODES
            inverter = inverter_of(self.world, number, modes, calm_from_s(setting.faults, setting.hours))
            code = supersede_code_of(number, setting.seed)
            self.evidence.ders[name] = DerEvidence(
                name=name,
                lfdi=self._lfdis[name],
                inverter=inverter,
                supersede_code=code,
                owner=OwnerEvidence() if is_owned(number) else None,
            )
        self._owners = {
            name: Owner(draw_owner_acts(self.world.random(f"owner {name}"), hours=setting.hours), der.owner)
            for name, der in self.evidence.ders.items()
            if der.owner is not None
        }
        if not setting.real_bytes:
            self.evidence.doubles = frozenset(names[::3])
        utility = self.world.node(UTILITY, self._run_utility)
        self._server_clock = utility.clock
        for name in names:
            self.world.node(name, self._run_der)
        if setting.faults is not None:
            self.world.draw_faults(
                links=[(name, UTILITY) for name in names], hours=setting.hours, intensity=setting.faults
            )
        self.evidence.step_clocks(self.world.plan.clock_steps)
        self.world.watch(self.evidence.notice)

    def run(self) -> Evidence:
        """Let the time pass, then gather what was kept."""
        with self.world as world:
            world.run(self.setting.hours)
            self.evidence.end(world.loop.time())
        return self.evidence

    # --- the utility ------------------------------------------------------------------------------------------------

    async def _run_utility(self, node: Node) -> None:
        store = node.store(self._kept)
        serving = Serving(party=PARTY, store=store, clock=node.clock, random=node.random, pen=PEN, grid=self._grid)
        serving.load()
        self._operators.catch_up(serving, node.clock.deadline())
        while True:
            try:
                await self._prepare(serving)
                break
            except LinkError:
                await node.clock.sleep(AGAIN_S)
        sep2 = Sep2Server(serving, Views(serving, Rates(poll_s=300, post_s=3600)))
        face = SouthFace(serving, self.evidence, self._lfdis, sep2)
        node.serve(face.handle)
        await self._operators.operate(node, serving)
        await asyncio.Event().wait()

    def _kept(self) -> ServerStore:
        store = self.evidence.utility = ServerStore(self.evidence)
        return store

    async def _prepare(self, serving: Serving) -> None:
        await topology.adopt_grid(OPERATOR, serving)
        known = set(serving.identities)
        new = [
            registry.NewDevice(lfdi=lfdi, service_point=f"point{number:02d}")
            for number, lfdi in enumerate(self._lfdis.values())
            if lfdi not in known
        ]
        if new:
            await registry.register(OPERATOR, serving, new)
        for name, lfdi in self._lfdis.items():
            self.evidence.ders[name].der_id = serving.identities[lfdi].der_id
        names = {record.group.name for record in serving.groups.values()}
        for name in SETS:
            if name not in names:
                numbered = enumerate(self._lfdis.values())
                ders = [serving.identities[lfdi].der_id for number, lfdi in numbered if in_set(number, name)]
                await serving.commit(set_records(serving, name, ders))

    # --- the DERs ---------------------------------------------------------------------------------------------------

    async def _run_der(self, node: Node) -> None:
        der = self.evidence.ders[node.name]
        store = WatchedStore(node.store(lambda: DerStore(der)), node, der)
        der.store = store
        digest = hashlib.sha256(node.name.encode()).digest()
        own = der_id(int.from_bytes(digest[8:16], "big"))
        me = Self(
            der_id=own,
            lfdi=der.lfdi,
            party=OWNER,
            channels=(
                Channel(id=CHANNEL, party=PARTY, authority=Authority.UTILITY, rank=1),
                owner_channel(OWNER),
            ),
            mode=ChannelMode.SINGLE,
            supersede_code="7" if der.supersede_code == "7" else "14",
            measure_s=MEASURE_S,
            phase_s=float(node.random.between(0, 86_399)),
            pen=PEN,
        )
        server = self._byte_north(node, der, store) if self.setting.real_bytes else MessageNorth(node, der, CHANNEL)
        follower = WatchedFollower(node=node, der=der, servers={CHANNEL: server}, me=me, store=store)
        async with asyncio.TaskGroup() as group:
            group.create_task(follower.run())
            if node.name in self._owners:
                group.create_task(self._owners[node.name].speak(node, desk_of(node, follower, store, PEN)))

    def _byte_north(self, node: Node, der: DerEvidence, store: Store) -> ByteNorth:
        entry = Entry(
            dcap="/dcap",
            lfdi=der.lfdi,
            channel=CHANNEL,
            party=PARTY,
            server=f"{UTILITY}:443",
            server_lfdi=None,
            pin=None,
        )
        north = Sep2North(courier=ByteCourier(node), entry=entry, clock=node.clock, store=store, lfdi=der.lfdi, pen=PEN)
        return ByteNorth(north, self.evidence, der, lambda: second(self._server_clock.now()))
