"""A utility, a substation, an aggregator and the DERs below them on one virtual clock: the real rules over simulated ports.

The substation serves what transformer T1 feeds in the utility's stead; the aggregator serves its own customers, passes on what
the utility says to those it stands for, and has programs of its own. Both are relays. A DER is of one of three ways: with the
utility, over the two servers of one channel; with the aggregator; or with both, over two channels. Switching moves DERs between
the utility and the substation.

Everything goes wrong everywhere, but for the clocks of relays: a relay keeps its clock with its server's (docs/decisions/0014),
so only those of the DERs are wrong and step. What happens is written down as `LevelsEvidence`; judging it is for others.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tierline.model.errors import Conflict, LinkError
from tierline.model.identity import ChannelId, Lfdi, PartyId, der_id
from tierline.model.parties import Authority, Channel, ChannelMode, Principal, Role
from tierline.model.records import FollowedProgramsRecord
from tierline.node.follower import Self
from tierline.node.relaying import RelayChannel, Relaying
from tierline.operations.relay.relayed import Relayed
from tierline.operations.serving import handed_over, registry, topology
from tierline.operations.serving.groups import joining
from tierline.operations.serving.state import Serving
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.views import Rates, Views
from tierline.sim.faults import draw_plan
from tierline.sim.hierarchy import (
    FAULTY,
    MEASURE_S,
    OWNER,
    PEN,
    calm_from_s,
    inverter_of,
    lfdi_of,
    name_of,
    supersede_code_of,
)
from tierline.sim.links import UTILITY, MessageNorth
from tierline.sim.operators import AGAIN_S, Operators, operator_of, set_records
from tierline.sim.relay_evidence import LeafEvidence, LevelsEvidence, RelayStore, ServerEvidence
from tierline.sim.relay_links import FleetFace, MessageFleetNorth, WatchedShared
from tierline.sim.watched import DerStore, ServerStore, WatchedFollower, WatchedStore
from tierline.sim.workload import CROSSING_MODES, SETS, Mix, draw_acts, grid, in_set
from tierline.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tierline.operations.relay.relayed import Enrol
    from tierline.ports import Store
    from tierline.sim.faults import Intensity
    from tierline.sim.nodes import Node
    from tierline.sim.watched import Watched

SUBSTATION, AGGREGATOR = "substation", "aggregator"
RELAYS = (SUBSTATION, AGGREGATOR)
ELEMENT = "T1"
"""The transformer whose DERs the substation serves."""
PARTIES = {UTILITY: PartyId(UTILITY), SUBSTATION: PartyId(SUBSTATION), AGGREGATOR: PartyId(AGGREGATOR)}
FROM_UTILITY, FROM_AGGREGATOR = ChannelId("utility"), ChannelId("aggregator")
WAYS = "DAUDDAUDDADUDADDDDDA"
"""By number: D with the utility alone, A with the aggregator alone, U with both; 60, 25 and 15 % of each lot of 20."""
SERVERS_OF = {"D": (UTILITY, SUBSTATION), "A": (AGGREGATOR,), "U": (UTILITY, SUBSTATION, AGGREGATOR)}
REFUSALS_PER_HOUR = 0.25
"""How often an owner looks for something to refuse."""
CUSTOMERS = ("customers", "evening")
"""Groups of the aggregator: of all its customers, and of every other one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelsSetting:
    """What is simulated."""

    seed: int
    ders: int = 20
    hours: float = 24.0
    ways: str = WAYS
    """Of the DERs in turn, round and round."""
    mix: Mix = field(default_factory=lambda: Mix(modes=CROSSING_MODES))
    """What the operators of the utility do."""
    of_aggregator: Mix = field(
        default_factory=lambda: Mix(
            controls=1.5, cancellations=0.4, defaults=0.3, switchings=0.0, groups=CUSTOMERS, modes=CROSSING_MODES
        )
    )
    """What those of the aggregator do."""
    faults: Intensity | None = FAULTY
    """None: nothing goes wrong, devices included."""


