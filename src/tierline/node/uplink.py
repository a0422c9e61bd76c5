"""From a [[north]] part to what its link begins with: where, as whom, and what carries the requests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tierline.env import RealNetwork
from tierline.model.errors import ConfigError, PeerError
from tierline.model.identity import ChannelId, Lfdi, PartyId, parse_lfdi
from tierline.node.capture import CapturedCourier
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.transport import HttpClient
from tierline.security import tls

if TYPE_CHECKING:
    from tierline.node.compose import Identity
    from tierline.node.config import NorthPart
    from tierline.ports import Clock
    from tierline.protocols.sep2.courier import Courier


def uplink(north: NorthPart, identity: Identity, clock: Clock, *, connections: int = 1) -> tuple[Courier, Entry]:
    """Give the courier and the entry of a link; nothing is opened yet.

    Raises: ConfigError naming the key at fault.
    """
    host, port, path = address_of(north.server)
    try:
        server_lfdi = None if north.server_lfdi is None else parse_lfdi(north.server_lfdi)
    except PeerError as error:
        raise ConfigError(f"[[north]] server_lfdi: {error}") from error
    courier: Courier = HttpClient(
        host=host,
        port=port,
        context=tls.client_context(identity.certificate, identity.key, identity.anchors),
        trust=identity.trust,
        clock=clock,
        network=RealNetwork(),
        server_lfdi=server_lfdi,
        connections=connections,
    )
    if identity.capture is not None:
        courier = CapturedCourier(courier, identity.capture, server_lfdi or Lfdi(""))
    entry = Entry(
        dcap=path,
        lfdi=identity.lfdi,
        channel=ChannelId(north.channel),
        party=PartyId(north.party),
        server=f"{host}:{port}",
        server_lfdi=server_lfdi,
        pin=north.pin,
    )
    return courier, entry


def address_of(server: str) -> tuple[str, int, str]:
    """Take the address of a server apart: host, port, path.

    Raises: ConfigError.
    """
    fault = ConfigError(
        f"[[north]] server: {server!r} is not https://host:port/path, for example https://192.0.2.1:8443/dcap"
    )
    try:
        at = urlsplit(server)
        port = at.port
    except ValueError as error:
        raise fault from error
    if at.scheme != "https" or at.hostname is None or at.query or at.fragment:
        raise fault
    return at.hostname, port or 443, at.path or "/dcap"
