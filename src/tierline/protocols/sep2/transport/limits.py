"""What a peer may ask of us: one set of limits, the same for the server and for the client."""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Deadlines in unscaled seconds, sizes in bytes, and numbers of connections.

    The defaults leave room for what is known of clients: one opens about 8 connections at once, an aggregator more, many
    devices may stand behind one address, and the largest messages are list pages and reading sets of some 100 kB.
    """

    handshake_s: float = 10.0
    """From the TCP connection to the end of the TLS handshake."""

    headers_s: float = 10.0
    """From the first byte of a message to the end of its headers."""

    body_s: float = 30.0
    """From the end of the headers to the end of the body."""

    idle_s: float = 900.0
    """Between messages; as long as the default pollRate of IEEE 2030.5, so that one connection serves a polling client."""

    answer_s: float = 30.0
    """What a handler may take; and what a client waits for the first byte of an answer."""

    write_s: float = 30.0
    """How long a peer may let its answers pile up."""

    reuse_s: float = 120.0
    """How long a client trusts a connection it has not used: address translators forget silently after some minutes."""

    drain_s: float = 10.0
    """How long a server that is going down waits for the requests in hand."""

    head_bytes: int = 16 * 1024
    """Request or status line and headers."""

    target_bytes: int = 2048
    """Path and query."""

    body_bytes: int = 1024 * 1024

    waiting_requests: int = 32
    """Pipelined requests in hand before no more is read from that peer."""

    connections: int = 10_000
    """Established connections of the whole listener."""

    handshakes: int = 512
    """Connections that have not proved an identity yet: strangers cannot take the places of those who have."""

    handshakes_per_s_per_address: float = 50.0
    handshake_burst_per_address: int = 1_000
    """A fleet behind one address may come back at once after an outage; a flood may not go on."""

    connections_per_address: int = 1_000
    """By IPv4 address or IPv6 /64, which is what one subscriber has."""

    connections_per_lfdi: int = 64


def address_key(host: str) -> str:
    """Give the unit by which connections are counted: an IPv4 address or the /64 of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
