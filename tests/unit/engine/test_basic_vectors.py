"""The fixed vectors of BASIC-015 to BASIC-026, played to `Obey`."""

import runpy
from decimal import Decimal
from pathlib import Path

import engine_player as p
import pytest

HERE = Path(__file__).parent
VECTORS = runpy.run_path(str(HERE.parents[1] / "vectors" / "basic.py"))["VECTORS"]
NAMES = {
    "opModMaxLimW": "max_lim_w_pct",
    "opModFixedW": "fixed_w_pct",
    "opModVoltVar": "volt_var",
    "setGradW": "grad_w_pct_per_s",
}


def canonical(modes):
    return {NAMES[mode]: Decimal(value) / 100 for mode, value in modes.items()}


def control(row):
    return p.event(
        row["mrid"],
        row["start"],
        row["duration"],
        canonical(row["modes"]),
        created=row["creation_time"],
        rs=row["randomize_start"],
        rd=row["randomize_duration"],
        status=row["status"],
        required=row["response_required"],
    )


def programs(rows):
    return [
        p.program(row["mrid"], row["primacy"], *map(control, row["events"]), default=canonical(row["default"]))
        for row in rows
    ]


def source(name):
    """`p.program` names a default after its program."""
    return p.mrid(f"DEF{name.removeprefix('default:')}") if name.startswith("default:") else name


@pytest.mark.parametrize("name", VECTORS)
def test_obey_applies_and_answers_what_the_vector_says(name):
    vector = VECTORS[name]
    supported = frozenset(NAMES[mode] for mode in vector["supported"]) | {"grad_w_pct_per_s"}
    player = p.Player(p.rules(supported=supported, supersede_code=vector["supersede_code"]))
    walks = {walk["at"]: walk["programs"] for walk in vector["walks"]}
    wanted = dict(vector["applied"])
    found = {}
    for t in sorted({*walks, *wanted}):
        player.run(t - 1e-6)
        if t in walks:
            player.see(t, *programs(walks[t]))
        player.run(t)
        if t in wanted:
            found[t] = {e.function: (e.applied_value, e.mrid) for e in player.obey.decision.explanation if e.applied}
            assert dict(player.device) == {function: value for function, (value, _) in found[t].items()}
    player.run(vector["until"])

    assert found == {
        t: {NAMES[mode]: (Decimal(value) / 100, source(who)) for mode, (value, who) in modes.items()}
        for t, modes in wanted.items()
    }
    assert sorted(player.posted) == sorted(vector["responses"])
