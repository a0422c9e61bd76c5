"""`Obey` on several channels, the owner's among them, against the oracle, a second reading of docs/rules.md, sections 1 to 3 and 5."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tierline.engine.following.obey import (
    OWNER,
    Apply,
    Obey,
    ObeyRules,
    OptOut,
    Persist,
    Persisted,
    Ratings,
    RecordChange,
    Seen,
    Tick,
    WriteDone,
    owner_channel,
)
from tierline.model.capability import ANYTHING, Capability, Keeps, Span
from tierline.model.control import Control, EventStatus, Interval, PowerFactor, ResponseRequired, Setpoints
from tierline.model.functions import FUNCTIONS, Merge, Unit, quantity_at
from tierline.model.parties import Authority, Channel, ChannelMode
from tierline.model.programs import DefaultControl, Program, ProgramsSeen
from tierline.model.records import KEYS, FollowedEventRecord, FollowedProgramsRecord
from tierline.sim.oracle import OracleEvent, OracleProgram, Walk
from tierline.sim.oracle_channels import (
    ChannelsHistory,
    OracleChannel,
    channel_responses,
    channel_violations,
    tell,
)

BASE = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = 220
SET_MAX_W, SET_MAX_CHARGE_RATE_W = Decimal(10_000), Decimal(8_000)
EXACT = Decimal("0.000001")


def some_power_factor(luck):
    return PowerFactor(displacement=Decimal(luck.randrange(80, 101)) / 100, absorbing=luck.random() < 0.5)


SETPOINTS = {
    "fixed_w_pct": lambda luck: Decimal(luck.randrange(-100, 101, 10)),
    "target_w": lambda luck: Decimal(luck.randrange(-8_000, 10_001, 500)),
    "target_var": lambda luck: Decimal(luck.randrange(-3_000, 3_001, 100)),
    "dynamic_reactive_current": lambda luck: Decimal(luck.randrange(1, 9)),
    "fixed_pf_inject_w": some_power_factor,
    "fixed_pf_absorb_w": some_power_factor,
}
LIMITS = {
    "max_lim_w_pct": lambda luck: Decimal(luck.randrange(0, 101, 10)),
    "gen_lim_w": lambda luck: Decimal(luck.randrange(0, 10_001, 500)),
    "load_lim_w": lambda luck: Decimal(luck.randrange(0, 8_001, 500)),
    "exp_lim_w": lambda luck: Decimal(luck.randrange(0, 10_001, 500)),
    "imp_lim_w": lambda luck: Decimal(luck.randrange(0, 8_001, 500)),
}
PERMISSIONS = {"connect": lambda luck: luck.random() < 0.5, "energize": lambda luck: luck.random() < 0.5}
SETTINGS = {
    "grad_w_pct_per_s": lambda luck: Decimal(luck.randrange(1, 9)),
    "soft_grad_w_pct_per_s": lambda luck: Decimal(luck.randrange(1, 9)),
    "es_delay_s": lambda luck: Decimal(luck.randrange(1, 9)),
}
POWER_FACTORS = {"fixed_pf_inject_w", "fixed_pf_absorb_w"}
"""One function (A5)."""
OF_EVENTS = SETPOINTS | LIMITS | PERMISSIONS
OF_DEFAULTS = OF_EVENTS | SETTINGS
NOT_SUPPORTED = "storage_target_w"


def at(second):
    return BASE + timedelta(seconds=second)


def mrid(number):
    return f"{number:032X}"


# --- the machine, with a disk and a device that never fail ----------------------------------------------------------------------------


class Player:
    def __init__(self, rules, draw):
        self.rules, self.draw = rules, draw
        self.obey = Obey(rules, draw)
        self.now = -1000.0
        self.disk = {}
        self.posted = []
        self.draws = {}
        self.hand_in(Tick(), self.now)

    def hand_in(self, event, second):
        self.now = second
        pending = list(self.obey.handle(event, at(second)))
        while pending:
            match pending.pop(0):
                case Persist() as persist:
                    self.disk |= {key_of(record): record for record in persist.put}
                    for record in persist.delete:
                        self.disk.pop(key_of(record), None)
                    self.posted += [(second, one.channel, one.mrid, int(one.status)) for one in persist.responses]
                    pending += self.obey.handle(Persisted(sequence=persist.sequence), at(second))
                case Apply() as apply:
                    done = WriteDone(sequence=apply.sequence, read_back=apply.setpoints)
                    pending += self.obey.handle(done, at(second))
        for channel, states in self.obey.events().items():
            for state in states:
                r3_s = None if state.r3_s is None else float(state.r3_s)
                self.draws.setdefault(channel, {})[state.control.mrid] = (float(state.r1_s), float(state.r2_s), r3_s)

    def restart(self, second):
        kept = self.disk.values()
        self.obey = Obey.restore(
            self.rules,
            self.draw,
            programs=[record for record in kept if isinstance(record, FollowedProgramsRecord)],
            events=[record for record in kept if isinstance(record, FollowedEventRecord)],
        )
        self.hand_in(Tick(), second)

    def run(self, until):
        while (wake_at := self.obey.wake_at()) is not None and wake_at <= at(until):
            self.hand_in(Tick(), max(self.now, (wake_at - BASE).total_seconds()))
            assert self.obey.wake_at() != wake_at, f"woken at {wake_at}, it wants to be woken then again"


def key_of(record):
    return type(record), *(getattr(record, name) for name in KEYS[type(record)])


def as_programs(programs):
    return tuple(
        Program(
            mrid=program.mrid,
            primacy=program.primacy,
            controls=tuple(as_control(event) for event in program.events),
            default=DefaultControl(mrid=default_mrid(program.mrid), setpoints=Setpoints.of(program.default))
            if program.default
            else None,
        )
        for program in programs
    )


def as_control(event):
    return Control(
        mrid=event.mrid,
        creation_time=at(event.creation_time),
        interval=Interval(start=at(event.start), duration_s=event.duration),
        setpoints=Setpoints.of(event.modes),
        randomize_start_s=event.randomize_start,
        randomize_duration_s=event.randomize_duration,
        status=EventStatus(event.status),
        response_required=ResponseRequired(event.response_required),
        invalid="" if event.valid else "not valid",
    )


def default_mrid(program):
    """Give the default's own mRID, in the order contrary to its program's, by which it ranks (E20)."""
    return mrid(10**31 - int(program, 16))


# --- random worlds ----------------------------------------------------------------------------------------------------------------------


def some_functions(luck, table, most):
    """Give at most one function of what only one can win (which of two in one event is carried out the rules do not say)."""
    found, taken = {}, set()
    for name in luck.sample(sorted(table), luck.choice(range(1, most + 1))):
        won = FUNCTIONS[name].quantity if FUNCTIONS[name].merge is Merge.ONE_WINNER else name
        if won not in taken or (set(found) & POWER_FACTORS and name in POWER_FACTORS):
            taken.add(won)
            found[name] = table[name](luck)
    return found


def some_offset(luck):
    return luck.choice((0, 0, 0, 0, 5, -5, 12, -12))


def some_event(luck, number):
    return {
        "mrid": mrid(number),
        "creation_time": luck.randrange(4),
        "start": luck.randrange(0, 60, luck.choice((1, 10))),
        "duration": luck.choice((1, 5, 10, 20, 30, 50)),
        "modes": some_functions(luck, luck.choice((SETPOINTS, SETPOINTS, SETPOINTS, LIMITS, OF_EVENTS)), 3),
        "randomize_start": some_offset(luck),
        "randomize_duration": some_offset(luck),
        "status": luck.choice((0,) * 40 + (1, 2, 3, 4)),
        "response_required": luck.choice((3, 3, 3, 3, 3, 1, 2, 0)),
        "valid": luck.random() > 0.03,
    }


def some_walks(luck, channel, moments):
    """Make the world of one channel, which changes between walks: statuses, lists, assignments, new events."""
    numbers = luck.sample(range(1, 100), luck.randrange(1, 6))
    # No two channels give an event the same mRID: the machine answers for both, but E21 counts by mRID alone.
    rows = [some_event(luck, 1000 * number + channel) for number in numbers]
    for row in rows:
        if luck.random() < 0.03:
            row["modes"] = {NOT_SUPPORTED: Decimal(1)}
        if luck.random() < 0.3:  # back to back with another
            other = luck.choice(rows)
            row["start"] = other["start"] + other["duration"]
    programs = [
        {
            "mrid": mrid(0xF000_0000 + 0x100 * number + channel),
            "primacy": luck.randrange(3),
            "default": some_functions(luck, OF_DEFAULTS, 4) if luck.random() < 0.5 else {},
            "events": set(),
        }
        for number in luck.sample(range(9), luck.choice((1, 2, 2, 3)))
    ]
    for index in range(len(rows)):
        luck.choice(programs)["events"].add(index)
    first_listed = {index: luck.choice((-9, -9, -9, luck.randrange(60))) for index in range(len(rows))}
    walks, removed = [], set()
    for moment in moments:
        for index, row in enumerate(rows):
            if walks and luck.random() < 0.07:
                row["status"] = {3: luck.choice((2, 3, 4))}.get(row["status"], luck.choice((1, 2, 3, 3, 4, 4)))
            if walks and luck.random() < 0.04:
                removed.add(index)
        walks.append(
            Walk(
                at=float(moment),
                programs=tuple(
                    OracleProgram(
                        mrid=program["mrid"],
                        primacy=program["primacy"],
                        default=dict(program["default"]),
                        events=tuple(
                            OracleEvent(**rows[index])
                            for index in sorted(program["events"] - removed)
                            if first_listed[index] <= moment
                        ),
                    )
                    for program in programs
                    if luck.random() > 0.08
                ),
            )
        )
    return tuple(walks)


OWNER_NUMBER = 9
"""What the mRIDs of the owner's events end with."""
OWNER_PROGRAM = mrid(0xF000_0000 + OWNER_NUMBER)


