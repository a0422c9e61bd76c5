"""From a configuration to the services of a node: the one place where adapters meet the rules."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from importlib import resources
from typing import TYPE_CHECKING

from tierline.engine.following.obey import RecordChange, owner_channel
from tierline.engine.governor import Cap
from tierline.env import RealClock, RealFiles, RealNetwork, SeededRandom, SystemRandom
from tierline.model.errors import ConfigError
from tierline.model.identity import ChannelId, DerId, Lfdi, PartyId, der_id, lfdi_of_certificate
from tierline.model.parties import Authority, Channel, Principal, Role
from tierline.model.profiles import defaults_to_keep
from tierline.model.records import AuditRecord, FollowedProgramsRecord
from tierline.model.topology import Grid
from tierline.node.capture import Capture, CapturedHandler
from tierline.node.fleet_device import fleet_of
from tierline.node.follower import Follower, Self
from tierline.node.listening import Listening, listening_of
from tierline.node.notifying import Telling, telling_of
from tierline.node.pricing import PriceChannel, Pricing, price_phase_s
from tierline.node.refused import RefusedEvents
from tierline.node.relay_links import relaying_of
from tierline.node.shared_channel import SharedChannel
from tierline.node.uplink import uplink
from tierline.operations.following.autonomous import Autonomous
from tierline.operations.following.prices import FollowedPrices
from tierline.operations.serving import handed_over
from tierline.operations.serving.groups import joining
from tierline.operations.serving.limits import recall
from tierline.operations.serving.state import Serving
from tierline.operations.serving.topology import adopt_grid
from tierline.protocols.sep2.mapping.carry import why_not
from tierline.protocols.sep2.mapping.described import lacking
from tierline.protocols.sep2.north import Sep2North
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.transport import HttpServer
from tierline.protocols.sep2.views import Rates, Views
from tierline.protocols.sunspec.link import Endpoint, Patience
from tierline.protocols.sunspec.south import SunSpecDevice
from tierline.security import tls
from tierline.security.keys import load_certificates
from tierline.security.trust import ChainTrust, MemoryVerdicts
from tierline.storage.hold import Hold
from tierline.storage.sqlite import Database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tierline.node.config import NodeConfig, NorthPart, Sep2Serve, TlsPart
    from tierline.node.relaying import Relaying
    from tierline.ports import Clock, Random, Southbound, Store
    from tierline.protocols.sep2.transport import Peer

_AUTHORITIES = {"utility": Authority.UTILITY, "aggregator": Authority.AGGREGATOR, "owner": Authority.OWNER}
_TRUST_GENERATION = 1
"""Anchors are read at start; a change of them is a new process."""
_DAY_S = 86_400


class Databases:
    """The databases that the nodes of one process share, each opened once."""

    def __init__(self) -> None:
        self._open: dict[Path, Database] = {}
        self._holds: list[Hold] = []

    def store(self, path: Path, node: str) -> Store:
        """Give a node its part of a database.

        Raises: ConfigError when the database cannot be opened.
        """
        at = path.resolve()
        if at not in self._open:
            RealFiles().make_folder(str(at.parent))
            self._open[at] = Database(str(at))
        return self._open[at].store(node)

    def hold(self, path: Path, node: str) -> None:
        """Make sure that nobody else runs a node, in this process or another, until `close`.

        Raises: ConfigError when somebody does.
        """
        at = path.resolve()
        RealFiles().make_folder(str(at.parent))
        self._holds.append(Hold(f"{at}.{node}.lock"))

    def close(self) -> None:
        """Write what was accepted and release them."""
        for database in self._open.values():
            database.close()
        self._open.clear()
        for hold in self._holds:
            hold.close()
        self._holds.clear()


@dataclass(slots=True, kw_only=True)
class Identity:
    """The certificate of a node and whom it believes."""

    lfdi: Lfdi
    certificate: Path
    key: Path
    anchors: tuple[bytes, ...]
    trust: ChainTrust
    capture: Capture | None = None
    """Where what is sent under this identity is written down, in demonstrations."""


@dataclass(slots=True, kw_only=True)
class Pace:
    """A north link with what it learned about its server's pace, and what the operator put above it."""

    link: Sep2North
    poll_override_s: int | None
    measure_s: float

    @property
    def poll_s(self) -> float:
        """Civil seconds between walks."""
        return float(self.poll_override_s or self.link.poll_s)

    @property
    def post_s(self) -> float:
        """Civil seconds between posts."""
        return float(self.link.post_s or max(300.0, self.measure_s))


