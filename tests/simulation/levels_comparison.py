"""A run of several levels held against the oracle, DER by DER and server by server; what differs comes back as values.

As in `comparison.py`, whose excuses hold here too and no others. The oracle of several channels is given, for each channel, the
walks that were made durable with what `levels_ledger.py` says each server must have shown. It goes through the instants of all
channels in the order in which the DER lived through them by its idea of each server's clock.
"""

import bisect
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

from comparison import LIVELY_S, ORDER_S, TOLERANCE_S, Disagreement, Time, Verdict, _is_legal, _Judge, _same
from ledger import as_program, values
from levels_ledger import LevelsLedger, union

from tierline.model.control import Curve, Droop
from tierline.model.functions import FUNCTIONS, Merge, Unit
from tierline.model.records import (
    AuditRecord,
    BufferedReadingRecord,
    IdentityRecord,
    OutboxRecord,
    ReadingRecord,
    ResponseRecord,
)
from tierline.operations.serving import audit
from tierline.sim.evidence import Created, Sighting, second
from tierline.sim.inverter import RATING_W
from tierline.sim.levels import AGGREGATOR, FROM_AGGREGATOR, FROM_UTILITY, SUBSTATION
from tierline.sim.links import UTILITY
from tierline.sim.oracle import Walk
from tierline.sim.oracle_channels import ChannelsHistory, OracleChannel, _Chorus

CHANNELS = {FROM_UTILITY: (2, 1), FROM_AGGREGATOR: (3, 2)}
"""Authority class and rank."""
EXACT = Decimal("0.000001")


@dataclass
class LevelsVerdict(Verdict):
    together: int = 0
    """Instants at which limits of both channels for the same are in force together (A2)."""


def compare_levels(evidence, seed=0):
    """Judge a whole run."""
    verdict = LevelsVerdict()
    ledger = LevelsLedger(evidence)
    for number, der in enumerate(evidence.ders.values()):
        _LevelsJudge(evidence, ledger, number, der, seed, verdict).judge()
    for name, server in evidence.servers.items():
        for fault in audit.faults(server.store.load(AuditRecord)):
            verdict.found.append(Disagreement("audit", name, 0.0, fault))
    chain = _Chain(evidence, verdict)
    chain.responses()
    chain.readings()
    return verdict


class Clocked(_Chorus):
    """The chorus of a DER that has an idea of its own of the clock of each server: an instant is (virtual time, the clock's)."""

    def __init__(self, history, times):
        super().__init__(history)
        self.times = times

    def due(self, name):
        at = self.stories[name].next_instant()
        return None if at is None else (self.times[name].when(at), at)

    def next_instant(self):
        return min((due for name in self.stories if (due := self.due(name)) is not None), default=None)

    def happen(self, instant):
        heard = []
        for name, story in self.stories.items():
            if self.due(name) == instant:
                story.come_to(instant[1])
                heard.append(story)
            else:
                # What is in effect changes at its own instants only; but what another does to it happens now.
                now, due = self.times[name].clock(instant[0]), story.next_instant()
                if now is not None and (due is None or now[1] < due):
                    story.now = max(story.now, now[1])
                story.takers = {}
        for story in heard:
            story.hear()
        stories = list(self.stories.values())
        while (
            any(story.lose_modes() or story.end_periods() for story in stories)
            or self.displace()
            or any(story.start_events(self.overruled(name)) for name, story in self.stories.items())
        ):
            pass


