"""Read one program with everything a DER needs of it: controls, default, curves, and where each event wants its answers.

Source: IEEE 2030.5-2018 10.10; CSIP 2.1 P25.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tierline.model.errors import PeerError
from tierline.model.programs import Program
from tierline.protocols.sep2.client import follow_list, get, read_list
from tierline.protocols.sep2.mapping.curves import curve_type_of, read_curve
from tierline.protocols.sep2.mapping.events import read_control, read_default_control
from tierline.protocols.sep2.mapping.functions import MODES
from tierline.protocols.sep2.resources import der

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierline.model.control import Provenance
    from tierline.model.identity import Mrid
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.resources.objects import Link


@dataclass(frozen=True, slots=True)
class ProgramRead:
    """A program as it was found."""

    program: Program
    reply_to: Mapping[Mrid, str]
    """Where each event wants its Responses."""
    hrefs: Mapping[Mrid, str]
    """Where each event itself is."""
    subscribable: tuple[tuple[str, int | None], ...]
    """The controls and the default by href, with what each says of subscriptions."""


def read_program(program: der.DERProgram, provenance: Provenance) -> Steps[ProgramRead]:
    """Read what a program links to.

    Raises: Forbidden, LinkError, PeerError.
    """
    listed = yield from read_list(program.der_control_list_link, der.DERControlList)
    events = [event for event in listed.items if isinstance(event, der.DERControl)]
    watched = []
    if program.der_control_list_link is not None:
        watched.append((program.der_control_list_link.href, listed.subscribable))
    default = None
    if program.default_der_control_link is not None:
        default = yield from get(program.default_der_control_link.href, der.DefaultDERControl)
        watched.append((program.default_der_control_link.href, default.subscribable))
    bases = [event.der_control_base for event in events]
    bases += [default.der_control_base] if default is not None else []
    curves = yield from _read_curves(program, {href for base in bases for href, _ in _curve_links(base)})
    canonical = {href: read_curve(curve) for href, curve in curves.items()}
    controls = []
    for event in events:
        control = read_control(event, canonical.get, provenance)
        wrong = _wrong_curve(event.der_control_base, curves)
        controls.append(replace(control, invalid=wrong) if wrong else control)
    if default is not None and (wrong := _wrong_curve(default.der_control_base, curves)):
        raise PeerError(f"the default of program {program.mrid} cannot be carried out: {wrong}")
    return ProgramRead(
        Program(
            mrid=program.mrid,
            primacy=program.primacy,
            controls=tuple(controls),
            default=None if default is None else read_default_control(default, canonical.get, provenance),
            description=program.description or "",
        ),
        reply_to={event.mrid: event.reply_to for event in events if event.reply_to is not None},
        hrefs={event.mrid: event.href for event in events if event.href is not None},
        subscribable=tuple(watched),
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
