"""A utility, a relay and the DERs below it against a ledger, as a program: `python planted_relays.py '{"seed": 1}'`.

The ledger is what the utility's own disk says it ordered, to whom: nothing that the relay has written is believed. One DER
is taken from the relay half-way, so it must be shown nothing in the end; its Responses are not compared. Kinds: identity and draws (what a DER took in is
not what was ordered), applied (the programs it follows are not those it is assigned), responses, bug.
"""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

from runs import listening

import tierline
from tierline.engine.following import document
from tierline.model.records import ControlRecord, FollowedEventRecord, FollowedProgramsRecord

RELAY = runpy.run_path(str(Path(__file__).with_name("test_relay.py")))
Levels, LEAVES, SETS, lfdi_of = (RELAY[name] for name in ("Levels", "LEAVES", "SETS", "lfdi_of"))
LEAVER = LEAVES[2]


class Moving(Levels):
    """One DER leaves half-way."""

    async def _act(self, state, draw):
        device = state.devices[state.identities[lfdi_of(LEAVER)].der_id]
        if device.managed_by is not None and state.clock.deadline() > RELAY["HOURS"] * 1800:
            await state.commit([replace(device, managed_by=None, changed_at=state.clock.now())])
        await super()._act(state, draw)


def found_by(seed):
    """Run one seed; give what differs."""
    with listening() as bugs:
        levels = Moving(seed).run()
    found = [["bug", "", 0.0, bug] for bug in dict.fromkeys(bugs)]
    utility = levels.serving("utility")
    ordered = {record.mrid: record.control for record in levels.stores["utility"].load(ControlRecord)}
    said = []
    for name in LEAVES:
        store = levels.stores[name]
        # What the DER that has left says afterwards the utility refuses for good from who stood for it (R6).
        said += RELAY["told"](store) if name != LEAVER else []
        found += taken_in(name, store, ordered)
        assigned = set()
        if name != LEAVER:
            assigned = {mrid for group in SETS if name in SETS[group] for mrid in utility.programs_of[group]}
        followed = {program.mrid for one in store.load(FollowedProgramsRecord) for program in one.programs}
        if followed != assigned:
            found.append(["applied", name, 0.0, f"it follows {sorted(followed)}, assigned are {sorted(assigned)}"])
    answered = [one for one in RELAY["answers"](levels.stores["utility"]) if one[0] != lfdi_of(LEAVER)]
    if answered != sorted(said):
        found.append(["responses", "", 0.0, f"said {sorted(said)}, recorded {answered}"])
    return found


def taken_in(name, store, ordered):
    """Hold each event a DER knows against the order of its mRID."""
    for record in store.load(FollowedEventRecord):
        event = document.load(record.document)
        order = ordered.get(record.mrid)
        if order is None:
            yield ["identity", name, 0.0, f"{record.mrid} was never ordered"]
            continue
        theirs, ours = (
            (one.creation_time, one.interval, one.randomize_start_s, one.randomize_duration_s, one.setpoints)
            for one in (order, event.control)
        )
        if theirs != ours:
            yield ["draws", name, 0.0, f"{record.mrid}: ordered {theirs}, taken in {ours}"]


if __name__ == "__main__":
    found = found_by(**json.loads(sys.argv[1]))
    print(json.dumps({"source": str(Path(tierline.__file__).parent), "found": found}))