class _LevelsJudge(_Judge):
    def __init__(self, evidence, ledger, number, der, seed, verdict):
        super().__init__(evidence, ledger, number, der, seed, verdict)
        steps = evidence.clock_steps.get(der.name, [])
        names = {"D": [FROM_UTILITY], "A": [FROM_AGGREGATOR], "U": [FROM_UTILITY, FROM_AGGREGATOR]}[der.way]
        self.times = {
            name: Time(SimpleNamespace(offsets=der.clocks.get(name, []), starts=der.starts, crashes=der.crashes), steps)
            for name in names
        }

    def judge(self):
        walks = {name: tuple(self.walks_of(name)) for name in self.times}
        draws = self.draws()
        self.chorus = Clocked(
            ChannelsHistory(
                channels=tuple(
                    OracleChannel(
                        name=name, authority=CHANNELS[name][0], rank=CHANNELS[name][1], walks=walks[name], draws=draws
                    )
                    for name in self.times
                ),
                is_dual=self.der.way == "U",
                supported=self.supported,
                set_max_w=RATING_W,
                set_max_charge_rate_w=RATING_W,
                supersede_code=self.der.supersede_code,
                opt_outs=tuple(self.opt_outs(walks.get(FROM_AGGREGATOR, ()))),
            ),
            self.times,
        )
        self.retell_all()
        self.verdict.together += self.together
        self.applied_at_all()
        for name in self.times:
            self.turn_to(name)
            self.answers_on(name)
            for complaint in self.story.violations():
                if "r3 was not drawn" in complaint and self.unstarted(complaint.split(": ")[1]):
                    continue
                self.say("draws", 0.0, complaint)

    def opt_outs(self, walks):
        """Give what the owner refused, on the clock of the only ones who may be refused: after what was seen of it (E22)."""
        for refusal in self.der.refusals:
            if refusal.is_durable:
                now = self.times[FROM_AGGREGATOR].clock(refusal.at_s)[1]
                first = (
                    walk.at
                    for walk in walks
                    for program in walk.programs
                    for event in program.events
                    if event.mrid == refusal.mrid
                )
                yield refusal.mrid, max(now, next(first, now))

    def turn_to(self, name):
        """Look at one channel."""
        self.story, self.time = self.chorus.stories[name], self.times[name]
        now = self.time.clock(self.evidence.end_s)
        self.until = 0.0 if now is None else now[1]

    # --- what the oracle is given --------------------------------------------------------------------------------------

    def walks_of(self, channel):
        brought = told_before = None
        latest = -float("inf")
        last, is_doubtful = (), False
        for take in self.der.takes:
            if take.channel != channel:
                continue
            if isinstance(take.shown, Sighting):
                is_doubtful &= not take.shown.is_first
                last, is_doubtful = self.told_by_all(take, last, is_doubtful)
            else:
                last = self.told_by(AGGREGATOR, take, take.shown, take.programs)
            if not take.is_durable and (brought is None or take.programs != brought):
                continue
            brought, told = take.programs, last
            self.verdict.walks += 1
            lived = self.times[channel].clock(take.at_s)[1]
            for event in (event for program in told for event in program.events if event.status == 3):
                self.set_back.setdefault(event.mrid, max(0.0, lived - take.server_s))
            if _sorted(told) != told_before:
                latest = max(lived, take.server_s, latest + ORDER_S)
                yield Walk(at=latest, programs=self.as_judged(told))
            told_before = _sorted(told)

    def told_by(self, server, take, shown, programs):
        """Give what a server must have shown."""
        told = self.ledger.shown(server, self.der.name, shown.deeds, shown.server_s)
        if _same(as_programs(programs)) != _same(told):
            self.say("shown", take.at_s, f"{server}'s ledger has {told}, the walk brought {as_programs(programs)}")
        return told

    def told_by_all(self, take, last, is_doubtful):
        """Give what the walk over all servers of the channel must have brought, and whether that nobody shows anything is new."""
        told = {}
        for server in (UTILITY, SUBSTATION):
            answer = take.shown.answers.get(server)
            if answer is not None and server == UTILITY and not answer.programs:
                self.judge_handing_over(take, answer.shown)
            elif answer is not None:
                told[server] = self.told_by(server, take, answer.shown, answer.programs)
                if server == UTILITY and self.ledger.is_handed_over(
                    self.der.name, answer.shown.deeds, answer.shown.server_s
                ):
                    self.say("handover", take.at_s, "the utility shows what the substation keeps")
        showing = [programs for programs in told.values() if programs]
        if showing:
            found, is_doubtful = union(showing), False
        elif take.shown.is_reached:
            found, is_doubtful = (last, True) if last and not is_doubtful else ((), False)
        else:
            found = last
        if _sorted(found) != _sorted(as_programs(take.programs)):
            self.say("shown", take.at_s, f"servers show {found} together, taken in was {as_programs(take.programs)}")
        return found, is_doubtful

    def judge_handing_over(self, take, shown):
        """The utility may show nothing only of a DER that is passed on by the substation."""
        name = self.der.name
        if not self.ledger.shown(UTILITY, name, shown.deeds, shown.server_s):
            return
        self.verdict.handed_over += 1
        if not self.ledger.is_passed_on(name, shown.deeds, shown.server_s):
            self.say("handover", take.at_s, "the utility shows nothing, and the substation does not have it")

    # --- what the device holds -----------------------------------------------------------------------------------------

    def retell_all(self):
        """Have the oracle tell its story once, and note what must be held after each instant."""
        self.told, self.instants, self.working, self.together = [], [], [], 0
        while (instant := self.chorus.next_instant()) is not None and instant[0] <= self.evidence.end_s:
            self.chorus.happen(instant)
            outcome = self.chorus.outcome()
            self.instants.append(instant[0])
            self.told.append(as_told(outcome, self.supported))
            self.together += is_shared(outcome)
            self.working.append({one.source for one in outcome.claims if one.binds or not is_won(one.function)})

    def applied_at_all(self):
        end = self.evidence.end_s
        moments = [self.luck.uniform(0, end) for _ in range(round(100 * end / 86_400) or 1)]
        moments += [moment for at in self.instants for moment in (at - 1, at, at + TOLERANCE_S + 1e-3)]
        murky = {}
        for name in self.times:
            self.turn_to(name)
            murky[name] = list(self.murky())
        writes = [at for at, _ in self.der.inverter.writes]
        for at in sorted(moment for moment in moments if 0 <= moment < end):
            self.verdict.samples += 1
            if self.is_excused(at) or any(self.is_unclear(name, at, murky[name]) for name in self.times):
                self.verdict.excused += 1
                continue
            index = bisect.bisect_right(writes, at) - 1
            held = as_held(self.der.inverter.writes[index][1]) if index >= 0 else ({}, {})
            first = bisect.bisect_right(self.instants, at - TOLERANCE_S) - 1
            last = bisect.bisect_right(self.instants, at) - 1
            right = [self.told[i] if i >= 0 else ({}, {}) for i in range(first, last + 1)]
            if held not in right:
                self.say("applied", at, f"holds {held}, right is {right}")

    def is_unclear(self, name, at, murky):
        """Tell whether the DER was down, or the clock of a channel set back."""
        time = self.times[name]
        now, before = time.clock(at), time.clock(at - TOLERANCE_S)
        if now is None or before is None:
            return bool(time.stretches) and at >= time.stretches[0][0]
        return now[0] < now[1] - TOLERANCE_S or any(since <= now[0] <= until for since, until in murky)

    def unstarted(self, mrid):
        """Tell whether there was no chance to carry an event out in all the time in which it was in effect."""
        spans = []
        for index, working in enumerate(self.working):
            if mrid in working:
                since = self.instants[index]
                until = self.instants[index + 1] if index + 1 < len(self.instants) else self.evidence.end_s
                if spans and spans[-1][1] >= since:
                    spans[-1] = (spans[-1][0], until)
                else:
                    spans.append((since, until))
        return all(self.longest_free(*span) <= TOLERANCE_S for span in spans)

    # --- what it answers -----------------------------------------------------------------------------------------------

    def answers_on(self, channel):
        expected, given = {}, {}
        for one in self.story.sent:
            expected.setdefault(one.mrid, []).append((one.status, one.at))
        for asked, mrid, status in self.der.answered:
            if asked == channel:
                given.setdefault(mrid, []).append(int(status))
        for record in self.evidence.waiting[self.der.name]:
            age = self.until - second(record.created_at)
            if record.channel == channel and age > LIVELY_S and self.time.clock(self.evidence.end_s) is not None:
                self.say("liveness", self.evidence.end_s, f"{record.mrid}: {record.status} waits for {age:.0f} s")
        for mrid in sorted({*expected, *given}):
            self.verdict.events += 1
            answered = given.get(mrid, [])
            self.verdict.responses += len(answered)
            if not _is_legal(answered):
                self.say("responses", 0.0, f"{mrid}: {answered} is no legal order")
            self.answers_of(mrid, expected.get(mrid, []), set(answered))


