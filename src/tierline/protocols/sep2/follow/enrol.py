"""Register EndDevices at a server for which this node stands, and take them out again.

Source: IEEE 2030.5-2018 10.4; CSIP 2.1 6.1 (in-band registration by an aggregator).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.identity import sfdi_of
from tierline.protocols.sep2.client import delete, post
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.resources import devices

if TYPE_CHECKING:
    from tierline.model.programs import FleetMember
    from tierline.protocols.sep2.client import Steps


def register(list_href: str, member: FleetMember, time: int) -> Steps[None]:
    """Register one member; one that is there already is no fault.

    Units: time in seconds since 1970, of the server.
    Raises: Forbidden (403: this server registers out of band), LinkError, PeerError.
    """
    device = devices.EndDevice(
        device_category=member.device_category,
        lfdi=member.lfdi,
        sfdi=sfdi_of(member.lfdi),
        changed_time=time,
        enabled=member.enabled,
    )
    yield from post(list_href, render(device))


def take_out(href: str) -> Steps[None]:
    """Take one member out; one that is gone already is no fault.

    Raises: Forbidden, LinkError, PeerError.
    """
    yield from delete(href)