def some_limit(luck, number, at, others):
    """Make a limit that the owner says at a moment: anew, over another, after another, or what is no limit."""
    start = at + luck.choice((0, 0, 0, 5, 10, 25, -3))
    modes = some_functions(luck, LIMITS, 2)
    if others and luck.random() < 0.6:
        other = luck.choice(others)
        start = luck.choice((other["start"], other["start"] + other["duration"], start))
        modes = luck.choice(({name: OF_EVENTS[name](luck) for name in other["modes"]}, modes))
    if luck.random() < 0.05:
        modes |= some_functions(luck, SETPOINTS, 1)
    return {
        "mrid": mrid(1000 * number + OWNER_NUMBER),
        "creation_time": at,
        "start": start,
        "duration": luck.choice((1, 5, 10, 20, 30, 50)),
        "modes": modes,
        "randomize_start": luck.choice((0, 0, 0, 0, 0, 0, 5, -5)),
        "randomize_duration": luck.choice((0, 0, 0, 0, 0, 0, 5, -5)),
        "status": 0,
        "response_required": luck.choice((3, 3, 3, 2)),
    }


def some_owner(luck, lively, taken):
    """Make what the node shows each time its owner has said or cancelled a limit, also when something begins or ends (A10)."""
    moments = set(luck.sample(range(-15, 80), luck.choice((1, 2, 4))))
    moments |= {one for one in luck.choices(lively, k=luck.choice((0, 2, 4))) if -15 <= one < 100}
    moments -= set(taken)  # as for the walks of all channels (E22)
    numbers = luck.sample(range(1, 100), len(moments))
    rows, walks = [], []
    for moment, number in zip(sorted(moments), numbers, strict=True):
        rows = [row for row in rows if latest_end(row) + luck.choice((0, 10, 10, 10)) > moment]
        known = [row for row in rows if row["status"] == 0 and latest_end(row) > moment]
        if known and luck.random() < 0.35:
            luck.choice(known)["status"] = luck.choice((2, 2, 2, 3))
        else:
            rows.append(some_limit(luck, number, moment, rows))
        events = tuple(OracleEvent(**row) for row in rows)
        program = OracleProgram(mrid=OWNER_PROGRAM, primacy=0, events=events)
        walks.append(Walk(at=float(moment), programs=(program,)))
    return tuple(walks)


