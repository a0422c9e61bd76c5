"""Where nobody stands above the gateways: owners say limits, and each gateway gives what it was told a name of its own.

The steps say under which mRID each device was told a limit. Here the Responses of one limit are brought under one name, so that they
are judged as those to any control; what is left over is nobody's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evidence import Evidence
    from records import Control, Device, Why


def bring_together(evidence: Evidence) -> None:
    """Give the Responses to one limit the name of that limit, each only where it was said."""
    for control in evidence.controls:
        evidence.responses = [
            replace(item, mrid=control.mrid) if control.said.get(item.lfdi) == item.mrid else item
            for item in evidence.responses
        ]


def check_alone(evidence: Evidence, why: Why) -> None:
    """Require that every Response is one of a gateway itself, to what its own owner said."""
    known = {control.mrid for control in evidence.controls}
    for response in evidence.responses:
        if response.mrid not in known:
            why.add("a Response is to what was not said to that device", f"{response.lfdi} to {response.mrid}")
        if response.peer != response.lfdi:
            why.add("a Response came through a peer, and nobody stands above the gateways", response.lfdi)
    for control in evidence.controls:
        for lfdi in sorted(set(control.said) - set(evidence.by_lfdi)):
            why.add("a limit was said to a device that is not in the manifest", lfdi)


def explained(evidence: Evidence, control: Control, members: list[Device], why: Why) -> int:
    """Require that each member said, while it was limited, that its owner binds it; gives how many did."""
    count = 0
    for device in members:
        found = any(
            entry["channel"] == "owner"
            and entry["mrid"].upper() == control.said.get(device.lfdi)
            and entry["function"] in control.setpoints
            and entry["is_event"]
            and entry["binding"]
            for explanation in evidence.explanations.get(device.lfdi, ())
            if control.start_t - evidence.on_time_s <= explanation.t < control.end_t
            for entry in explanation.entries
        )
        count += found
        if not found:
            why.add("a member did not explain that its owner binds it", device.service_point)
    return count
