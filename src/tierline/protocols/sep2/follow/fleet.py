"""The walk of a node that stands for many EndDevices, in parts: the roll, one member, one program.

Each part is read by itself, so that parts can be read side by side, and later only those that changed. A part that cannot be
read gives a `Failed` and spoils no other.

Source: IEEE 2030.5-2018 9.3, 10.10; CSIP 2.1 P20, P25, P46-P51.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.protocols.sep2.client import FLEET_LONGEST, Listed, get, read_list, same_origin
from tierline.protocols.sep2.follow.programs import ProgramRead, read_program
from tierline.protocols.sep2.follow.walk import check_pin, clock_offset, own_device, provenance_of, tariffs_at
from tierline.protocols.sep2.resources import der, devices, objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierline.model.identity import Lfdi, Mrid
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.follow.walk import Entry
    from tierline.protocols.sep2.resources.objects import Link

T = TypeVar("T")

_WITHOUT_CONDITIONS = frozenset({1, 3})
"""SubscribableType: without conditions, with and without. Source: IEEE 2030.5-2018, SubscribableType."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A part that the server did not show, or not as it should be."""

    reason: Forbidden | LinkError | PeerError


@dataclass(frozen=True, slots=True)
class Watched:
    """A resource whose changes matter."""

    path: str
    subscribable: bool
    """Whether the server tells of its changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """For whom this node stands, and where things are."""

    own: devices.EndDevice
    members: Mapping[Lfdi, devices.EndDevice]
    watched: Watched
    """The EndDeviceList."""
    poll_s: int | None
    """The fastest pollRate stated, None where there is none."""
    post_s: int | None
    """The fastest postRate stated, None where there is none."""
    offset_s: float
    """The server's clock minus ours."""
    time: Link | None
    mirrors: Link | None
    tariffs: str | None = None
    """Where tariffs are listed for everybody."""
    nameless: int
    """Entries without an LFDI: nobody knows who they are, they are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRead:
    """What one member is assigned to."""

    pin: int | None
    programs: tuple[Mrid, ...]
    """In the server's order, each once."""
    is_assigned: bool
    """Whether there are any function set assignments."""
    watched: tuple[Watched, ...]
    """Its FunctionSetAssignmentsList and all DERProgramLists."""
    poll_s: int | None
    tariffs: tuple[str, ...] = ()
    """Where its tariffs are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedProgram:
    """One program, whoever is assigned to it."""

    listed: der.DERProgram
    """The resource itself."""
    read: ProgramRead
    """What it links to."""
    watched: tuple[Watched, ...]


@dataclass(slots=True)
class Shared:
    """What members have in common, gathered while they are read."""

    programs: dict[Mrid, der.DERProgram] = field(default_factory=dict)
    """Each program as it was listed last."""
    pins: dict[tuple[str, int], int | None] = field(default_factory=dict)
    """Registration PINs by `pin_key`."""
    lists: dict[str, Listed] = field(default_factory=dict)
    """DERProgramLists read in this walk, as a server may show the same one to many members."""


def attempt(steps: Steps[T]) -> Steps[T | Failed]:
    """Carry out steps whose failure, for all the server says, is no failure of the whole."""
    try:
        return (yield from steps)
    except (Forbidden, LinkError, PeerError) as error:
        return Failed(error)


def call_roll(entry: Entry) -> Steps[Roll]:
    """Read DeviceCapability, time and the EndDeviceList.

    Raises: Forbidden when the server does not know us or shows another PIN; LinkError, PeerError.
    """
    dcap = yield from get(entry.dcap, devices.DeviceCapability)
    if dcap.end_device_list_link is None:
        raise PeerError("DeviceCapability has no EndDeviceListLink", path="DeviceCapability")
    offset_s = yield from clock_offset(dcap.time_link)
    listed = yield from _read_anew(dcap.end_device_list_link, devices.EndDeviceList, FLEET_LONGEST)
    own = own_device(entry, listed.items)
    yield from check_pin(entry, own)
    others = [item for item in listed.items if isinstance(item, devices.EndDevice) and item is not own]
    return Roll(
        own=own,
        members={device.lfdi: device for device in others if device.lfdi is not None},
        watched=_watched(entry, dcap.end_device_list_link.href, listed.subscribable),
        poll_s=_fastest([dcap.poll_rate, listed.poll_s]),
        post_s=_fastest(device.post_rate for device in others),
        offset_s=offset_s,
        time=dcap.time_link,
        mirrors=dcap.mirror_usage_point_list_link,
        tariffs=None if dcap.tariff_profile_list_link is None else dcap.tariff_profile_list_link.href,
        nameless=sum(device.lfdi is None for device in others),
    )


def read_member(entry: Entry, device: devices.EndDevice, shared: Shared) -> Steps[MemberRead]:
    """Read what one EndDevice is assigned to; of one that is disabled the server shows nothing.

    Raises: Forbidden, LinkError, PeerError.
    """
    pin = yield from _read_pin(device, shared)
    at = device.function_set_assignments_list_link
    if at is None or device.enabled is False:
        return MemberRead(pin=pin, programs=(), is_assigned=False, watched=(), poll_s=None)
    assignments = yield from _read_anew(at, devices.FunctionSetAssignmentsList)
    watched = [_watched(entry, at.href, assignments.subscribable)]
    polls = [assignments.poll_s]
    found: dict[Mrid, der.DERProgram] = {}
    tariffs: list[str] = []
    for assignment in assignments.items:
        if not isinstance(assignment, devices.FunctionSetAssignments):
            continue
        tariffs += tariffs_at(assignment)
        if assignment.der_program_list_link is None:
            continue
        href = assignment.der_program_list_link.href
        if href not in shared.lists:
            shared.lists[href] = yield from _read_anew(assignment.der_program_list_link, der.DERProgramList)
        programs = shared.lists[href]
        watched.append(_watched(entry, href, programs.subscribable))
        polls.append(programs.poll_s)
        for program in programs.items:
            if isinstance(program, der.DERProgram):
                found.setdefault(program.mrid, program)
    shared.programs.update(found)
    return MemberRead(
        pin=pin,
        programs=tuple(found),
        is_assigned=bool(assignments.items),
        watched=tuple(watched),
        poll_s=_fastest(polls),
        tariffs=tuple(dict.fromkeys(tariffs)),
    )


def read_shared_program(entry: Entry, listed: der.DERProgram, *, again: bool) -> Steps[SharedProgram]:
    """Read one program; `again` when it was listed some time ago and may say something else by now.

    Raises: Forbidden, LinkError, PeerError.
    """
    program = listed
    if again and listed.href is not None:
        program = yield from get(listed.href, der.DERProgram)
        if program.mrid != listed.mrid:
            raise PeerError(f"{listed.href} was program {listed.mrid} and is {program.mrid}", path="DERProgram/mRID")
    found = yield from read_program(_counting_nothing(program), provenance_of(entry))
    watched = [_watched(entry, href, says) for href, says in found.subscribable]
    if program.href is not None and program.subscribable in _WITHOUT_CONDITIONS:
        # Where not, the DERProgramLists that it stands in tell of it.
        watched.append(_watched(entry, program.href, program.subscribable))
    return SharedProgram(listed=program, read=found, watched=tuple(watched))


def pin_key(device: devices.EndDevice) -> tuple[str, int]:
    """Give under which name the PIN of an EndDevice is kept: a device that changed may have another one."""
    return "" if device.registration_link is None else device.registration_link.href, device.changed_time


def _read_pin(device: devices.EndDevice, shared: Shared) -> Steps[int | None]:
    """Read the PIN once per EndDevice; one that is not shown is no obstacle to what else is."""
    if device.registration_link is None:
        return None
    key = pin_key(device)
    if key not in shared.pins:
        try:
            registration = yield from get(device.registration_link.href, devices.Registration)
        except Forbidden:
            shared.pins[key] = None
        else:
            shared.pins[key] = registration.pin
    return shared.pins[key]


def _read_anew(link: Link, kind: type[objects.SubscribableList], longest: int = FLEET_LONGEST) -> Steps[Listed]:
    """Read a list whatever its link counted: that may be long ago, and an empty list too says whether it can be subscribed to."""
    return (yield from read_list(objects.Link(href=link.href), kind, longest))


def _counting_nothing(program: der.DERProgram) -> der.DERProgram:
    """Take the count out of the link to the controls, for the same reasons."""
    link = program.der_control_list_link
    return msgspec.structs.replace(
        program, der_control_list_link=None if link is None else objects.ListLink(href=link.href)
    )


def _watched(entry: Entry, href: str, says: int | None) -> Watched:
    return Watched(same_origin(href, entry.server), says in _WITHOUT_CONDITIONS)


def _fastest(polls: Iterable[int | None]) -> int | None:
    return min((rate for rate in polls if rate is not None), default=None)
