"""The raw evidence of a run, gathered once everything has ended: what was seen, sent and stored, without a verdict.

The form of each file is described in docs/evidence.md. Nothing is judged here.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tierline.engine.following.obey import OWNER
from tierline.model.records import AuditRecord, IdentityRecord, OutboxRecord, ReadingRecord
from tierline.scenario.configuration import OWNERS, UTILITY, capture_of
from tierline.scenario.tail import Tail
from tierline.storage.sqlite import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from tierline.model.identity import DerId, Lfdi
    from tierline.scenario.plan import Plan
    from tierline.scenario.stations import Station


@dataclass(slots=True)
class Steps:
    """What the scenario did."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    """Any: whatever JSON holds."""

    def note(self, kind: str, when: datetime, **rest: Any) -> None:  # Any: as above
        """Write a step down; a check that is not named is left out."""
        named = {key: value for key, value in rest.items() if not (key == "check" and not value)}
        self.lines.append({"kind": kind, "t": _seconds(when), **named})


def write_evidence(folder: Path, plan: Plan, steps: Steps, manifest: Mapping[str, object]) -> None:
    """Write all files into a folder, which is made when missing; those of an earlier run are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "verdict.json").unlink(missing_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(plan.journal, folder / "journal.jsonl")
    shutil.copyfile(plan.replay, folder / "replay.jsonl")
    _write(folder / "steps.jsonl", steps.lines)
    _write(folder / "explanations.jsonl", _explanations(plan))
    _write(folder / "messages.jsonl", _messages(plan))
    (folder / "canaries.json").write_text(json.dumps(canaries(plan), indent=1) + "\n", encoding="utf-8")
    shutil.copytree(plan.folder / "logs", folder / "logs", dirs_exist_ok=True)
    if plan.head is None:
        _write(folder / "responses.jsonl", _responses_to_owners(plan))
    for station in plan.stations.values():
        own = folder if station is plan.head else folder / "stations" / station.name
        own.mkdir(parents=True, exist_ok=True)
        _write_station(own, plan, station)


def _write_station(folder: Path, plan: Plan, station: Station) -> None:
    """Write what one station heard and kept."""
    _write(folder / "responses.jsonl", _responses(plan.log(station.name)))
    database = Database(str(plan.database(station)))
    try:
        store = database.store(station.name)
        lfdis = {identity.der_id: identity.lfdi for identity in store.load(IdentityRecord)}
        _write(folder / "readings.jsonl", _readings(store.each(ReadingRecord), lfdis))
        _write(folder / "audit.jsonl", map(_audit, store.each(AuditRecord)))
    finally:
        database.close()


def canaries(plan: Plan) -> list[dict[str, object]]:
    """List the strings that must not cross a party boundary, and which parties may hold them.

    Places are the utility's, and a gateway's own name says its place; a serial number, which a place stands for here, is
    its owner's; a reason is that of the party which gave it.
    """
    grid = plan.site.grid
    places = [feeder.id for feeder in grid.feeders] + [transformer.id for transformer in grid.transformers]
    found: list[dict[str, object]] = [{"text": place, "what": "place", "may": [UTILITY, OWNERS]} for place in places]
    found += [
        {"text": gateway.service_point, "what": "place, name and serial number", "may": [UTILITY, OWNERS]}
        for gateway in plan.gateways
    ]
    found += [
        {"text": reason_of(station.name), "what": "reason", "may": [station.party]}
        for station in plan.stations.values()
    ]
    return found


def reason_of(node: str) -> str:
    """Give the reason that the operator of a node states for what he does: for him alone."""
    return f"canary-reason-of-{node}"


def stations_of(plan: Plan) -> list[dict[str, object]]:
    """List the stations for the manifest."""
    return [
        {
            "name": station.name,
            "level": station.level,
            "party": station.party,
            "lfdi": station.lfdi,
            "element": station.element,
            "above": [uplink.server.name for uplink in station.uplinks],
            "head": station is plan.head,
        }
        for station in plan.stations.values()
    ]


def devices_of(plan: Plan, unit: int) -> list[dict[str, object]]:
    """List the devices for the manifest."""
    return [
        {
            "service_point": gateway.service_point,
            "lfdi": gateway.lfdi,
            "port": gateway.modbus_port,
            "unit": unit,
            "process": gateway.process,
            "rating_w": gateway.rating_w,
            "way": gateway.way.value,
            "aggregator": gateway.aggregator,
        }
        for gateway in plan.gateways
    ]


def _responses_to_owners(plan: Plan) -> Iterable[dict[str, object]]:
    """Read what the gateways themselves keep of what they answered to their owners."""
    found: list[tuple[datetime, OutboxRecord]] = []
    for process in plan.gateway_processes:
        database = Database(str(plan.folder / process / "tierline.db"))
        try:
            for gateway in (one for one in plan.gateways if one.process == process):
                records = database.store(gateway.name).load(OutboxRecord)
                found += [(one.posted_at, one) for one in records if one.channel == OWNER and one.posted_at is not None]
        finally:
            database.close()
    for arrived_at, record in sorted(found, key=lambda item: (item[0], item[1].status)):
        yield {
            "t": _seconds(arrived_at),
            "lfdi": record.lfdi,
            "peer": record.lfdi,
            "mrid": record.mrid,
            "status": record.status,
            "created_t": _seconds(record.created_at),
        }


def _responses(log: Path) -> Iterable[dict[str, object]]:
    for line in Tail(log).all():
        if line.get("event") == "response_received":
            yield {
                "t": line["t"],
                "lfdi": line["lfdi"],
                "peer": line["peer"],
                "mrid": line["mrid"],
                "status": line["status"],
                # A Response without createdDateTime counts from its receipt.
                "created_t": line["t"] if line["created_t"] is None else line["created_t"],
            }


def _explanations(plan: Plan) -> Iterable[dict[str, object]]:
    for process in plan.gateway_processes:
        for line in Tail(plan.log(process)).all():
            if line.get("event") == "explained":
                entries = [
                    entry | {"party": entry["channel"]} for entry in line["entries"]
                ]  # a channel is named for its party
                yield {"t": line["t"], "lfdi": line["lfdi"], "entries": entries}


def _messages(plan: Plan) -> Iterable[dict[str, object]]:
    for station in plan.stations.values():
        for line in Tail(plan.folder / station.name / capture_of(station.name)).all():
            yield {"node": station.name, "party": station.party, **line}
    for gateway in plan.gateways:
        for line in Tail(plan.folder / gateway.process / capture_of(gateway.name)).all():
            yield {"node": gateway.name, "party": OWNERS, **line}


def _readings(records: Iterable[ReadingRecord], lfdis: Mapping[DerId, Lfdi]) -> Iterable[dict[str, object]]:
    for record in sorted(records, key=lambda record: (record.received_at, record.reading.time)):
        reading = record.reading
        yield {
            "received_t": _seconds(record.received_at),
            "lfdi": lfdis[reading.der_id],
            "point": reading.point,
            "t": _seconds(reading.time),
            "duration_s": reading.duration_s,
            "value": reading.value * 10.0**reading.power_of_ten,
        }


def _audit(record: AuditRecord) -> dict[str, object]:
    return {
        "sequence": record.sequence,
        "time": record.time.isoformat(),
        "principal": record.principal,
        "verb": record.verb,
        "resource": record.resource,
        "outcome": record.outcome,
        "detail": record.detail,
        "previous_sha256": record.previous_sha256,
        "sha256": record.sha256,
        "party": record.party,
    }


def _seconds(when: datetime) -> float:
    return round(when.timestamp(), 3)


def _write(path: Path, lines: Iterable[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