def latest_end(row):
    return row["start"] + max(0, row["randomize_start"]) + row["duration"] + max(0, row["randomize_duration"])


def some_history(luck):
    """Make what one DER sees, but for the offsets it draws."""
    count = luck.choice((2, 2, 3))
    # Walks of different channels never come at one moment (E22): the machine is told of one after the other.
    early = luck.sample(range(-8, 10), count)
    moments = early + luck.sample(range(10, 80), count * luck.randrange(4))
    ranks = luck.sample(range(1, 9), count)
    channels = tuple(
        OracleChannel(
            name=f"channel-{number}",
            authority=luck.choice((2, 3, 3, 4)),
            rank=ranks[number],
            walks=some_walks(luck, number, sorted(moments[number::count])),
            draws={},
        )
        for number in range(count)
    )
    events = {
        event.mrid: event
        for channel in channels
        for walk in channel.walks
        for program in walk.programs
        for event in program.events
    }
    # A8 is about what ends, begins and is brought at one moment, so that must happen.
    lively = [moment for event in events.values() for moment in (event.start, event.start + event.duration)] + moments
    is_dual = luck.random() < 0.7
    owner_says = some_owner(luck, lively, moments) if luck.random() < 0.5 else ()
    events |= {event.mrid: event for walk in owner_says for event in walk.programs[0].events}
    if owner_says and luck.random() < 0.1:
        channels = ()  # nobody is above
    known = sorted(events)
    return ChannelsHistory(
        channels=channels,
        is_dual=is_dual,
        supported=frozenset(OF_DEFAULTS),
        set_max_w=SET_MAX_W,
        set_max_charge_rate_w=SET_MAX_CHARGE_RATE_W,
        is_at_pcc=luck.random() < 0.2,
        supersede_code=luck.choice(("7", "14")),
        owner_limits=some_functions(luck, LIMITS, 2) if luck.random() < 0.4 else {},
        # Between the moments at which anything else happens: the machine is woken at those first, and what it is told then
        # comes after (what is truly simultaneous has tests of its own).
        opt_outs=tuple(
            (one, luck.randrange(100) + 0.25) for one in luck.sample(known, min(len(known), luck.choice((0, 0, 1, 3))))
        ),
        record_changes=tuple(
            (float(moment), luck.choice(channels).name)
            for moment in sorted(set(luck.choices(lively, k=luck.choice((0, 1, 1, 2)))))
            if channels and not is_dual
        ),
        owner_says=owner_says,
    )