@dataclass(slots=True, kw_only=True)
class ServingHalf:
    """What a node offers to those below."""

    state: Serving
    handler: Sep2Server
    http: HttpServer
    listen: Sequence[tuple[str, int]]
    telling: Telling


@dataclass(slots=True, kw_only=True)
class Node:
    """One node, composed and not yet running."""

    config: NodeConfig
    clock: Clock
    random: Random
    store: Store
    files: RealFiles
    pricing: Pricing
    listening: Listening | None = None
    serving: ServingHalf | None = None
    relaying: Relaying | None = None
    follower: Follower | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.node.name


def compose(config: NodeConfig, databases: Databases) -> Node:
    """Put a node together; nothing is opened on the network yet.

    Raises: ConfigError.
    """
    clock = clock_of(config)
    store = databases.store(config.database, config.node.name)
    last = next(store.each(AuditRecord, newest_first=True), None)
    random = random_of(config, 0 if last is None else last.sequence)
    followed = FollowedPrices(store, PartyId(config.node.party), clock) if config.serve is None else None
    pricing = Pricing(clock=clock, random=random, followed=followed)
    node = Node(config=config, clock=clock, random=random, store=store, files=RealFiles(), pricing=pricing)
    identity = None if config.tls is None else identity_of(config, config.tls)
    if identity is not None and config.capture is not None:
        identity.capture = Capture(node.files, str(config.state / config.capture.path), clock)
    if config.listener is not None and identity is not None:
        node.listening = listening_of(config, config.listener, identity, clock, store)
    if config.serve is not None and identity is not None:
        node.serving = _serving(config, identity, node)
        node.pricing.serving = node.serving.state
        node.relaying = relaying_of(config, identity, node, node.serving.state)
    if config.south or config.fleet is not None:
        node.follower = _follower(config, identity, node)
    return node


def clock_of(config: NodeConfig) -> RealClock:
    """Give the clock of a node: civil time, or the scaled one of a demonstration."""
    part = config.clock
    if part is None:
        return RealClock.of_this_machine()
    return RealClock(part.start, part.monotonic_s, part.speed)


def random_of(config: NodeConfig, life: int = 0) -> Random:
    """Give the randomness of a node; each node of a seeded run has its own stream, and each life of it another.

    `life` differs after a restart wherever names were drawn before, so that none is drawn twice.
    """
    seed = config.node.seed
    return SystemRandom() if seed is None else SeededRandom(f"{seed}/{config.node.name}/{life}")


def grid_of(config: NodeConfig) -> Grid | None:
    """Read the grid file of a node.

    Raises: ConfigError.
    """
    if config.grid is None:
        return None
    return Grid.from_json(data_text(config, config.grid.file, "json"))


def data_text(config: NodeConfig, name: str, suffix: str) -> str:
    """Read a data file: one that comes with tierline by its bare name, else a path.

    Raises: ConfigError when there is none.
    """
    shipped = resources.files("tierline.scenario") / "data" / f"{name}.{suffix}"
    if "/" not in name and "." not in name and shipped.is_file():
        with resources.as_file(shipped) as path:
            return _text(str(path))
    return _text(str(config.folder / name))


def _text(path: str) -> str:
    try:
        return RealFiles().read(path).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error


def control_points_of(part: Sep2Serve, grid: Grid | None) -> dict[str, PartyId]:
    """Give the elements of the grid that others serve in this node's stead, and who.

    Raises: ConfigError for an element the grid does not have, or one with two parties.
    """
    elements: set[str] = set()
    if grid is not None:
        elements = {row.id for row in grid.transformers} | {row.id for row in grid.feeders}
    found: dict[str, PartyId] = {}
    for point in part.control_point:
        if point.element not in elements:
            raise ConfigError(
                f"[[serve.sep2.control_point]] element: {point.element!r} is no transformer or feeder of the grid of this node"
            )
        if point.element in found:
            raise ConfigError(
                f"[[serve.sep2.control_point]] element: {point.element!r} is served by two parties; name one"
            )
        found[point.element] = PartyId(point.party)
    return found


