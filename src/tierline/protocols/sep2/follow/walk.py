"""One walk of the whole tree: DeviceCapability, time, own EndDevice, assignments, programs, controls, defaults, curves.

Source: IEEE 2030.5-2018 9.3, 10.10; CSIP 2.1 P25.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.model.control import Provenance
from tierline.model.errors import Forbidden, PeerError
from tierline.model.identity import sfdi_of
from tierline.model.programs import ProgramsSeen
from tierline.protocols.sep2.client import Ask, get, read, read_list
from tierline.protocols.sep2.follow.programs import read_program
from tierline.protocols.sep2.resources import der, devices

if TYPE_CHECKING:
    from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.resources.objects import Link
    from tierline.protocols.sep2.resources.rows import Value

DEFAULT_POLL_S = 900
"""pollRate when a server states none. Source: IEEE 2030.5-2018, pollRate."""

FASTEST_POLL_S = 10
"""No server is asked more often than this, whatever it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where and as whom to begin."""

    dcap: str
    """Path of the DeviceCapability."""
    lfdi: Lfdi
    """Our own."""
    channel: ChannelId
    party: PartyId
    server: str
    """Host and port, for provenance."""
    server_lfdi: Lfdi | None
    pin: int | None
    """Compared with the server's Registration when given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What a walk found."""

    seen: ProgramsSeen
    poll_s: int
    """How long to wait until the next walk."""
    reply_to: dict[Mrid, str]
    """Where each event wants its Responses."""
    der_list: Link | None
    mirror_list: Link | None
    device_information: Link | None
    log_events: Link | None
    hrefs: dict[Mrid, str] = field(default_factory=dict)
    """Where each event itself is."""
    tariff_list: str | None = None
    """Where the server lists tariffs for everybody."""
    tariffs_assigned: tuple[str, ...] = ()
    """Where it lists those of our function set assignments."""


def walk(entry: Entry) -> Steps[Tree]:
    """Read the whole tree once.

    Raises: Forbidden when the server does not know us or shows another PIN; LinkError; PeerError.
    """
    dcap = yield from get(entry.dcap, devices.DeviceCapability)
    if dcap.end_device_list_link is None:
        raise PeerError("DeviceCapability has no EndDeviceListLink", path="DeviceCapability")
    # Time is asked for by itself, not as part of a list: the answer's own times bound the offset.
    offset_s = yield from clock_offset(dcap.time_link)
    listed = yield from read_list(dcap.end_device_list_link, devices.EndDeviceList)
    own = own_device(entry, listed.items)
    yield from check_pin(entry, own)
    assignments = yield from read_list(own.function_set_assignments_list_link, devices.FunctionSetAssignmentsList)
    found: dict[Mrid, der.DERProgram] = {}
    # One poll is one walk of everything, so the list that changes fastest sets the pace.
    polls = [dcap.poll_rate, listed.poll_s, assignments.poll_s]
    tariffs: list[str] = []
    for assignment in assignments.items:
        if not isinstance(assignment, devices.FunctionSetAssignments):
            continue
        tariffs += tariffs_at(assignment)
        programs = yield from read_list(assignment.der_program_list_link, der.DERProgramList)
        polls.append(programs.poll_s)
        for program in programs.items:
            if isinstance(program, der.DERProgram):
                # A program reached through two assignments is one program.
                found.setdefault(program.mrid, program)
    reply_to: dict[Mrid, str] = {}
    hrefs: dict[Mrid, str] = {}
    provenance = provenance_of(entry)
    programs_seen = []
    for program in found.values():
        one = yield from read_program(program, provenance)
        programs_seen.append(one.program)
        reply_to |= one.reply_to
        hrefs |= one.hrefs
    stated = [rate for rate in polls if rate is not None]
    return Tree(
        seen=ProgramsSeen(channel=entry.channel, programs=tuple(programs_seen), clock_offset_s=offset_s),
        poll_s=max(FASTEST_POLL_S, min(stated, default=DEFAULT_POLL_S)),
        reply_to=reply_to,
        hrefs=hrefs,
        der_list=own.der_list_link,
        mirror_list=dcap.mirror_usage_point_list_link,
        device_information=own.device_information_link,
        log_events=own.log_event_list_link,
        tariff_list=next(iter(tariffs_at(dcap)), None),
        tariffs_assigned=tuple(tariffs),
    )


def tariffs_at(offered: devices.FunctionSetAssignmentsBase) -> list[str]:
    """Give where tariffs are listed, where there are any: what counts none is read when it counts some."""
    link = offered.tariff_profile_list_link
    return [] if link is None or link.all == 0 else [link.href]


def provenance_of(entry: Entry) -> Provenance:
    """Say where controls of this server come from.

    Without a time of receipt: a walk that brings nothing new must equal the one before.
    """
    return Provenance(party=entry.party, channel=entry.channel, lfdi=entry.server_lfdi, server=entry.server)


def clock_offset(link: Link | None) -> Steps[float]:
    """Compare the server's clock with ours; what the resolution of one second cannot tell from 0 is 0.

    Units: s, the server's minus ours.
    Raises: Forbidden, LinkError, PeerError.
    """
    if link is None:
        return 0.0
    answer = yield Ask("GET", link.href)
    time = read(answer, link.href, devices.Time)
    early = time.current_time - answer.answered_at.timestamp()
    late = time.current_time + 1 - answer.asked_at.timestamp()
    # The true offset lies between the two; currentTime is cut to whole seconds.
    return 0.0 if early <= 0.0 <= late else (early + late) / 2


def own_device(entry: Entry, listed: tuple[Value, ...]) -> devices.EndDevice:
    """Find our own entry.

    Raises: Forbidden when the server does not list us, or has disabled us.
    """
    for device in listed:
        if isinstance(device, devices.EndDevice) and (
            device.lfdi == entry.lfdi or (device.lfdi is None and device.sfdi == sfdi_of(entry.lfdi))
        ):
            if device.enabled is False:
                raise Forbidden(f"the server {entry.server} has disabled LFDI {entry.lfdi}; ask its operator why")
            return device
    raise Forbidden(
        f"the server {entry.server} does not list LFDI {entry.lfdi}; "
        "have it registered there (`tierline device add`), then it is found at the next poll"
    )


def check_pin(entry: Entry, own: devices.EndDevice) -> Steps[None]:
    """Make sure that this is the server we are registered at, where we know the PIN.

    Raises: Forbidden when it shows another PIN; LinkError, PeerError.
    """
    if entry.pin is None or own.registration_link is None:
        return
    registration = yield from get(own.registration_link.href, devices.Registration)
    if registration.pin != entry.pin:
        raise Forbidden(
            f"the server {entry.server} shows the PIN {registration.pin:06d}, not the one configured; "
            "this is not our server, or [[north]] pin is wrong"
        )
