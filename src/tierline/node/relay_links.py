"""The relay of a node, put together: one link that stands for many to each server above it relays."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierline.model.errors import ConfigError
from tierline.model.identity import PartyId
from tierline.model.parties import Principal, Role
from tierline.node.pricing import PriceChannel, price_phase_s
from tierline.node.relaying import RelayChannel, Relaying
from tierline.node.uplink import uplink
from tierline.operations.relay.relayed import Relayed
from tierline.protocols.sep2.fleet_north import AT_ONCE, Sep2FleetNorth

if TYPE_CHECKING:
    from tierline.node.compose import Identity, Node
    from tierline.node.config import NodeConfig, NorthPart
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.listener import Notice

_POST_S = 300.0
"""Civil seconds between posts until the server states its postRate. Source: CSIP 2.1 G19."""
_DAY_S = 86_400


@dataclass(slots=True, kw_only=True)
class FleetLink:
    """A north link that stands for many, with what it learned about its server's pace and what the operator put above it."""

    link: Sep2FleetNorth
    poll_override_s: int | None
    woken: asyncio.Event
    """Set by notices."""

    @property
    def poll_s(self) -> float:
        """Civil seconds between walks."""
        return float(self.poll_override_s or self.link.poll_s)

    @property
    def post_s(self) -> float:
        """Civil seconds between posts."""
        return float(self.link.post_s or _POST_S)

    async def subscribe(self) -> None:
        """Ask to be told of changes.

        Raises: LinkError when that cannot be written down.
        """
        await self.link.subscribe()


def relaying_of(config: NodeConfig, identity: Identity, node: Node, serving: Serving) -> Relaying | None:
    """Put the relay of a node together; None when it relays nothing.

    Raises: ConfigError.
    """
    norths = [north for north in config.north if north.use == "relay"]
    if not norths:
        return None
    names = [north.channel for north in norths]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f'[[north]] channel: {name!r} is that of several links with use = "relay"; '
                "a relay has one server per channel, so give each its own channel and rank"
            )
    return Relaying(
        serving=serving,
        channels=[_channel(config, north, identity, node) for north in norths],
        clock=node.clock,
        random=node.random,
        phase_s=float(node.random.between(0, _DAY_S - 1)),
    )


def _channel(config: NodeConfig, north: NorthPart, identity: Identity, node: Node) -> RelayChannel:
    courier, entry = uplink(north, identity, node.clock, connections=AT_ONCE)
    woken = asyncio.Event()
    heard: list[Sep2FleetNorth] = []

    def hear(notice: Notice) -> None:
        """Let the next walk read what a notice names, now."""
        for link in heard:
            link.hear(notice)
        woken.set()

    uri = None
    if node.listening is not None and north.subscribe:
        uri = node.listening.notices.register(entry.channel, entry.server_lfdi, hear)
    link = Sep2FleetNorth(
        courier=courier,
        entry=entry,
        clock=node.clock,
        store=node.store,
        pen=0 if config.identity is None else config.identity.pen,
        notification_uri=uri,
    )
    heard.append(link)
    principal = Principal(party=PartyId(north.party), role=Role.UPSTREAM, name=north.channel, lfdi=entry.server_lfdi)
    relayed = Relayed.load(node.store, entry.channel, north.enrol, readings=north.readings)
    if north.prices:
        node.pricing.add(
            PriceChannel(
                channel=entry.channel,
                sources=[link.tariffs],
                keeper=node.pricing.keeper(principal, entry.channel, relayed=relayed),
                trusted=link.trusted,
                poll_override_s=north.poll_s,
                phase_s=price_phase_s(entry.lfdi),
            )
        )
    return RelayChannel(
        principal=principal,
        relayed=relayed,
        server=FleetLink(link=link, poll_override_s=north.poll_s, woken=woken),
    )