def identity_of(config: NodeConfig, part: TlsPart) -> Identity:
    """Load the certificates of a node.

    Raises: ConfigError for a missing, unsafe or unfitting file, and for demo certificates outside a demo.
    """
    certificate, key = config.folder / part.certificate, config.folder / part.key
    anchors = tuple(der for path in part.anchors for der in load_certificates(config.folder / path))
    own = load_certificates(certificate)
    trust = ChainTrust(anchors, generation=_TRUST_GENERATION, verdicts=MemoryVerdicts(), demo=part.demo)
    return Identity(lfdi=lfdi_of_certificate(own[0]), certificate=certificate, key=key, anchors=anchors, trust=trust)


def self_principal(config: NodeConfig) -> Principal:
    """Give the principal of the node acting on its own behalf."""
    return Principal(party=PartyId(config.node.party), role=Role.SELF, name=config.node.name)


async def prepare(node: Node) -> None:
    """Load what the serving half keeps and make the groups of its grid; keep what the listener's paths are made from.

    Raises: ConfigError; LinkError when the store refuses.
    """
    if node.listening is not None:
        await node.listening.keep(node.store)
    if node.serving is not None:
        node.serving.state.load()
        handed_over.recall(node.serving.state)
        node.serving.telling.subscriptions.recall()
        recall(node.serving.state)
        await adopt_grid(self_principal(node.config), node.serving.state)


def _serving(config: NodeConfig, identity: Identity, node: Node) -> ServingHalf:
    if config.serve is None or config.identity is None:
        raise AssertionError("a node that serves has both by its configuration check")
    state = Serving(
        party=PartyId(config.node.party),
        store=node.store,
        clock=node.clock,
        random=node.random,
        secrets=SystemRandom(),
        pen=config.identity.pen,
        grid=grid_of(config),
        budget=tuple(
            Cap(
                name=part.name,
                window=timedelta(seconds=part.window_s),
                power_w=None if part.power_w is None else Decimal(str(part.power_w)),
                devices=part.devices,
                per_principal=part.per_principal,
            )
            for part in config.governor
        ),
        carriers=[why_not],
        lacking=lacking,
    )
    state.consequences += [joining(state), handed_over.remembering(state)]
    state.control_points.update(control_points_of(config.serve.sep2, state.grid))
    part = config.serve.sep2
    views = Views(state, Rates(poll_s=part.poll_rate_s, post_s=part.post_rate_s))
    telling = telling_of(config, part.notify, identity, state, views)
    handler = Sep2Server(state, views, telling.subscriptions)

    def authorise(peer: Peer) -> bool:
        return handler.knows(peer.lfdi)

    http = HttpServer(
        handler=handler if identity.capture is None else CapturedHandler(handler, identity.capture),
        context=tls.server_context(identity.certificate, identity.key, identity.anchors),
        trust=identity.trust,
        authorise=authorise,
        clock=node.clock,
        network=RealNetwork(),
    )
    listen = [(address.host, address.port) for address in part.listen]
    return ServingHalf(state=state, handler=handler, http=http, listen=listen, telling=telling)


