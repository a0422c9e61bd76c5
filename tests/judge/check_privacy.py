"""The check *privacy*: what belongs to some parties is in no message, log or record of others."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from records import Why

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from evidence import Evidence
    from registers import Layout

OWNERS = "owners"
DEVICE_ID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{40}(?![0-9A-Za-z])")
STEM = 3  # characters looked for before anything else


@dataclass(frozen=True)
class Canary:
    """A text, and who may hold it."""

    text: str
    what: str
    may: frozenset[str]


class Search:
    """Finds canaries as whole words."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        by_stem: dict[str, list[Canary]] = defaultdict(list)
        for canary in canaries:
            by_stem[canary.text[:STEM].lower()].append(canary)
        self._parts: list[tuple[str, re.Pattern[str], dict[str, Canary]]] = []
        for stem, found in by_stem.items():
            words = "|".join(re.escape(canary.text) for canary in sorted(found, key=lambda item: -len(item.text)))
            pattern = re.compile(rf"(?<![0-9A-Za-z_])(?:{words})(?![0-9A-Za-z_])", re.IGNORECASE)
            self._parts.append((stem, pattern, {canary.text.lower(): canary for canary in found}))

    def find(self, text: str) -> list[Canary]:
        """Find those in a text."""
        if not self._parts:
            return []
        lowered = text.lower()
        return [
            canaries[match.group().lower()]
            for stem, pattern, canaries in self._parts
            if stem in lowered
            for match in pattern.finditer(text)
        ]


def check_privacy(evidence: Evidence, layout: Layout) -> tuple[list[str], dict[str, Any]]:
    """Look for the canaries of each party at all others."""
    why = Why()
    if not evidence.stations:
        why.add("the manifest names no stations")
        return why.lines(), {}
    canaries = [
        Canary(item["text"], item["what"], frozenset(item["may"]))
        for item in json.loads((evidence.folder / "canaries.json").read_text(encoding="utf-8"))
    ]
    if any(len(canary.text) < STEM for canary in canaries):
        why.add(f"a canary is shorter than {STEM} characters")
    parties = {station.party for station in evidence.stations.values()} | {OWNERS}
    for party in sorted(parties):
        if not any(party not in canary.may for canary in canaries):
            why.add("no canary must be kept from a party", party)
    if unmarked := {device.service_point for device in evidence.devices} - {canary.text for canary in canaries}:
        why.add(f"{len(unmarked)} service points are no canaries")
    figures: dict[str, Any] = {"canaries": len(canaries), "parties": len(parties)}
    figures |= _messages(evidence, canaries, why)
    figures |= _logs(evidence, canaries, why)
    figures |= _records(evidence, canaries, why)
    figures["at_home"] = _at_home(evidence, canaries, why)
    return why.lines(), figures


# Messages


def _messages(evidence: Evidence, canaries: list[Canary], why: Why) -> dict[str, Any]:
    """Look into every body that a node sent to a node of another party."""
    party_of = {station.lfdi: station.party for station in evidence.stations.values()}
    party_of |= dict.fromkeys(evidence.by_lfdi, OWNERS)
    markets = {station.lfdi for station in evidence.stations.values() if station.level == 5}
    aggregators = {station.party for station in evidence.stations.values() if station.level == 3}
    own = {station.name: station.party for station in evidence.stations.values()}
    searches: dict[tuple[str, str], Search] = {}
    count = crossing = to_market = 0
    seen: set[str] = set()
    told: set[str] = set()
    everything = Search(canaries)
    with (evidence.folder / "messages.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            count += 1
            node, sender, peer = item["node"], item["party"], item["peer"].upper()
            seen.add(node)
            if sender != own.get(node, OWNERS):
                why.add("a message is told of a node under another party's name", node)
            text = f"{item['what']} {item['body']}"
            told.update(canary.text for canary in everything.find(text))
            receiver = party_of.get(peer)
            if receiver is None:
                why.add("a message went to a peer that is not in the manifest", f"{node} to {peer}")
                continue
            if receiver == sender:
                continue
            crossing += 1
            if (sender, receiver) not in searches:
                # Both must be allowed to hold what one tells the other.
                searches[sender, receiver] = Search(item for item in canaries if not {sender, receiver} <= item.may)
            for canary in searches[sender, receiver].find(text):
                why.add(f"a message from {sender} to {receiver} holds {canary.text!r}", f"{node}: {item['what']}")
            if peer in markets and sender in aggregators:
                to_market += 1
                for found in DEVICE_ID.findall(text):
                    if found.upper() in evidence.by_lfdi:
                        why.add("a message from an aggregator to the market holds the LFDI of a device", found)
    for name in sorted(own.keys() - seen):
        why.add("no message of a station was kept", name)
    if not to_market:
        why.add("no message from an aggregator to the market was kept")
    return {"messages": count, "crossing": crossing, "to_market": to_market, "told": len(told)}


# Logs and records


def _logs(evidence: Evidence, canaries: list[Canary], why: Why) -> dict[str, Any]:
    """Look into the logs; a process that is no station is the owners'."""
    party_of = {station.name: station.party for station in evidence.stations.values()}
    paths = sorted((evidence.folder / "logs").glob("*.log"))
    for name in sorted(party_of.keys() - {path.stem for path in paths}):
        why.add("a station has no log", name)
    size = 0
    for path in paths:
        size += _look(path, party_of.get(path.stem, OWNERS), f"the log of {path.stem}", canaries, why)
    return {"logs": len(paths), "log_bytes": size}


def _records(evidence: Evidence, canaries: list[Canary], why: Why) -> dict[str, Any]:
    """Look into what the stations keep."""
    size = 0
    for station in evidence.stations.values():
        place = evidence.folder if station.head else evidence.folder / "stations" / station.name
        for what in ("audit", "readings", "responses"):
            size += _look(place / f"{what}.jsonl", station.party, f"the {what} of {station.name}", canaries, why)
    return {"record_bytes": size}


def _at_home(evidence: Evidence, canaries: list[Canary], why: Why) -> int:
    """Count the canaries that their own parties keep; where no reason is kept, none was planted, and nothing is shown."""
    found: set[str] = set()
    for station in evidence.stations.values():
        text = json.dumps(station.audit)
        search = Search(canary for canary in canaries if station.party in canary.may)
        found |= {canary.text for canary in search.find(text)}
    if not any(canary.text in found for canary in canaries if canary.what == "reason"):
        why.add("no party keeps a reason that it gave: no canary was planted in one")
    return len(found)


def _look(path: Path, party: str, where: str, canaries: list[Canary], why: Why) -> int:
    search = Search(canary for canary in canaries if party not in canary.may)
    text = path.read_text(encoding="utf-8")
    found: dict[str, int] = defaultdict(int)
    for canary in search.find(text):
        found[canary.text] += 1
    for name, times in sorted(found.items()):
        why.add(f"{where} ({party}) holds what is not {party}'s", f"{name} ({times} times)")
    return len(text)
