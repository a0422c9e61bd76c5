"""What of interest happened in a run of several levels: what the workload must reach, counted for a test that asks for all of it."""

from collections import Counter

from levels_ledger import FED, LevelsLedger

from tierline.model.records import OutboxRecord, ReadingRecord
from tierline.sim.evidence import Cancelled, Created, Defaulted, Switched
from tierline.sim.levels import AGGREGATOR, SUBSTATION
from tierline.sim.links import UTILITY

DISPLACED = 13
"""Of the Responses."""
SYSTEM = "system"
"""The group of those whom anything feeds."""


def of_interest(evidence, verdict):
    """Count it."""
    return (
        Counter({"handed over": verdict.handed_over, "limits of both channels together": verdict.together})
        + _moves(evidence, LevelsLedger(evidence))
        + Counter(f"answered {int(status)}" for leaf in evidence.ders.values() for _, _, status in leaf.answered)
        + _between_channels(evidence)
        + _through_relays(evidence)
        + Counter(
            f"{type(deed).__name__.lower()} by the {name}{' at random' if getattr(deed, 'randomized', False) else ''}"
            for name, server in evidence.servers.items()
            for deed in server.deeds
            if isinstance(deed, Created | Cancelled | Defaulted | Switched)
        )
    )


def _moves(evidence, ledger):
    found = Counter()
    for index, deed in enumerate(evidence.servers[UTILITY].deeds):
        if isinstance(deed, Switched):
            for name, leaf in evidence.ders.items():
                before, after = ledger.groups(name, index), ledger.groups(name, index + 1)
                if before != after and leaf.way != "A":
                    found[_kind(before, after)] += 1
    return found


def _kind(before, after):
    if SYSTEM not in before or SYSTEM not in after:
        return "went dark" if SYSTEM in before else "came back"
    if FED in before and FED in after:
        return "moved within the control point"
    return "moved to the control point" if FED in after else "moved from the control point"


def _between_channels(evidence):
    """Count what those who obey both displaced (A3)."""
    both = [leaf for leaf in evidence.ders.values() if leaf.way == "U"]
    return Counter(
        f"displaced on the channel of the {channel}"
        for leaf in both
        for channel, _, status in leaf.answered
        if status == DISPLACED
    )


def _through_relays(evidence):
    found = Counter()
    for relay in (SUBSTATION, AGGREGATOR):
        store = evidence.servers[relay].store
        sent = [record for record in store.load(OutboxRecord) if record.posted_at is not None]
        found[f"Responses passed on by the {relay}"] = len(sent)
        found[f"readings of members at the {relay}"] = len(store.load(ReadingRecord))
    return found
