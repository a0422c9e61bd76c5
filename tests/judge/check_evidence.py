"""What is common to all checks: is the evidence complete, well formed and unaltered?"""

from __future__ import annotations

import hashlib
import json
import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from alone import check_alone

if TYPE_CHECKING:
    from evidence import Evidence
    from records import Why

FLOW_EVERY_S = 10.0
FLOW_GAP_S = 15.0  # a missing line makes a gap of 20 s
LFDI = re.compile(r"[0-9A-F]{40}")


def check_evidence(evidence: Evidence) -> tuple[list[str], dict[str, Any]]:
    """Judge completeness, form and the audit chain."""
    why = evidence.faults
    expected = len(evidence.grid.service_points)
    lfdis = {device.lfdi for device in evidence.devices}
    for what, found in (
        ("LFDIs", lfdis),
        ("service points", {device.service_point for device in evidence.devices}),
        ("Modbus addresses", {(device.port, device.unit) for device in evidence.devices}),
    ):
        if len(found) != expected or len(evidence.devices) != expected:
            why.add(f"the manifest has {len(found)} distinct {what} of {len(evidence.devices)}, expected {expected}")
    for device in evidence.devices:
        if not LFDI.fullmatch(device.lfdi):
            why.add("an LFDI is not 40 hexadecimal digits", device.lfdi)
        if device.service_point not in evidence.grid.service_points:
            why.add("the grid file has no such service point", device.service_point)
        if not device.rating_w > 0:
            why.add("a rating is not positive", device.service_point)
    heard = {item.lfdi for item in evidence.responses} | {item.lfdi for item in evidence.readings}
    for station in evidence.stations.values():
        heard |= {item.lfdi for item in station.responses} | {item.lfdi for item in station.readings}
    if evidence.alone:  # nobody is sent a reading; each gateway says what it holds, limited or not
        heard |= set(evidence.explanations)
    for lfdi in sorted(lfdis - heard):
        why.add("a device of the manifest sent neither a Response nor a reading", lfdi)
    for lfdi in sorted(heard - lfdis - set(evidence.station_of)):
        why.add("an LFDI that is not in the manifest sent something", lfdi)
    _check_peers(evidence, why)
    for address in sorted(set(evidence.requests) - {(device.port, device.unit) for device in evidence.devices}):
        why.add("requests went to an address that is not in the manifest", str(address))
    if not evidence.manifest.get("speed", 0) > 0:
        why.add("the manifest gives no speed")
    for key in ("scale_factors", "repeats"):
        if key not in evidence.start:
            why.add(f"the start line of the journal lacks {key}")
    _check_journal(evidence, why)
    if evidence.alone:
        check_alone(evidence, why)
    else:
        _check_audit(evidence, why)
    figures = {
        "flows": len(evidence.flows),
        "requests": sum(len(items) for items in evidence.requests.values()),
        "responses": len(evidence.responses),
        "readings": len(evidence.readings),
        "audit_records": len(evidence.audit),
        "lfdis_heard": len(heard),
        "responses_by_another_peer": sum(item.peer != item.lfdi for item in evidence.responses),
        "stations": len(evidence.stations),
    }
    return why.lines(), figures


def _check_peers(evidence: Evidence, why: Why) -> None:
    """Require that a Response came from the device itself, or through a station that may stand for it."""
    for station in evidence.stations.values():
        for response in station.responses:
            if response.peer == response.lfdi:
                continue
            device = evidence.by_lfdi.get(response.lfdi)
            allowed = evidence.relays_of(device) if device and station.name == evidence.head.name else []
            if response.peer not in {relay.lfdi for relay in allowed}:
                who = device.service_point if device else response.lfdi
                peer = evidence.station_of.get(response.peer)
                through = peer.name if peer else response.peer
                why.add(
                    f"a Response at {station.name} came through a peer that does not stand for the device",
                    f"{who} through {through}",
                )


def _check_journal(evidence: Evidence, why: Why) -> None:
    if not evidence.start:
        why.add("the journal has no start line")
        return
    if not evidence.switches:
        why.add("the journal has no switches line")
    if math.isinf(evidence.end_t):
        why.add("the journal has no end line")
        return
    start_t = float(evidence.start["t"])
    times = [start_t, *(flow.t for flow in evidence.flows), evidence.end_t]
    for before, after in pairwise(times):
        if after - before > FLOW_GAP_S:
            why.add(f"the flow lines have a gap: every {FLOW_EVERY_S:g} s is required", f"{before:.0f} to {after:.0f}")
    if len(evidence.flows) > (evidence.end_t - start_t) / FLOW_EVERY_S * 1.05 + 2:
        why.add(f"the journal has {len(evidence.flows)} flow lines, more than one every {FLOW_EVERY_S:g} s")


def _check_audit(evidence: Evidence, why: Why) -> None:
    _check_chain(evidence.audit, "the audit", why)
    for station in evidence.stations.values():
        if not station.head:
            _check_chain(station.audit, f"the audit of {station.name}", why)
    about = {
        station.name: "".join(json.dumps([item.get("resource"), item.get("detail")]).upper() for item in station.audit)
        for station in evidence.stations.values()
    }
    about[""] = "".join(json.dumps([item.get("resource"), item.get("detail")]).upper() for item in evidence.audit)
    for control in evidence.controls:
        if control.mrid not in about[control.node if control.node in about else ""]:
            why.add("a control has no audit record", control.mrid)


def _check_chain(audit: list[dict[str, Any]], name: str, why: Why) -> None:
    if not audit:
        why.add(f"{name} chain is empty")
    previous, last = "0" * 64, None
    for item in audit:
        try:
            sequence = item["sequence"]
            kept = [item[key] for key in ("party", "sequence", "time", "principal", "verb", "resource", "outcome")]
            kept += [item["detail"], item["previous_sha256"]]
            digest = hashlib.sha256(json.dumps(kept).encode()).hexdigest()
            if last is not None and sequence != last + 1:
                why.add(f"{name} chain is not in sequence", f"{sequence} after {last}")
            if item["previous_sha256"] != previous:
                why.add(f"a record of {name} does not name the hash of the one before it", str(sequence))
            if item["sha256"] != digest:
                why.add(f"the hash of a record of {name} is not that of its content", str(sequence))
            previous, last = item["sha256"], sequence
        except (KeyError, TypeError) as error:
            why.add(f"a record of {name} is malformed: {error!r}")