# --- what the device keeps ---------------------------------------------------------------------------------------------------------------


def some_capability(luck):
    """Say of some functions what the device keeps of them (E5): all of it, a part, or nothing."""
    found = {}
    for name in sorted(set(OF_DEFAULTS) - set(PERMISSIONS)):
        if luck.random() < 0.4:
            part, numbers = ("value", [OF_DEFAULTS[name](luck) for _ in range(2)])
            if name in POWER_FACTORS:
                part, numbers = ("displacement", [one.displacement for one in numbers])
            low, high = luck.choice(((min(numbers), luck.choice((100, 10_000))), (-8_000, max(numbers))))
            span = Span(low=Decimal(low), high=Decimal(high), finest=Decimal(luck.choice((0, 0, 0, 2, 1000))))
            found[name] = Keeps(parts={part: span} if luck.random() < 0.9 else {})
    return Capability(functions=found)


def keeper(capability):
    """Read what E5 (c) says of bare numbers and power factors a second time."""

    def keeps(name, value):
        known = capability.functions.get(name)
        if known is None:
            return True
        part, number = ("displacement", value.displacement) if isinstance(value, PowerFactor) else ("value", value)
        if part not in known.parts:
            return False
        span = known.parts[part]
        return span.low <= number <= span.high and (number == 0 or abs(number) >= span.finest)

    return keeps


