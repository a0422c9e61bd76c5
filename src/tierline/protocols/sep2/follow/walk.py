"""One walk of the whole tree: DeviceCapability, time, own EndDevice, assignments, programs, controls, defaults, curves.

Source: IEEE 2030.5-2018 9.3, 10.10; CSIP 2.1 P25.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tierline.model.control import Provenance
from tierline.model.errors import Forbidden, PeerError
from tierline.model.identity import sfdi_of
from tierline.model.programs import Program, ProgramsSeen
from tierline.protocols.sep2.client import Ask, follow_list, get, read, read_list
from tierline.protocols.sep2.mapping.curves import curve_type_of, read_curve
from tierline.protocols.sep2.mapping.events import read_control, read_default_control
from tierline.protocols.sep2.mapping.functions import MODES
from tierline.protocols.sep2.resources import der, devices

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def walk(entry: Entry) -> Steps[Tree]:
    """Read the whole tree once.

    Raises: Forbidden when the server does not know us or shows another PIN; LinkError; PeerError.
    """
    dcap = yield from get(entry.dcap, devices.DeviceCapability)
    if dcap.end_device_list_link is None:
        raise PeerError("DeviceCapability has no EndDeviceListLink", path="DeviceCapability")
    # Time is asked for by itself, not as part of a list: the answer's own times bound the offset.
    offset_s = yield from _clock_offset(dcap.time_link)
    listed = yield from read_list(dcap.end_device_list_link, devices.EndDeviceList)
    own = _own_device(entry, listed.items)
    yield from _check_pin(entry, own)
    assignments = yield from read_list(own.function_set_assignments_list_link, devices.FunctionSetAssignmentsList)
    found: dict[Mrid, der.DERProgram] = {}
    # One poll is one walk of everything, so the list that changes fastest sets the pace.
    polls = [dcap.poll_rate, listed.poll_s, assignments.poll_s]
    for assignment in assignments.items:
        if not isinstance(assignment, devices.FunctionSetAssignments):
            continue
        programs = yield from read_list(assignment.der_program_list_link, der.DERProgramList)
        polls.append(programs.poll_s)
        for program in programs.items:
            if isinstance(program, der.DERProgram):
                # A program reached through two assignments is one program.
                found.setdefault(program.mrid, program)
    reply_to: dict[Mrid, str] = {}
    hrefs: dict[Mrid, str] = {}
    # Without a time of receipt: a walk that brings nothing new must equal the one before.
    provenance = Provenance(party=entry.party, channel=entry.channel, lfdi=entry.server_lfdi, server=entry.server)
    programs_seen = []
    for program in found.values():
        one = yield from _program(program, provenance, reply_to, hrefs)
        programs_seen.append(one)
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
    )


def _clock_offset(link: Link | None) -> Steps[float]:
    """Compare the server's clock with ours; what the resolution of one second cannot tell from 0 is 0."""
    if link is None:
        return 0.0
    answer = yield Ask("GET", link.href)
    time = read(answer, link.href, devices.Time)
    early = time.current_time - answer.answered_at.timestamp()
    late = time.current_time + 1 - answer.asked_at.timestamp()
    # The true offset lies between the two; currentTime is cut to whole seconds.
    return 0.0 if early <= 0.0 <= late else (early + late) / 2


def _own_device(entry: Entry, listed: tuple[Value, ...]) -> devices.EndDevice:
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


def _check_pin(entry: Entry, own: devices.EndDevice) -> Steps[None]:
    if entry.pin is None or own.registration_link is None:
        return
    registration = yield from get(own.registration_link.href, devices.Registration)
    if registration.pin != entry.pin:
        raise Forbidden(
            f"the server {entry.server} shows the PIN {registration.pin:06d}, not the one configured; "
            "this is not our server, or [[north]] pin is wrong"
        )


def _program(
    program: der.DERProgram, provenance: Provenance, reply_to: dict[Mrid, str], hrefs: dict[Mrid, str]
) -> Steps[Program]:
    listed = yield from follow_list(program.der_control_list_link, der.DERControlList)
    events = [event for event in listed if isinstance(event, der.DERControl)]
    default = None
    if program.default_der_control_link is not None:
        default = yield from get(program.default_der_control_link.href, der.DefaultDERControl)
    bases = [event.der_control_base for event in events]
    bases += [default.der_control_base] if default is not None else []
    curves = yield from _read_curves(program, {href for base in bases for href, _ in _curve_links(base)})
    canonical = {href: read_curve(curve) for href, curve in curves.items()}
    controls = []
    for event in events:
        control = read_control(event, canonical.get, provenance)
        wrong = _wrong_curve(event.der_control_base, curves)
        controls.append(replace(control, invalid=wrong) if wrong else control)
        if event.reply_to is not None:
            reply_to[event.mrid] = event.reply_to
        if event.href is not None:
            hrefs[event.mrid] = event.href
    if default is not None and (wrong := _wrong_curve(default.der_control_base, curves)):
        raise PeerError(f"the default of program {program.mrid} cannot be carried out: {wrong}")
    return Program(
        mrid=program.mrid,
        primacy=program.primacy,
        controls=tuple(controls),
        default=None if default is None else read_default_control(default, canonical.get, provenance),
        description=program.description or "",
    )


def _read_curves(program: der.DERProgram, wanted: set[str]) -> Steps[dict[str, der.DERCurve]]:
    """Read the curves that are linked: those of the program's list, and by themselves what is not in it."""
    if not wanted:
        return {}
    listed = yield from follow_list(program.der_curve_list_link, der.DERCurveList)
    curves = {
        curve.href: curve
        for curve in listed
        if isinstance(curve, der.DERCurve) and curve.href is not None and curve.href in wanted
    }
    for href in sorted(wanted - curves.keys()):
        curves[href] = yield from get(href, der.DERCurve)
    return curves


def _wrong_curve(base: der.DERControlBase, curves: Mapping[str, der.DERCurve]) -> str:
    """Say which curve is not of the type of the function it is linked for; empty when all are right."""
    for href, function in _curve_links(base):
        if curves[href].curve_type != curve_type_of(function):
            return f"the curve at {href} has type {curves[href].curve_type}, not that of {function}"
    return ""


def _curve_links(base: der.DERControlBase) -> list[tuple[str, str]]:
    found = []
    for mode in MODES:
        if mode.curve_type is not None:
            link: Link | None = getattr(base, mode.attribute)  # the names are those of the rows
            if link is not None:
                found.append((link.href, mode.function))
    return found
