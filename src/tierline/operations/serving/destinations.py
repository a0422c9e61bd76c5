"""Where notices may go: a peer names the place, so it is judged as what a stranger would have this node do.

Three rules. What is not written in the one plain way is refused, not interpreted. Every address a name stands for is judged,
and connections go to the very address that was judged. What is not on the public internet is refused unless the operator
named it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tierline.model.errors import Forbidden, PeerError

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Gives the addresses a name stands for now, as text; raises LinkError when that cannot be found out."""

_PATH = "Subscription/notificationURI"
_LONGEST: Final = 1024
"""Characters of a notificationURI."""

_URI: Final = re.compile(
    r"(?i:https)://(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!$&-;=?-Z_a-z~%]*)?"
)
"""A path of what RFC 3986 allows in path and query, never a fragment; no user before the host."""
_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A host name whose last label begins with a letter: libraries read `1`, `0x7f.1` and `017700000001` as addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A place that notices go to."""

    host: str
    """An address in its one plain form, or a name in lower case."""
    port: int
    path: str
    """Path and query."""


class Destinations:
    """Judges the places that peers name."""

    def __init__(self, allow: frozenset[tuple[str, int]], resolve: Resolve) -> None:
        """Let through what is public, and besides it the hosts and ports that the operator named."""
        self._allow = frozenset((plain_host(host), port) for host, port in allow)
        self._resolve = resolve

    def judge(self, uri: str) -> Destination:
        """Read a notificationURI.

        Raises: PeerError when it is not written as it must be; Forbidden when it names an address that may not be told.
        """
        found = _URI.fullmatch(uri) if len(uri) <= _LONGEST else None
        if found is None:
            raise PeerError(f"{uri[:100]!r} is not https://host:port/path, nothing else is taken", path=_PATH)
        port = int(found["port"] or 443)
        if not 0 < port < 65536:
            raise PeerError(f"there is no port {port}", path=_PATH)
        written = found["six"] or found["host"]
        host, address = plain_host(written), _address(written)
        if isinstance(address, IPv6Address) is not (found["six"] is not None) or (
            address is None and (len(host) > 253 or not _NAME.fullmatch(host))
        ):
            raise PeerError(
                f"{written[:100]!r} is neither a host name nor an address in its plain form, such as 192.0.2.1",
                path=_PATH,
            )
        destination = Destination(host=host, port=port, path=found["path"] or "/")
        if address is not None:
            self._check(destination, host)
        return destination

    async def addresses(self, destination: Destination) -> tuple[str, ...]:
        """Find the addresses to connect to; all of them may be told.

        Raises: Forbidden when any of them may not: a name that stands for such an address is not trusted at all; LinkError
        when the name cannot be resolved.
        """
        if _address(destination.host) is not None:
            self._check(destination, destination.host)
            return (destination.host,)
        found = tuple(await self._resolve(destination.host))
        for address in found:
            self._check(destination, address)
        return tuple(plain_host(address) for address in found)

    def _check(self, destination: Destination, address: str) -> None:
        """Refuse an address that may not be told.

        Raises: Forbidden.
        """
        if (plain_host(address), destination.port) in self._allow:
            return
        found = _address(address)
        fault = Fault("no address in its plain form", absolute=True) if found is None else fault_of(found)
        if fault is None:
            return
        if not fault.absolute and (destination.host, destination.port) in self._allow:
            return  # a name the operator vouches for; but never what no listener is at
        raise Forbidden(
            f"notices may not go to {destination.host} port {destination.port}: {address} is {fault.reason}; "
            "the operator can allow it under [serve.sep2.notify] allow"
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an address may not be told."""

    reason: str
    absolute: bool = False
    """Whether it may not either when the operator allowed a name that stands for it."""


def _networks(rows: Sequence[tuple[str, str, bool]]) -> tuple[tuple[_Network, Fault], ...]:
    return tuple((ipaddress.ip_network(network), Fault(reason, absolute)) for network, reason, absolute in rows)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The registries of special-purpose addresses (RFC 6890) as of today, written out: what Python knows of them differs by version.
_SPECIAL: Final = _networks(
    (
        ("169.254.169.254/32", "where a cloud keeps the secrets of its machines", True),
        ("168.63.129.16/32", "where a cloud talks to its machines", True),
        ("fd00:ec2::254/128", "where a cloud keeps the secrets of its machines", True),
        ("fd20:ce::254/128", "where a cloud keeps the secrets of its machines", True),
        ("100.100.100.200/32", "where a cloud keeps the secrets of its machines", True),
        ("0.0.0.0/8", "unspecified", True),
        ("10.0.0.0/8", "private", False),
        ("100.64.0.0/10", "behind the address translator of a carrier", False),
        ("127.0.0.0/8", "this machine", False),
        ("169.254.0.0/16", "link-local", True),
        ("172.16.0.0/12", "private", False),
        ("192.0.0.0/24", "reserved for protocols", True),
        ("192.0.2.0/24", "for documentation", False),
        ("192.88.99.0/24", "a relay between IPv4 and IPv6", True),
        ("192.168.0.0/16", "private", False),
        ("198.18.0.0/15", "for measurements", False),
        ("198.51.100.0/24", "for documentation", False),
        ("203.0.113.0/24", "for documentation", False),
        ("224.0.0.0/4", "multicast", True),
        ("240.0.0.0/4", "reserved", True),
        ("::/128", "unspecified", True),
        ("::1/128", "this machine", False),
        ("fc00::/7", "private", False),
        ("fe80::/10", "link-local", True),
        ("ff00::/8", "multicast", True),
        ("2001::/23", "reserved for protocols", True),
        ("2001:db8::/32", "for documentation", False),
        ("3fff::/20", "for documentation", False),
    )
)
_PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""NAT64. Source: RFC 6052."""
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")


def fault_of(address: IPv4Address | IPv6Address) -> Fault | None:
    """Say why an address is not a public one; None when it is. An address inside another is judged as itself."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return Fault("bound to one link", absolute=True)
        if (inner := _embedded(address)) is not None:
            fault = fault_of(inner)
            return None if fault is None else Fault(f"{inner} in another form, {fault.reason}", absolute=fault.absolute)
    for network, fault in _SPECIAL:
        if address.version == network.version and address in network:
            return fault
    if isinstance(address, IPv6Address) and address not in _PUBLIC_6:
        return Fault("not in use on the public internet", absolute=True)
    return None


def _embedded(address: IPv6Address) -> IPv4Address | None:
    number = int(address)
    if address in _MAPPED or address in _TRANSLATED:
        return IPv4Address(number & 0xFFFF_FFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(number >> 80 & 0xFFFF_FFFF)
    return None


def plain_host(host: str) -> str:
    """Give the one form of a host by which it is compared: an address as the standard writes it, a name in lower case."""
    found = _address(host)
    return host.lower() if found is None else str(found)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Read an address in its plain form: four decimal numbers without leading zeros, or IPv6."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