# --- the comparison ---------------------------------------------------------------------------------------------------------------------


def rules_of(history, capability=ANYTHING):
    return ObeyRules(
        der_id="the-der",
        lfdi=None,
        party="the-party",
        channels=(
            *(
                Channel(id=one.name, party=one.name, authority=Authority(one.authority), rank=one.rank)
                for one in history.channels
            ),
            owner_channel("the-party"),
        ),
        mode=ChannelMode.DUAL if history.is_dual else ChannelMode.SINGLE,
        supported=history.supported,
        capability=capability,
        ratings=Ratings(set_max_w=SET_MAX_W, set_max_charge_rate_w=SET_MAX_CHARGE_RATE_W, at_pcc=history.is_at_pcc),
        supersede_code=history.supersede_code,
        owner_limits=Setpoints.of(history.owner_limits),
        refusable=frozenset(Authority(one) for one in history.refusable),
        record=tuple(RecordChange(since=at(since), channel=name) for since, name in history.record_changes),
    )


def watts_by_side(setpoints, *, at_pcc):
    """Give the tightest limits among what is to be held, in watts."""
    found = {}
    for name, value in setpoints.items():
        row = FUNCTIONS[name]
        if row.merge is Merge.TIGHTEST:
            side = (quantity_at(name, at_pcc=at_pcc), row.bound)
            watts = value if row.unit is Unit.W else value * SET_MAX_W / 100
            found[side] = min(watts, found.get(side, watts))
    return found


def is_limit(function):
    return FUNCTIONS[function].merge is Merge.TIGHTEST


def rounded(value):
    return value if isinstance(value, bool | PowerFactor) else Decimal(round(value / EXACT)) * EXACT


def as_decided(decision, history):
    """Give what the machine decided: values with their sources, limits in watts, and which claims bind."""
    return (
        {
            one.function: (rounded(decision.setpoints[one.function]), one.channel, one.mrid)
            for one in decision.explanation
            if one.applied and not is_limit(one.function)
        },
        watts_by_side(decision.setpoints, at_pcc=history.is_at_pcc),
        sorted(
            (one.function, one.channel, one.mrid, one.binding)
            for one in decision.explanation
            if is_limit(one.function) and one.binding is not None  # what is left out is told, but is no limit
        ),
        sorted(name for name in decision.setpoints if not is_limit(name)),
    )


def as_told(outcome):
    """Give the same of the oracle."""
    values = {
        name: (value_of(one.value), one.channel, source_of(one.source))
        for name, one in outcome.values.items()
        if not is_limit(name)
    }
    return (
        values,
        {side: limit.watts for side, limit in outcome.limits.items()},
        sorted(
            (one.function, one.channel, source_of(one.source), one.binds)
            for one in outcome.claims
            if is_limit(one.function)
        ),
        sorted(values),
    )


def value_of(value):
    if isinstance(value, bool | PowerFactor):
        return value
    return Decimal(round(value / Decimal(EXACT) if isinstance(value, Decimal) else value * 1_000_000)) * EXACT


def source_of(source):
    return default_mrid(source[8:]) if source.startswith("default:") else source


