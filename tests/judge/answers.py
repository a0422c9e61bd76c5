"""Responses by event and device at any station: each once, and only those that the outcome of the event allows."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from events import outage_between

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from evidence import Evidence
    from records import Control, Device, Response, Why

    Got = dict[str, dict[int, list[Response]]]
    """LFDI -> status -> Responses, in the order of their receipt."""


def answers(responses: Iterable[Response], mrid: str) -> Got:
    """Sort the Responses to one event."""
    found: Got = defaultdict(lambda: defaultdict(list))
    for response in responses:
        if response.mrid == mrid:
            found[response.lfdi][response.status].append(response)
    return found


def expect(
    evidence: Evidence,
    got: dict[int, list[Response]],
    device: Device,
    required: Collection[int],
    allowed: Collection[int],
    where: str,
    why: Why,
) -> None:
    """Require these statuses once, allow others once, and no more; a retry needs an outage."""
    name = device.service_point
    for status in required:
        if status not in got:
            why.add(f"no Response {status} {where}", name)
    for status, sent in got.items():
        if status not in required and status not in allowed:
            why.add(f"a Response {status} {where} that should not be there", name)
        if len({response.created_t for response in sent}) > 1:
            why.add(f"a second Response {status} {where}", name)
        elif len(sent) > 1 and not outage_between(evidence, device, sent[0].t, sent[-1].t):
            why.add(f"Response {status} {where} came again without an outage that explains it", name)


def expect_order(got: dict[int, list[Response]], device: Device, where: str, why: Why) -> None:
    """Require that what was said first was created first: received, started, and then the end."""
    last = 0.0
    for status in sorted(got, key=lambda item: min(item, 3)):
        if got[status][0].created_t < last:
            why.add(f"Response {status} {where} was created before the one it follows", device.service_point)
        last = got[status][0].created_t


def controls_of(evidence: Evidence, check: str, why: Why, *setpoints: str) -> list[Control]:
    """Find the controls of a check, inside the journal."""
    found = [control for control in evidence.controls if control.check == check]
    if not found:
        why.add("the scenario issued no control for this check")
    for control in found:
        if not set(control.setpoints) & set(setpoints):
            why.add(f"a control asks for {sorted(control.setpoints)}, which this check does not know", control.mrid)
        if control.t > control.start_t:
            why.add("a control was issued after its start", control.mrid)
        if evidence.end_t < control.end_t + evidence.on_time_s:
            why.add("the journal ends before an event has ended and was released", control.mrid)
    return found
