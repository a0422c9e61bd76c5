"""A run held against the oracle, DER by DER; what differs comes back as values.

What the oracle is given: every walk the machine took in and made durable, with the contents that the ledger says the server
must have shown; the machine's own estimate of the server's clock; the offsets found on its disk. So an offset drawn anew, a
membership that was not followed and a status that was not served are as visible as a rule that was misread.

What a DER is excused for, and nothing else:
- the node is down, until one second after its machine was restored from its disk;
- its device was made to fail a write, until a second after the next write that was not;
- its disk refused what the machine wants kept, until a second after it was taken;
- one second after an instant at which something changes (TOLERANCE_S): then the old and the new are right;
- its clock, or the server's as it knows it, was set back: what it has lived through it does not live through again, so
  until the time set back has passed again it may hold what it held, and what begins or ends within is not compared.
  Where an event begins or ends within, what it does to similar events running then is not compared until they are over.
"""

import bisect
import json
import random
from dataclasses import dataclass, field, replace

from ledger import Ledger, as_program
from ledger import values as values_of

from tierline.model.records import AuditRecord, ReadingRecord
from tierline.operations.serving import audit
from tierline.sim.evidence import second
from tierline.sim.oracle import History, Walk, _Story

TOLERANCE_S = 1.0
ORDER_S = 1e-3
"""What keeps two walks apart that were lived through at one moment."""
LIVELY_S = 300.0
"""How long a Response may lie in the outbox when nothing goes wrong."""


@dataclass(frozen=True)
class Disagreement:
    kind: str
    """applied, responses, draws: against the oracle; shown, readings, audit, liveness: against ledger and records."""
    der: str
    at_s: float
    what: str


@dataclass
class Verdict:
    found: list = field(default_factory=list)
    samples: int = 0
    excused: int = 0
    events: int = 0
    """Events judged, DER by DER."""
    touched: int = 0
    """Events not judged because the clock was set back over one of their instants."""
    responses: int = 0
    walks: int = 0
    handed_over: int = 0
    """Answers of a server that leaves a DER to another one."""


class Time:
    """The server's clock as one machine knew it, and what it had lived through."""

    def __init__(self, der, steps):
        """Cut the life of the machine into stretches in which both run evenly: (from, until, clock minus virtual time)."""
        marks = sorted({at for at, _ in steps} | {at for at, _ in der.offsets} | set(der.crashes) | {0.0})
        self.stretches = []
        lived, offset, alive = -float("inf"), None, False
        offsets, starts, crashes = der.offsets, set(der.starts), set(der.crashes)
        index = 0
        self.back = []
        """(clock, lived through) wherever the clock was set back."""
        for at, until in zip(marks, [*marks[1:], float("inf")], strict=True):
            while index < len(offsets) and offsets[index][0] <= at:
                offset = offsets[index][1]
                index += 1
            alive = (alive and at not in crashes) or at in starts
            if offset is None:
                continue  # before it first heard its server it had no idea of the time, and nothing to do
            delta = offset + sum(by for step, by in steps if step <= at)
            if alive:
                if at + delta < lived:
                    self.back.append((at + delta, lived))
                self.stretches.append((at, until, delta, lived))
                lived = max(lived, until + delta)

    def clock(self, at):
        """Give (server's clock, latest moment lived through) at a virtual time; None while the machine is down."""
        index = bisect.bisect_right(self.stretches, at, key=lambda one: one[0]) - 1
        if index < 0:
            return None
        _, until, delta, lived = self.stretches[index]
        at = min(at, until)
        return at + delta, max(lived, at + delta)

    def when(self, moment):
        """Give the first virtual time at which a moment of the server's clock was lived through."""
        for since, until, delta, lived in self.stretches:
            if lived >= moment:
                return since
            if until + delta >= moment:
                return max(since, moment - delta)
        return float("inf")


def compare(evidence, seed=0, judge_of=lambda _der: _Judge):
    """Judge a whole run; `judge_of` says who judges a DER."""
    verdict = Verdict()
    ledger = Ledger(evidence)
    for number, der in enumerate(evidence.ders.values()):
        judge_of(der)(evidence, ledger, number, der, seed, verdict).judge()
    for fault in audit.faults(evidence.utility.load(AuditRecord)):
        verdict.found.append(Disagreement("audit", "utility", 0.0, fault))
    _judge_readings(evidence, verdict)
    return verdict