def play(history, luck, restarts=(), capability=ANYTHING):
    """Play a schedule to the machine; give what it decided second by second, and the player."""
    player = Player(rules_of(history, capability), luck.randint)
    walks = {walk.at: (channel.name, walk) for channel in history.channels for walk in channel.walks}
    walks |= {walk.at: (OWNER, walk) for walk in history.owner_says}
    found = {}
    for second in range(-20, 180):
        player.run(second - 1e-6)
        if second in walks:
            name, walk = walks[second]
            player.hand_in(Seen(walk=ProgramsSeen(channel=name, programs=as_programs(walk.programs))), second)
        for moment in (second, second + 0.25, second + 0.75):
            player.run(moment)
            for refused, _ in (one for one in history.opt_outs if one[1] == moment):
                player.hand_in(OptOut(mrid=refused), moment)
            if moment in restarts:
                player.restart(moment)
            found[moment] = player.obey.decision
    player.run(UNTIL)
    return found, player


def differences(seed, *, restarts=(), limited=False):
    """Play one random schedule to both; give what differs, for a person to read."""
    luck = random.Random(seed)
    history, capability = some_history(luck), ANYTHING
    if limited:
        capability = some_capability(luck)
        keeps = keeper(capability)
        history = replace(history, keeps=keeps, owner_limits=kept(history.owner_limits, keeps))
    found, player = play(history, luck, restarts, capability)
    history = with_draws(history, player.draws)
    told = list(tell(history))
    if not told:
        return [], history
    near = {second + by for second, _ in told for by in (-1, 0, 1)}
    wrong, index = [], -1
    for moment, decision in found.items():
        while index + 1 < len(told) and told[index + 1][0] <= moment:
            index += 1
        if index < 0 or (moment not in near and luck.random() > 0.1):
            continue
        ours, theirs = as_decided(decision, history), as_told(told[index][1])
        if ours != theirs:
            wrong.append(f"at {moment}: we {ours}\n the oracle {theirs}")
    answered = by_event(player.posted)
    expected = by_event((one.at, one.channel, one.mrid, one.status) for one in channel_responses(history, UNTIL))
    wrong += [
        f"{event}: we answer {answered.get(event)}, the oracle {expected.get(event)}"
        for event in sorted({*answered, *expected})
        if answered.get(event) != expected.get(event)
    ]
    return wrong + channel_violations(history), history


def kept(values, keeps):
    return {name: value for name, value in values.items() if keeps(name, value)}


def with_draws(history, draws):
    channels = tuple(
        OracleChannel(
            name=one.name,
            authority=one.authority,
            rank=one.rank,
            walks=one.walks,
            draws=draws.get(one.name, {}),
        )
        for one in history.channels
    )
    return replace(history, channels=channels, owner_draws=draws.get(OWNER, {}))


def by_event(responses):
    found = {}
    for moment, channel, event, status in responses:
        found.setdefault((channel, event), []).append((moment, status))
    return found


@pytest.mark.parametrize("seed", range(300))
def test_obey_agrees_with_the_oracle_on_several_channels(seed):
    wrong, history = differences(seed)
    assert not wrong, (wrong, history)


@pytest.mark.parametrize("seed", range(60))
def test_obey_agrees_with_the_oracle_on_several_channels_although_it_restarts(seed):
    luck = random.Random(-1 - seed)
    restarts = [second + luck.choice((0, 0.25, 0.75)) for second in luck.sample(range(100), 8)]
    wrong, history = differences(seed, restarts=restarts)
    assert not wrong, (wrong, history)


@pytest.mark.parametrize("seed", range(100))
def test_obey_agrees_with_the_oracle_on_several_channels_about_what_the_device_does_not_keep(seed):
    luck = random.Random(-1 - seed)
    restarts = [second + luck.choice((0, 0.25, 0.75)) for second in luck.sample(range(100), luck.choice((0, 0, 4)))]
    wrong, history = differences(seed, restarts=restarts, limited=True)
    assert not wrong, (wrong, history)


@pytest.mark.soak
@pytest.mark.parametrize("lot", range(20))
def test_obey_agrees_with_the_oracle_on_several_channels_in_large_numbers(lot):
    for seed in range(1000 + 500 * lot, 1500 + 500 * lot):
        wrong, history = differences(seed)
        assert not wrong, (seed, wrong, history)