class _Chain:
    """What went up: each thing once, as it was said, as far as it can have come."""

    def __init__(self, evidence, verdict):
        self.evidence, self.verdict = evidence, verdict
        self.names = {leaf.lfdi: name for name, leaf in evidence.ders.items()}
        self.stores = {name: server.store for name, server in evidence.servers.items()}
        self.name_of = {
            (server, record.der_id): self.names[record.lfdi]
            for server, store in self.stores.items()
            for record in store.load(IdentityRecord)
            if record.lfdi in self.names
        }

    def say(self, kind, der, what):
        self.verdict.found.append(Disagreement(kind, der, self.evidence.end_s, what))

    def responses(self):
        said = {
            (record.lfdi, record.mrid, int(record.status)): record
            for leaf in self.evidence.ders.values()
            for record in leaf.store.load(OutboxRecord)
        }
        kept = {name: self.kept(name, said) for name in self.stores}
        passed = {relay: self.passed(relay, kept[relay]) for relay in (SUBSTATION, AGGREGATOR)}
        for key, record in said.items():
            if record.posted_at is not None and not any(key in found for found in kept.values()):
                self.say("responses", self.names[key[0]], f"{key} was acknowledged and nobody has it")
        for relay, found in passed.items():
            for key, record in found.items():
                if record.posted_at is not None and key not in kept[UTILITY]:
                    self.say("responses", self.names[key[0]], f"{key} was passed on by {relay} and is lost")
                age = self.evidence.end_s - second(record.created_at)
                if record.posted_at is None and age > 2 * LIVELY_S:
                    self.say("liveness", self.names[key[0]], f"{key} waits at {relay} for {age:.0f} s")
        for server in self.evidence.servers.values():
            self.said_once(server)
            self.passed_on_once(server.name, server.posts.again)
        for name, leaf in self.evidence.ders.items():
            self.passed_on_once(name, leaf.posts.again)

    def passed_on_once(self, sender, again):
        """What is known to have arrived is not sent any more (E21, R6)."""
        for one in again:
            key = (one.lfdi, one.mrid, int(one.status))
            self.say("responses", self.names.get(one.lfdi, ""), f"{key} had arrived, and {sender} sent it again")

    def kept(self, name, said):
        """Give what a server has, each of which must be what the DER said."""
        found = {}
        for record in self.stores[name].load(ResponseRecord):
            key = (record.lfdi, record.mrid, int(record.status))
            if key in found:
                self.say("responses", self.names[key[0]], f"{key} is there twice at {name}")
            if key not in said or said[key].created_at != record.created_at:
                self.say("responses", self.names.get(key[0], ""), f"{name} has {record}, said was {said.get(key)}")
            found[key] = record
        return found

    def passed(self, relay, kept):
        """Give what a relay passes on: what it has for events of the utility, each once."""
        found = {}
        ours = {deed.record.mrid for deed in self.evidence.servers[relay].deeds if isinstance(deed, Created)}
        for record in self.stores[relay].load(OutboxRecord):
            key = (record.lfdi, record.mrid, int(record.status))
            if key in found or key not in kept or kept[key].created_at != record.created_at:
                self.say("responses", self.names.get(key[0], ""), f"{relay} passes on {record}, it has {kept.get(key)}")
            found[key] = record
        for key in kept:
            if key not in found and key[1] not in ours:
                self.say("responses", self.names[key[0]], f"{relay} does not pass on {key}")
        return found

    def said_once(self, server):
        """Each Response has one time, however often it comes."""
        times = {}
        for one in server.said:
            times.setdefault((one.der, one.mrid, int(one.status)), set()).add(one.created_s)
        for (der, mrid, status), created in times.items():
            if len(created) > 1:
                self.say("responses", der, f"{mrid}: {status} was said at {sorted(created)}, not once")

    # --- readings ------------------------------------------------------------------------------------------------------

    def readings(self):
        kept = {name: self.readings_at(name) for name in self.stores}
        for name, leaf in self.evidence.ders.items():
            measured = set(leaf.inverter.measured.values())
            for server, found in kept.items():
                for key, value in found.get(name, {}).items():
                    if value not in measured:
                        self.say("readings", name, f"{server} has {key}: {value}, which was never measured")
            for server, readings in leaf.taken_by.items():
                self.are_there(name, server, readings, kept[server].get(name, {}))
        for relay in (SUBSTATION, AGGREGATOR):
            self.are_passed_on(relay, kept)

    def readings_at(self, name):
        found = {}
        for record in self.stores[name].load(ReadingRecord):
            reading = record.reading
            der = self.name_of.get((name, reading.der_id), "")
            values = found.setdefault(der, {})
            key = (reading.point, reading.time)
            if key in values:
                self.say("readings", der, f"{name} has {reading} twice")
            values[key] = reading.value
        return found

    def are_there(self, name, server, readings, found):
        """What a server acknowledged it has; two measurements within one second, either side of a restart, are one reading."""
        acknowledged = {}
        for reading in readings:
            acknowledged.setdefault((reading.point, reading.time), set()).add(reading.value)
        for key, values_said in acknowledged.items():
            if found.get(key) not in values_said:
                self.say("readings", name, f"{key} was acknowledged by {server} and is lost")

    def are_passed_on(self, relay, kept):
        """What a relay has of those it stands for, the utility has, or it waits."""
        waiting = {}
        for record in self.stores[relay].load(BufferedReadingRecord):
            reading = record.reading
            waiting.setdefault(reading.der_id, set()).add((reading.point, reading.time))
        for name, found in kept[relay].items():
            if self.evidence.ders[name].way == "U" and relay == AGGREGATOR:
                continue  # the utility has them of the DER itself
            waits = set().union(
                *(keys for der_id, keys in waiting.items() if self.name_of.get((relay, der_id)) == name)
            )
            for key in found.keys() - kept[UTILITY].get(name, {}).keys() - waits:
                self.say("readings", name, f"{relay} has {key}, and has not passed it on")