def _judge_readings(evidence, verdict):
    kept = {}
    for record in evidence.utility.load(ReadingRecord):
        kept.setdefault(record.reading.der_id, []).append(record.reading)
    for der in evidence.ders.values():
        found = {}
        # The utility keeps a reading under the DER's own name at message level, under the registry's at byte level.
        for name in {der.der_id, *(reading.der_id for reading in der.acknowledged)}:
            for reading in kept.get(name, ()):
                key = (reading.point, reading.time)
                if key in found:
                    verdict.found.append(Disagreement("readings", der.name, 0.0, f"{reading} is there twice"))
                found[key] = reading.value
                acknowledged = {}
        for reading in der.acknowledged:
            # Two measurements within one second, either side of a restart, are one reading: times are whole seconds.
            acknowledged.setdefault((reading.point, reading.time), set()).add(reading.value)
        for reading in der.acknowledged:
            if found.get((reading.point, reading.time)) not in acknowledged[reading.point, reading.time]:
                verdict.found.append(Disagreement("readings", der.name, 0.0, f"{reading} was acknowledged and is lost"))
        for key, value in found.items():
            if value not in der.inverter.measured.values():
                verdict.found.append(Disagreement("readings", der.name, 0.0, f"{key}: {value} was never measured"))


class _Judge:
    def __init__(self, evidence, ledger, number, der, seed, verdict):
        self.evidence, self.ledger, self.number, self.der = evidence, ledger, number, der
        self.verdict = verdict
        self.luck = random.Random(f"{seed} {der.name}")
        self.time = Time(der, evidence.clock_steps.get(der.name, []))
        self.supported = der.inverter.functions
        self.excuses = self.windows()
        self.set_back = {}
        """By event: how far the clock was set back when its cancellation with randomization was first seen."""

    def say(self, kind, at_s, what):
        self.verdict.found.append(Disagreement(kind, self.der.name, at_s, what))

    def judge(self):
        history = History(
            walks=tuple(self.walks()),
            draws=self.draws(),
            supported=self.supported,
            supersede_code=self.der.supersede_code,
        )
        now = self.time.clock(self.evidence.end_s)
        self.until = 0.0 if now is None else now[1]
        self.applied(history)
        self.answers()
        for complaint in self.story.violations():
            mrid = complaint.split(": ")[1]
            if "r3 was not drawn" in complaint and self.unstarted(mrid):
                continue
            self.say("draws", 0.0, complaint)

    # --- what the oracle is given --------------------------------------------------------------------------------------

    def walks(self):
        brought = told_before = None
        latest = -float("inf")
        for take in self.der.takes:
            # A walk that brings nothing new is never made durable by itself.
            if not take.is_durable and (brought is None or take.programs != brought):
                continue
            brought = take.programs
            told = self.told(take)
            self.verdict.walks += 1
            lived = self.time.clock(take.at_s)[1]
            for event in (event for program in told for event in program.events if event.status == 3):
                self.set_back.setdefault(event.mrid, max(0.0, lived - take.server_s))
            if _same(told) != told_before:
                # Walks of a time that was set back come at the latest moment lived through, but one after the other.
                latest = max(lived, take.server_s, latest + ORDER_S)
                yield Walk(at=latest, programs=self.as_judged(told))
            told_before = _same(told)

    def told(self, take):
        """Give what the walk must have brought."""
        shown = take.shown
        seen = tuple(as_program(program) for program in take.programs)
        told = self.ledger.shown(self.number, self.der.name, shown.deeds, shown.server_s)
        after = self.ledger.shown(self.number, self.der.name, shown.deeds_after, shown.server_after_s)
        if _same(told) != _same(after):
            return seen  # a walk of many requests may see the half of a change
        if _same(seen) != _same(told):
            self.say("shown", take.at_s, f"the ledger has {told}, the walk brought {seen}")
        return told

    def as_judged(self, programs):
        """Give a control that has a ramp time a mode that is not supported, where the device keeps to none (E5)."""
        if self.der.inverter.carries_ramp_time:
            return programs
        return tuple(
            replace(
                program,
                events=tuple(
                    replace(event, modes={**event.modes, "a ramp time": 0})
                    if event.mrid in self.ledger.ramps
                    else event
                    for event in program.events
                ),
            )
            for program in programs
        )

    def draws(self):
        found = {}
        for mrid, documents in self.der.documents.items():
            drawn = None
            for document in documents:
                if not document:
                    continue
                state = json.loads(document)
                now = (state.get("r1_s", 0), state.get("r2_s", 0), state.get("r3_s"))
                if drawn is not None and (now[:2] != drawn[:2] or (drawn[2] is not None and now[2] != drawn[2])):
                    self.say("draws", 0.0, f"{mrid} drew {drawn}, then {now}")
                drawn = now
            if drawn is not None and drawn[2] is not None:
                # The machine counts r3 from its own clock, the oracle from what it had lived through.
                drawn = (*drawn[:2], max(0.0, drawn[2] - self.set_back.get(mrid, 0.0)))
            found[mrid] = drawn
        return found

    # --- what the device holds -----------------------------------------------------------------------------------------

    def windows(self):
        der, end = self.der, self.evidence.end_s
        found = [(0.0, min(der.starts, default=end))]
        found += [(crash, min((start for start in der.starts if start > crash), default=end)) for crash in der.crashes]
        found += [(window.from_s, window.until_s) for window in (*der.full, *der.inverter.troubles)]
        if der.inverter.trouble_since_s is not None:
            found.append((der.inverter.trouble_since_s, end))
        found += [(since, end) for since in der.refused_since_s.values()]
        joined = []
        for since, over in sorted(found):
            until = over + TOLERANCE_S
            if joined and since <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], until))
            else:
                joined.append((since, until))
        return joined

    def is_excused(self, at):
        index = bisect.bisect_right(self.excuses, at, key=lambda one: one[0]) - 1
        return index >= 0 and at <= self.excuses[index][1]

    def longest_free(self, since, until):
        """Give the longest stretch between two virtual times for which there is no excuse."""
        longest, at = 0.0, since
        for begin, end in self.excuses:
            if end > since and begin < until:
                longest = max(longest, min(begin, until) - at)
                at = max(at, end)
        return max(longest, until - at)

    def applied(self, history):
        end = self.evidence.end_s
        moments = [self.luck.uniform(0, end) for _ in range(round(100 * end / 86_400) or 1)]
        values = self.values = self.retell(history)
        murky = list(self.murky())
        for instant in self.instants:
            at = self.time.when(instant)
            if at < end:
                moments += [at - 1, at, at + TOLERANCE_S + 1e-3]
        writes = [at for at, _ in self.der.inverter.writes]
        for at in sorted(moments):
            now, before = self.time.clock(at), self.time.clock(at - TOLERANCE_S)
            if at >= end or at < 0:
                continue
            self.verdict.samples += 1
            is_murky = now is not None and any(since <= now[0] <= until for since, until in murky)
            if now is None or before is None or is_murky or self.is_excused(at) or now[0] < now[1] - TOLERANCE_S:
                self.verdict.excused += 1
                continue
            index = bisect.bisect_right(writes, at) - 1
            held = values_of(self.der.inverter.writes[index][1]) if index >= 0 else {}
            first = bisect.bisect_right(self.instants, before[1]) - 1
            last = bisect.bisect_right(self.instants, now[1]) - 1
            right = [values[i] if i >= 0 else {} for i in range(first, last + 1)]
            if held not in [{mode: value for mode, (value, _) in one.items()} for one in right]:
                self.say("applied", at, f"clock {now[0]:.3f}: holds {held}, right is {right}")

    def murky(self):
        """Give the times of the server's clock for which it is not known what a clock that was set back made of an event."""
        everything = list(self.story.seen.values())
        for back, lived in self.time.back:
            if lived - back <= TOLERANCE_S:
                continue
            within = [
                one
                for one in everything
                if any(back <= moment <= lived for moment in (one.effective_start, one.effective_end))
            ]
            modes = {mode for one in within for mode in one.event.modes}
            running = [
                one.effective_end
                for one in everything
                if modes & set(one.event.modes) and one.effective_start <= lived and one.effective_end >= back
            ]
            yield back, max(running, default=lived)

    def retell(self, history):
        """Have the oracle tell its story once, and note the values after each instant."""
        story = self.story = _Story(history)
        values, self.instants = [], story.instants
        while (instant := story.next_instant()) is not None and instant <= self.until:
            story.happen(instant)
            values.append(
                {mode: (one.value, one.source) for mode, one in story.applied().items() if mode in self.supported}
            )
        return values

    # --- what it answers -----------------------------------------------------------------------------------------------

    def answers(self):
        der = self.der
        for one in der.posts.again:
            self.say("responses", 0.0, f"{one.mrid}: {int(one.status)} had arrived and was sent again (E21)")
        expected = {}
        for one in self.story.sent:
            expected.setdefault(one.mrid, []).append((one.status, one.at))
        recorded = {}
        for der_id, mrid, status in self.evidence.recorded:
            if der_id == der.der_id:
                recorded.setdefault(mrid, []).append(int(status))
        waiting = {}
        for record in self.evidence.waiting[der.name]:
            waiting.setdefault(record.mrid, []).append(int(record.status))
            age = self.until - second(record.created_at)
            if age > LIVELY_S and self.time.clock(self.evidence.end_s) is not None:
                self.say("liveness", self.evidence.end_s, f"{record.mrid}: {record.status} waits for {age:.0f} s")
        said = {}
        for one in self.evidence.said:
            if one.der == der.name:
                said.setdefault((one.mrid, int(one.status)), set()).add(one.created_s)
        for (mrid, status), created in said.items():
            if len(created) > 1:
                self.say("responses", 0.0, f"{mrid}: {status} was said at {sorted(created)}, not once")
        for mrid in sorted({*expected, *recorded, *waiting}):
            self.verdict.events += 1
            given = recorded.get(mrid, [])
            self.verdict.responses += len(given)
            if len(given) != len(set(given)):
                self.say("responses", 0.0, f"{mrid}: recorded twice: {given}")
            if not _is_legal(given):
                self.say("responses", 0.0, f"{mrid}: {given} is no legal order")
            self.answers_of(mrid, expected.get(mrid, []), {*given, *waiting.get(mrid, [])})

    def answers_of(self, mrid, expected, given):
        fresh = {status for status, at in expected if at > self.until - 5}
        wanted = {status for status, _ in expected}
        if given | fresh == wanted | fresh and given <= wanted:
            return
        if self.is_touched(mrid, expected):
            self.verdict.touched += 1
            return
        if self.unstarted(mrid):
            # Nothing was carried out, so nothing is claimed; what is superseded before it started answers 14.
            reduced = {14 if status == 7 else status for status in wanted - {2, 3}}
            if given in (reduced, wanted - {2, 3}, {1, 6}) or given | fresh == reduced | fresh:
                return
        at = max((at for _, at in expected), default=0.0)
        self.say("responses", self.time.when(at), f"{mrid}: answered {sorted(given)}, right is {expected}")

    def unstarted(self, mrid):
        """Tell whether there was no chance to carry an event out in all the time in which it was in effect."""
        spans = []
        for index, values in enumerate(self.values):
            if any(source == mrid for _, source in values.values()):
                since = self.time.when(self.instants[index])
                last = index + 1 == len(self.instants)
                until = self.evidence.end_s if last else self.time.when(self.instants[index + 1])
                if spans and spans[-1][1] >= since:
                    spans[-1] = (spans[-1][0], until)
                else:
                    spans.append((since, until))
        return all(self.longest_free(*span) <= TOLERANCE_S for span in spans)

    def is_touched(self, mrid, expected):
        seen = self.story.seen.get(mrid)
        moments = [] if seen is None else [seen.effective_start, seen.effective_end]
        if seen is not None and seen.cancel_at is not None:
            moments.append(seen.cancel_at)
        moments += [at for status, at in expected if status != 1]
        received = [at for status, at in expected if status == 1]
        for clock, lived in self.time.back:
            wide = lived - clock > TOLERANCE_S
            if any(clock - 1e-3 <= at <= lived + 1e-3 for at in (*moments, *(received if wide else ()))):
                return True
        return False


def _same(programs):
    """Give what two ways to show the same have in common: the order of controls is no matter, nor the name of a curve."""
    return [
        (program.mrid, program.primacy, sorted(program.events, key=lambda one: one.mrid), program.default)
        for program in programs
    ]


def _is_legal(given):
    """E21."""
    rest = list(given)
    if rest and rest[0] in {252, 253, 254}:
        return len(rest) == 1
    if rest and rest.pop(0) != 1:
        return False
    if rest and rest[0] == 2:
        rest.pop(0)
        return not rest or rest in ([3], [4], [6], [7], [13])
    return not rest or rest in ([4], [6], [7], [13], [14])
