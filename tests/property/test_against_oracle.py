"""`Obey` against the oracle, an independent second reading of docs/rules.md: the same schedules, the same offsets."""

import random
from decimal import Decimal

import engine_player as p
import pytest

from tierline.sim.oracle import History, OracleEvent, OracleProgram, Walk, applied, responses

MODES = ("max_lim_w_pct", "fixed_w_pct", "target_var", "dynamic_reactive_current")
"""Of four different quantities, so that none is in the way of another (A5 is not the oracle's business)."""
UNTIL = 200.0


def some_offset(luck):
    return luck.choice((0, 0, 0, 5, -5, 12, -12))


def some_event(luck, number):
    return {
        "mrid": p.mrid(f"E{number:02d}"),
        "creation_time": luck.randrange(4),
        "start": luck.randrange(0, 60, luck.choice((1, 10))),
        "duration": luck.choice((1, 5, 10, 20, 30)),
        "modes": {mode: luck.randrange(1, 100) for mode in luck.sample(MODES[:3], luck.choice((1, 1, 2, 3)))},
        "randomize_start": some_offset(luck),
        "randomize_duration": some_offset(luck),
        "status": luck.choice((0,) * 12 + (1, 2, 3, 4)),
        "response_required": luck.choice((3, 3, 3, 3, 1, 2, 0)),
        "valid": luck.random() > 0.04,
    }


def some_walks(luck):
    """Make a world that changes between walks: statuses, lists, assignments, new events."""
    rows = [some_event(luck, n) for n in range(luck.randrange(1, 7))]
    for row in rows:
        if luck.random() < 0.04:
            row["modes"] = {MODES[3]: 1}  # not supported
        if luck.random() < 0.4:  # back to back with another
            other = luck.choice(rows)
            row["start"] = other["start"] + other["duration"]
    programs = [{"mrid": p.mrid(f"F{n}"), "primacy": luck.randrange(3)} for n in range(luck.choice((1, 2, 2, 3)))]
    for program in programs:
        program["default"] = {mode: luck.randrange(100) for mode in MODES[:3] if luck.random() < 0.4}
        program["events"] = set()
    for index in range(len(rows)):
        luck.choice(programs)["events"].add(index)
        if luck.random() < 0.08:
            luck.choice(programs)["events"].add(index)
    first_listed = {index: luck.choice((0, 0, luck.randrange(60))) for index in range(len(rows))}
    walks, removed = [], set()
    for at in sorted({luck.choice((0, -5)), *(luck.randrange(80) for _ in range(luck.randrange(5)))}):
        if walks:
            for index, row in enumerate(rows):
                if row["status"] == 3 and luck.random() < 0.1:
                    row["status"] = luck.choice((2, 4))
                elif luck.random() < 0.12:
                    row["status"] = luck.choice((1, 2, 3, 3, 4, 4))
                if luck.random() < 0.04:
                    removed.add(index)
        walks.append(
            Walk(
                at=float(at),
                programs=tuple(
                    OracleProgram(
                        mrid=program["mrid"],
                        primacy=program["primacy"],
                        default=dict(program["default"]),
                        events=tuple(
                            OracleEvent(**rows[index])
                            for index in sorted(program["events"] - removed)
                            if first_listed[index] <= at
                        ),
                    )
                    for program in programs
                    if luck.random() > 0.1
                ),
            )
        )
    return tuple(walks)


def as_programs(walk):
    return [
        p.program(
            program.mrid,
            program.primacy,
            *(
                p.event(
                    row.mrid,
                    row.start,
                    row.duration,
                    {mode: Decimal(value) for mode, value in row.modes.items()},
                    created=row.creation_time,
                    rs=row.randomize_start,
                    rd=row.randomize_duration,
                    status=row.status,
                    required=row.response_required,
                    invalid="" if row.valid else "not valid",
                )
                for row in program.events
            ),
            default={mode: Decimal(value) for mode, value in program.default.items()},
        )
        for program in walk.programs
    ]


def differences(seed, *, cuts=()):
    """Play one random schedule to both; give what differs, for a person to read."""
    luck = random.Random(seed)
    walks = some_walks(luck)
    code = luck.choice(("7", "14"))
    player = p.Player(p.rules(supported=frozenset(MODES[:3]), supersede_code=code), luck.randint, cuts=cuts)
    moments = {
        float(t) for t in range(-20, 130)
    }  # all boundaries are whole seconds, so this is each, one before and after
    found = {}
    by_time = {walk.at: walk for walk in walks}
    for t in sorted(moments):
        player.run(t - 1e-6)
        if t in by_time:
            player.see(t, *as_programs(by_time[t]))
        player.run(t)
        found[t] = {e.function: (int(e.value), e.mrid) for e in player.obey.decision.explanation if e.applied}
    player.run(UNTIL)
    draws = {
        e.mrid: (float(e.r1_s), float(e.r2_s), None if e.r3_s is None else float(e.r3_s))
        for e in player.events().values()
    }
    history = History(walks=walks, draws=draws, supported=frozenset(MODES[:3]), supersede_code=code)
    wrong = []
    for t, ours in found.items():
        theirs = {
            mode: (
                value.value,
                p.mrid(f"DEF{value.source[8:]}") if value.source.startswith("default:") else value.source,
            )
            for mode, value in applied(history, t).items()
        }
        if theirs != ours:
            wrong.append(f"at {t}: we apply {ours}, the oracle {theirs}")
    answered = sorted(player.posted)
    expected = sorted((e.at, e.mrid, e.status) for e in responses(history, UNTIL))
    if answered != expected:
        extra = [row for row in answered if row not in expected]
        missing = [row for row in expected if row not in answered]
        wrong.append(f"we answer {extra}, the oracle {missing}")
    return wrong, history


@pytest.mark.parametrize("seed", range(150))
def test_obey_agrees_with_the_oracle(seed):
    wrong, history = differences(seed)
    assert not wrong, (wrong, history)


@pytest.mark.parametrize("seed", range(60))
def test_obey_agrees_with_the_oracle_although_the_power_is_cut(seed):
    luck = random.Random(-1 - seed)
    wrong, history = differences(seed, cuts=luck.sample(range(1, 60), 8))
    assert not wrong, (wrong, history)


@pytest.mark.soak
@pytest.mark.parametrize("lot", range(20))
def test_obey_agrees_with_the_oracle_in_large_numbers(lot):
    for seed in range(1000 + 500 * lot, 1500 + 500 * lot):
        wrong, history = differences(seed)
        assert not wrong, (seed, wrong, history)