class Levels:
    """Three levels and the world round them."""

    def __init__(self, setting: LevelsSetting) -> None:
        self.setting = setting
        self.world = World(setting.seed)
        self.evidence = LevelsEvidence(servers={name: ServerEvidence(name=name) for name in PARTIES})
        names = [name_of(number) for number in range(setting.ders)]
        self._lfdis = {name: lfdi_of(name) for name in (*RELAYS, *names)}
        self._operators = {
            name: Operators(PARTIES[name], draw_acts(self.world.random(what), hours=setting.hours, mix=mix), server)
            for name, what, mix in (
                (UTILITY, "acts", setting.mix),
                (AGGREGATOR, "acts of the aggregator", setting.of_aggregator),
            )
            for server in (self.evidence.servers[name],)
        }
        self._grid = grid(setting.ders)
        for number, name in enumerate(names):
            self.evidence.ders[name] = LeafEvidence(
                name=name,
                lfdi=self._lfdis[name],
                inverter=inverter_of(self.world, number, CROSSING_MODES, calm_from_s(setting.faults, setting.hours)),
                supersede_code=supersede_code_of(number, setting.seed),
                way=setting.ways[number % len(setting.ways)],
            )
        for server in self.evidence.servers.values():
            server.doubles = frozenset(names[::3])
        self._refusals = {name: self._draw_refusals(name) for name in names}
        self.world.node(UTILITY, self._run_utility)
        self.world.node(SUBSTATION, self._run_substation)
        self.world.node(AGGREGATOR, self._run_aggregator)
        for name in names:
            self.world.node(name, self._run_leaf)
        if setting.faults is not None:
            self._draw_faults(names, setting.faults)
        self.world.watch(self.evidence.notice)

    def run(self) -> LevelsEvidence:
        """Let the time pass, then gather what was kept."""
        with self.world as world:
            world.run(self.setting.hours)
            self.evidence.end(world.loop.time())
        return self.evidence

    def _draw_refusals(self, name: str) -> list[tuple[float, int]]:
        """Say when the owner of a DER looks for something to refuse, and what he chooses."""
        random, end_s = self.world.random(f"owner {name}"), round(self.setting.hours * 3600)
        times = sorted(random.between(0, end_s) for _ in range(round(self.setting.hours * REFUSALS_PER_HOUR)))
        return [(float(at_s), random.between(0, 99)) for at_s in times]

    def _draw_faults(self, names: Sequence[str], intensity: Intensity) -> None:
        links = [(relay, UTILITY) for relay in RELAYS]
        links += [(name, server) for name in names for server in SERVERS_OF[self.evidence.ders[name].way]]
        plan = draw_plan(
            self.world.random("plan"),
            nodes=(*PARTIES, *names),
            links=links,
            hours=self.setting.hours,
            intensity=intensity,
        )
        steps = tuple(step for step in plan.clock_steps if step.node not in PARTIES)
        self.world.apply(replace(plan, clock_steps=steps))
        self.evidence.step_clocks(steps)

    def _with(self, *ways: str) -> dict[str, Lfdi]:
        return {name: leaf.lfdi for name, leaf in self.evidence.ders.items() if leaf.way in ways}

    # --- the servers ------------------------------------------------------------------------------------------------

    async def _run_utility(self, node: Node) -> None:
        serving = self._serving(node)
        serving.grid = self._grid
        serving.consequences += [joining(serving), handed_over.remembering(serving)]
        serving.control_points[ELEMENT] = PARTIES[SUBSTATION]
        serving.load()
        handed_over.recall(serving)
        operators = self._operators[UTILITY]
        operators.catch_up(serving, node.clock.deadline())
        await _until_kept(node, lambda: self._prepare_utility(serving))
        self._open(node, serving)
        await operators.operate(node, serving)
        await asyncio.Event().wait()

    async def _run_substation(self, node: Node) -> None:
        serving = self._relay(node)
        self._open(node, serving)
        await self._relaying(node, serving, "take").run()

    async def _run_aggregator(self, node: Node) -> None:
        serving = self._relay(node)
        operators = self._operators[AGGREGATOR]
        operators.catch_up(serving, node.clock.deadline())
        await _until_kept(node, lambda: self._prepare_aggregator(serving))
        self._open(node, serving)
        relaying = self._relaying(node, serving, "none")
        async with asyncio.TaskGroup() as group:
            group.create_task(relaying.run())
            group.create_task(operators.operate(node, serving))

    def _serving(self, node: Node) -> Serving:
        server = self.evidence.servers[node.name]

        def make() -> ServerStore:
            server.store = ServerStore(server) if node.name == UTILITY else RelayStore(server)
            return server.store

        return Serving(party=PARTIES[node.name], store=node.store(make), clock=node.clock, random=node.random, pen=PEN)

    def _relay(self, node: Node) -> Serving:
        """Load the serving half of a relay; what its last life has mirrored is in force with it."""
        server = self.evidence.servers[node.name]
        serving = self._serving(node)
        serving.consequences.append(joining(serving))
        serving.load()
        server.take_over(node.clock.deadline())
        serving.observers.append(lambda put, _delete: server.take_over(node.clock.deadline(), put))
        return serving

    def _open(self, node: Node, serving: Serving) -> None:
        sep2 = Sep2Server(serving, Views(serving, Rates(poll_s=300, post_s=3600)))
        node.serve(FleetFace(serving, self.evidence.servers[node.name], self._lfdis, sep2).handle)

    def _relaying(self, node: Node, serving: Serving, enrol: Enrol) -> Relaying:
        channel = RelayChannel(
            principal=Principal(party=PARTIES[UTILITY], role=Role.UPSTREAM, name=FROM_UTILITY),
            relayed=Relayed.load(serving.store, FROM_UTILITY, enrol),
            server=MessageFleetNorth(node, self.evidence.servers[node.name], FROM_UTILITY),
        )
        return Relaying(
            serving=serving,
            channels=[channel],
            clock=node.clock,
            random=node.random,
            phase_s=float(node.random.between(0, 86_399)),
        )

    async def _prepare_utility(self, serving: Serving) -> None:
        operator = operator_of(UTILITY)
        await topology.adopt_grid(operator, serving)
        known = set(serving.identities)
        new = [
            registry.NewDevice(
                lfdi=leaf.lfdi,
                service_point=f"point{number:02d}",
                managed_by=PARTIES[AGGREGATOR] if leaf.way == "A" else None,
            )
            for number, leaf in enumerate(self.evidence.ders.values())
            if leaf.lfdi not in known
        ]
        new += [
            registry.NewDevice(lfdi=self._lfdis[relay], aggregates=PARTIES[relay])
            for relay in RELAYS
            if self._lfdis[relay] not in known
        ]
        if new:
            await registry.register(operator, serving, new)
        lfdis = [leaf.lfdi for leaf in self.evidence.ders.values()]
        sets = {name: [lfdi for number, lfdi in enumerate(lfdis) if in_set(number, name)] for name in SETS}
        await self._make_sets(serving, sets)

    async def _prepare_aggregator(self, serving: Serving) -> None:
        customers = list(self._with("A", "U").values())
        known = set(serving.identities)
        new = [registry.NewDevice(lfdi=lfdi) for lfdi in customers if lfdi not in known]
        if new:
            await registry.register(operator_of(AGGREGATOR), serving, new)
        await self._make_sets(serving, dict(zip(CUSTOMERS, (customers, customers[::2]), strict=True)))

    async def _make_sets(self, serving: Serving, sets: Mapping[str, Sequence[Lfdi]]) -> None:
        der_ids = {lfdi: record.der_id for lfdi, record in serving.identities.items()}
        server = self.evidence.servers[serving.party]
        server.der_ids |= {
            name: der_ids[leaf.lfdi] for name, leaf in self.evidence.ders.items() if leaf.lfdi in der_ids
        }
        names = {record.group.name for record in serving.groups.values()}
        for name, members in sets.items():
            if name not in names:
                await serving.commit(set_records(serving, name, [der_ids[lfdi] for lfdi in members]))

    # --- the DERs ---------------------------------------------------------------------------------------------------

    async def _run_leaf(self, node: Node) -> None:
        leaf = self.evidence.ders[node.name]
        store = WatchedStore(node.store(lambda: DerStore(leaf)), node, leaf)
        leaf.store = store
        channels, servers = self._channels(node, leaf, store)
        digest = hashlib.sha256(node.name.encode()).digest()
        me = Self(
            der_id=der_id(int.from_bytes(digest[8:16], "big")),
            lfdi=leaf.lfdi,
            party=OWNER,
            channels=channels,
            mode=ChannelMode.DUAL if leaf.way == "U" else ChannelMode.SINGLE,
            supersede_code="7" if leaf.supersede_code == "7" else "14",
            measure_s=MEASURE_S,
            phase_s=float(node.random.between(0, 86_399)),
        )
        follower = WatchedFollower(node=node, der=leaf, servers=servers, me=me, store=store)
        async with asyncio.TaskGroup() as group:
            group.create_task(follower.run())
            group.create_task(self._refuse(node, follower))

    async def _refuse(self, node: Node, follower: WatchedFollower) -> None:
        """Have the owner refuse an event now and then, if there is any that he may refuse (E23)."""
        while self._refusals[node.name]:
            at_s, pick = self._refusals[node.name][0]
            await node.clock.sleep(at_s - node.clock.deadline())
            mrids = follower.refusable()
            self._refusals[node.name].pop(0)  # whatever becomes of it: who dies over it does not come again
            if mrids:
                with contextlib.suppress(LinkError, Conflict):  # Conflict: it ended meanwhile
                    await follower.opt_out(mrids[pick % len(mrids)])

    def _channels(
        self, node: Node, leaf: LeafEvidence, store: Store
    ) -> tuple[tuple[Channel, ...], dict[ChannelId, Watched]]:
        channels: list[Channel] = []
        servers: dict[ChannelId, Watched] = {}
        if leaf.way in {"D", "U"}:
            channels.append(Channel(id=FROM_UTILITY, party=PARTIES[UTILITY], authority=Authority.UTILITY, rank=1))
            known = store.each(FollowedProgramsRecord, of=(FROM_UTILITY,))
            both = {name: MessageNorth(node, leaf, FROM_UTILITY, name) for name in (UTILITY, SUBSTATION)}
            servers[FROM_UTILITY] = WatchedShared(FROM_UTILITY, both, next(known, None))
        if leaf.way in {"A", "U"}:
            party = PARTIES[AGGREGATOR]
            channels.append(Channel(id=FROM_AGGREGATOR, party=party, authority=Authority.AGGREGATOR, rank=2))
            servers[FROM_AGGREGATOR] = MessageNorth(node, leaf, FROM_AGGREGATOR, AGGREGATOR)
        return tuple(channels), servers


async def _until_kept(node: Node, prepare: Callable[[], Awaitable[None]]) -> None:
    """Prepare a node, again while its disk refuses."""
    while True:
        try:
            await prepare()
        except LinkError:
            await node.clock.sleep(AGAIN_S)
        else:
            return
