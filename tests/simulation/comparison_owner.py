"""A DER whose owner limits it, held against the oracle: the utility is of record, the owner stands beside it (docs/rules.md A10).

As in `comparison.py`, whose excuses hold here too and no others. What the node must show its owner's limits as is told here from
what he asked for alone: each limit and each cancellation once, in the list as long as S2 and S4 say, under the name that it got.
"""

from dataclasses import replace
from types import SimpleNamespace

from comparison import ORDER_S, Time, _is_legal, _Judge, _same, compare
from ledger import as_program, values
from levels_comparison import Clocked, _LevelsJudge

from tierline.sim.inverter import RATING_W
from tierline.sim.links import UTILITY
from tierline.sim.oracle import Walk
from tierline.sim.oracle_channels import OWNER, ChannelsHistory, OracleChannel

LISTED_S = 10
"""S4: how long an event stays listed after its end."""


def compare_with_owners(evidence, seed=0):
    """Judge a whole run."""
    return compare(evidence, seed, lambda der: _Judge if der.owner is None else _OwnedJudge)


class _OwnedJudge(_LevelsJudge):
    def __init__(self, evidence, ledger, number, der, seed, verdict):
        _Judge.__init__(self, evidence, ledger, number, der, seed, verdict)
        steps = evidence.clock_steps.get(der.name, [])
        own = SimpleNamespace(offsets=[(at, 0.0) for at in der.starts], starts=der.starts, crashes=der.crashes)
        self.times = {UTILITY: self.time, OWNER: Time(own, steps)}

    def judge(self):
        walks, draws = tuple(self.walks()), self.draws()
        self.chorus = Clocked(
            ChannelsHistory(
                channels=(OracleChannel(name=UTILITY, authority=2, rank=1, walks=walks, draws=draws),),
                is_dual=False,
                supported=self.supported,
                set_max_w=RATING_W,
                set_max_charge_rate_w=RATING_W,
                supersede_code=self.der.supersede_code,
                owner_says=tuple(self.owner_says()),
                owner_draws=draws,
            ),
            self.times,
        )
        self.retell_all()
        self.applied_at_all()
        for name in self.chorus.stories:
            self.turn_to(name)
            if name == UTILITY:
                self.answers()
            else:
                self.answers_to_owner()
            for complaint in self.story.violations():
                if "r3 was not drawn" not in complaint or not self.unstarted(complaint.split(": ")[1]):
                    self.say("draws", 0.0, complaint)
        self.durable_before_told()

    # --- what the owner says --------------------------------------------------------------------------------------------

    def owner_says(self):
        told, latest = {}, -float("inf")
        for take in self.der.owner.takes:
            if not take.is_durable:
                continue
            self.verdict.walks += 1
            (program,) = (as_program(one) for one in take.programs)
            shown = {event.mrid: event for event in program.events}
            told = {
                mrid: event
                for mrid, event in told.items()
                if take.asked.clock_s < event.start + event.duration + LISTED_S
            }
            told |= dict(self.asked_for(take, told, shown))
            must = replace(program, events=tuple(told.values()))
            if _same([must]) != _same([_plain(program)]):
                self.say("shown", take.at_s, f"the owner said {must}, the node shows {program}")
            lived = self.times[OWNER].clock(take.at_s)[1]
            latest = max(lived, take.clock_s, latest + ORDER_S)
            yield Walk(at=latest, programs=(must,))

    def asked_for(self, take, told, shown):
        """Give the event that is new or changed, as it was asked for; its name and its moment of creation are the node's to give."""
        asked = take.asked
        if asked.cancels is not None:
            if asked.cancels in told:
                yield asked.cancels, replace(told[asked.cancels], status=2)
            return
        new = [event for mrid, event in shown.items() if mrid not in told]
        if len(new) != 1 or asked.mrid not in {None, new[0].mrid}:
            self.say("shown", take.at_s, f"{asked} was asked for, new are {new}")
            return
        seen = new[0]
        if abs(seen.start - asked.start_s) > 1 or abs(seen.creation_time - asked.clock_s) > 1:
            self.say("shown", take.at_s, f"{asked} was asked for, shown is {seen}")
        yield (
            seen.mrid,
            replace(
                seen,
                duration=asked.duration_s,
                modes=values(asked.setpoints),
                randomize_start=0,
                randomize_duration=0,
                status=0,
                response_required=3,
            ),
        )

    def durable_before_told(self):
        """What the owner was told holds is kept, whatever happens."""
        for asked in self.der.owner.asked:
            if asked.told_at_s is not None and not any(
                take.is_durable and take.at_s <= asked.told_at_s and take.asked is asked
                for take in self.der.owner.takes
            ):
                self.say("durable", asked.told_at_s, f"the owner was told of {asked}, which is not kept")

    def answers_to_owner(self):
        expected, given = {}, {}
        for one in self.story.sent:
            expected.setdefault(one.mrid, []).append((one.status, one.at))
        for mrid, status in self.der.owner.answered:
            given.setdefault(mrid, []).append(int(status))
        for mrid in sorted({*expected, *given}):
            self.verdict.events += 1
            answered = given.get(mrid, [])
            self.verdict.responses += len(answered)
            if not _is_legal(answered):
                self.say("responses", 0.0, f"{mrid}: {answered} is no legal order")
            self.answers_of(mrid, expected.get(mrid, []), set(answered))
        for mrid in self.der.owner.waiting:
            self.say("responses", 0.0, f"{mrid}: a Response to the owner waits, though it has arrived (A10)")


def _plain(program):
    """Scheduled and active are the same to a follower (E19)."""
    return replace(program, events=tuple(replace(one, status=0) if one.status == 1 else one for one in program.events))