def as_programs(programs):
    return tuple(as_program(program) for program in programs)


def _sorted(programs):
    return sorted(_same(programs), key=lambda one: one[0])


def is_won(function):
    """Tell whether only one of a quantity is carried out."""
    return function in FUNCTIONS and FUNCTIONS[function].merge in {Merge.ONE_WINNER, Merge.DEFAULT_ONLY}


def is_shared(outcome):
    """Tell whether several channels limit the same at once."""
    found = {}
    for claim in outcome.claims:
        if is_limit(claim.function):
            row = FUNCTIONS[claim.function]
            found.setdefault((row.quantity, row.bound), set()).add(claim.channel)
    return any(len(channels) > 1 for channels in found.values())


def is_limit(function):
    return FUNCTIONS[function].merge is Merge.TIGHTEST


def rounded(value):
    if isinstance(value, bool | Curve | Droop):
        return value
    return Decimal(round(value / EXACT if isinstance(value, Decimal) else value * 1_000_000)) * EXACT


def as_held(setpoints):
    """Give what the device holds: values, and of each limited quantity and side the watts."""
    watts = {}
    for name, value in setpoints.items():
        row = FUNCTIONS[name]
        if row.merge is Merge.TIGHTEST:
            limit = value if row.unit is Unit.W else value * RATING_W / 100
            watts[row.quantity, row.bound] = min(limit, watts.get((row.quantity, row.bound), limit))
    return {name: rounded(value) for name, value in values(setpoints).items() if not is_limit(name)}, watts


def as_told(outcome, supported):
    """Give the same of the oracle."""
    held = {
        name: rounded(one.value) for name, one in outcome.values.items() if name in supported and not is_limit(name)
    }
    return held, {side: limit.watts for side, limit in outcome.limits.items()}