def _follower(config: NodeConfig, identity: Identity | None, node: Node) -> Follower:
    own = _own_der_id(config)
    lfdi = Lfdi("0" * 40) if identity is None else identity.lfdi
    device, measure_s = _device(config, node, own)
    obeyed = [north for north in config.north if north.use == "obey"]
    channels = {
        ChannelId(north.channel): Channel(
            id=ChannelId(north.channel),
            party=PartyId(north.party),
            authority=_AUTHORITIES[north.authority],
            rank=north.rank,
        )
        for north in obeyed
    }
    if config.north and identity is None:
        raise AssertionError("a node with a north link has certificates by its configuration check")
    servers = {
        channel: _server(config, [north for north in obeyed if north.channel == channel], identity, node, measure_s)
        for channel in channels
        if identity is not None
    }
    me = Self(
        der_id=own,
        lfdi=lfdi,
        party=PartyId(config.node.party),
        channels=(*channels.values(), owner_channel(PartyId(config.node.party))),
        mode=config.follow.mode,
        supersede_code=config.follow.supersede_code,
        owner_limits=config.follow.limits,
        refusable=frozenset(_AUTHORITIES[authority] for authority in config.follow.opt_out),
        record=tuple(
            RecordChange(since=change.since, channel=ChannelId(change.channel)) for change in config.follow.record
        ),
        measure_s=measure_s,
        phase_s=float(node.random.between(0, _DAY_S - 1)),
        pen=0 if config.identity is None else config.identity.pen,
    )
    return Follower(
        me=me,
        south=device,
        servers=servers,
        store=node.store,
        clock=node.clock,
        random=node.random,
        audit=None if node.serving is None else RefusedEvents(node.serving.state, self_principal(config)),
    )


def _device(config: NodeConfig, node: Node, own: DerId) -> tuple[Southbound, float]:
    """Give what this node obeys with, and how often it is measured."""
    if config.fleet is not None:
        if config.serve is None or node.serving is None:
            raise AssertionError("a node with a fleet serves by its configuration check")
        me = self_principal(config)
        fleet = fleet_of(config, config.fleet, config.serve.sep2, node.serving.state, me)
        return fleet, float(config.fleet.read_s)
    south = config.south[0]
    device = SunSpecDevice(
        network=RealNetwork(),
        clock=node.clock,
        random=node.random,
        endpoint=Endpoint(host=south.address.host, port=south.address.port, unit=south.unit),
        der_id=own,
        patience=Patience(request_s=south.timeout_s),
    )
    follow = config.follow
    if follow.profile is None:
        return device, float(south.read_s)
    kept = defaults_to_keep(
        follow.profile, follow.normal_category, follow.abnormal_category, frozenset(follow.confirmed)
    )
    return Autonomous(device, kept), float(south.read_s)


def _server(
    config: NodeConfig, norths: Sequence[NorthPart], identity: Identity, node: Node, measure_s: float
) -> Pace | SharedChannel:
    """Give the one server of a channel, or all of them as one.

    Raises: ConfigError.
    """
    pen = 0 if config.identity is None else config.identity.pen
    paces: dict[str, Pace] = {}
    for north in norths:
        courier, entry = uplink(north, identity, node.clock)
        if entry.server in paces:
            raise ConfigError(
                f"[[north]] server: {north.server!r} stands twice for channel {north.channel!r}; remove one"
            )
        link = Sep2North(
            courier=courier,
            entry=entry,
            clock=node.clock,
            store=node.store,
            lfdi=identity.lfdi,
            pen=pen,
            is_one_of=len(norths) > 1,
            tells_serial=north.tells_serial,
        )
        paces[entry.server] = Pace(link=link, poll_override_s=north.poll_s, measure_s=measure_s)
    channel = ChannelId(norths[0].channel)
    followed = [pace.link.tariffs for pace, north in zip(paces.values(), norths, strict=True) if north.prices]
    if followed:
        above = Principal(party=PartyId(norths[0].party), role=Role.UPSTREAM, name=channel)
        fleet = None if config.fleet is None else config.fleet.group
        node.pricing.add(
            PriceChannel(
                channel=channel,
                sources=followed,
                keeper=node.pricing.keeper(above, channel, fleet=fleet),
                poll_override_s=norths[0].poll_s,
                phase_s=price_phase_s(identity.lfdi),
            )
        )
    if len(paces) == 1:
        return next(iter(paces.values()))
    return SharedChannel(channel, paces, next(node.store.each(FollowedProgramsRecord, of=(channel,)), None))


def _own_der_id(config: NodeConfig) -> DerId:
    """Give the key this node has for its own DER: made from its name, so the same after every restart."""
    digest = hashlib.sha256(f"{config.node.party}/{config.node.name}".encode()).digest()
    return der_id(int.from_bytes(digest[:8], "big"))
