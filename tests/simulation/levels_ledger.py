"""What each server of several levels must show, read a second time from docs/rules.md and the deeds alone.

The utility: `ledger.py`, with two more sentences (docs/decisions/0014): a control point is listed every DER that the utility
serves and its element can feed, with its assignments only while the element feeds it; and the DER itself may be shown none by
the utility only when what the control point shows it includes them. A relay: what the utility's ledger says at the stamp of the
last walk that is in force there (R1 to R5), by its own clock where time says it, and its own programs beside it.
"""

import bisect
from dataclasses import replace
from itertools import takewhile
from types import SimpleNamespace

from ledger import Ledger, groups_of

from tierline.sim.levels import AGGREGATOR, CUSTOMERS, SUBSTATION
from tierline.sim.links import UTILITY
from tierline.sim.relay_evidence import Mirrored

FED = "T1"
"""The group of those whom the substation serves."""


class LevelsLedger:
    def __init__(self, evidence):
        self.evidence = evidence
        self.utility = Own(evidence.servers[UTILITY])
        self.aggregator = Own(evidence.servers[AGGREGATOR])
        self.numbers = {name: number for number, name in enumerate(evidence.ders)}
        customers = [name for name, leaf in evidence.ders.items() if leaf.way in {"A", "U"}]
        self.customers_of = dict(zip(CUSTOMERS, (customers, customers[::2]), strict=True))
        self.mirrors = {
            name: [
                (index, deed.at_s, deed.shown)
                for index, deed in enumerate(evidence.servers[name].deeds)
                if isinstance(deed, Mirrored)
            ]
            for name in (SUBSTATION, AGGREGATOR)
        }
        self.reads = [read for read in evidence.servers[UTILITY].reads if read.relay == SUBSTATION]
        self.comings = {}
        self.ramps = self.utility.ramps | self.aggregator.ramps

    def shown(self, server, name, deeds, server_s):
        """Give the programs a DER must be shown by a server, after so many of its deeds; by the utility, if any."""
        if server == UTILITY:
            found = self.utility.programs_for(self.groups(name, deeds), deeds, server_s)
        else:
            found = self.relayed(server, name, deeds, server_s)
            if server == AGGREGATOR:
                own = {group for group, members in self.customers_of.items() if name in members}
                found += self.aggregator.programs_for(own, deeds, server_s)
        found = in_order(found)
        return (*found, *found[:1]) if name in self.evidence.servers[server].doubles else found

    def relayed(self, relay, name, deeds, server_s):
        """Give what a relay passes on to a DER by its last walk of so many deeds."""
        mirrors = self.mirrors[relay]
        last = bisect.bisect_left(mirrors, deeds, key=lambda one: one[0]) - 1
        if last < 0:
            return []
        above = mirrors[last][2].deeds
        way = self.evidence.ders[name].way
        is_listed = way == "A" if relay == AGGREGATOR else way != "A" and self.is_fed(name, above)
        return self.utility.programs_for(self.groups(name, above), above, server_s) if is_listed else []

    def groups(self, name, deeds):
        return self.utility.groups_at(self.numbers[name], deeds)

    def is_fed(self, name, deeds):
        """Tell whether the element of the substation feeds a DER."""
        return FED in self.groups(name, deeds)

    def is_passed_on(self, name, deeds, at_s):
        """Tell whether the substation shows a DER at a moment what the utility assigned to it since it came to its element."""
        mirrors = self.mirrors[SUBSTATION]
        last = bisect.bisect_right(mirrors, at_s, key=lambda one: one[1]) - 1
        if last < 0:
            return False
        return all(self.is_fed(name, index) for index in range(mirrors[last][2].deeds, deeds + 1))

    def is_handed_over(self, name, deeds, at_s):
        """Tell whether the substation has given its word, in this life of the utility, that it keeps that it was assigned a DER."""
        since_s = max((birth for birth in self.evidence.servers[UTILITY].births if birth <= at_s), default=0.0)
        came = self.came(name, deeds)
        last = bisect.bisect_left(self.reads, at_s, key=lambda read: read.at_s)
        of_this = takewhile(lambda read: read.at_s >= since_s, reversed(self.reads[:last]))
        return any(read.deeds >= came and read.shown_s >= since_s for read in of_this)

    def came(self, name, deeds):
        """Tell after how many deeds a DER came to the element of the substation, which has fed it since; more when it does not."""
        if (name, deeds) not in self.comings:
            before = takewhile(lambda index: self.is_fed(name, index), range(deeds, -1, -1))
            self.comings[name, deeds] = min(before, default=deeds + 1)
        return self.comings[name, deeds]


class Own(Ledger):
    """The ledger of what one server has of its own."""

    def __init__(self, server):
        super().__init__(SimpleNamespace(deeds=server.deeds, utility=server.store, doubles=frozenset()))

    def groups_at(self, number, deeds):
        if (number, deeds) not in self.groups:
            self.groups[number, deeds] = groups_of(number, self.states[deeds].positions)
        return self.groups[number, deeds]

    def programs_for(self, groups, deeds, server_s):
        return [self.program(record, deeds, server_s) for name, record in self.programs.items() if name in groups]


def in_order(programs):
    """Lowest primacy first, then highest mRID (P23)."""
    by_name = sorted(programs, key=lambda program: program.mrid, reverse=True)
    return tuple(sorted(by_name, key=lambda program: program.primacy))


def union(shown):
    """Give what several servers show as one: of one program the events of all, of one event the highest status."""
    found = {}
    for program in (program for programs in shown for program in programs):
        found.setdefault(program.mrid, []).append(program)
    return tuple(replace(same[0], events=merged(same)) for same in found.values())


def merged(programs):
    found = {}
    for event in (event for program in programs for event in program.events):
        if event.mrid not in found or found[event.mrid].status < event.status:
            found[event.mrid] = event
    return tuple(found.values())
