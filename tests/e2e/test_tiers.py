"""Any level may be missing: the same limit on the same feeder, judged alike, whoever stands between the top and the inverter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

JUDGE = Path(__file__).parents[1] / "judge" / "judge.py"
SCENARIO = """
[scenario]
about = "the same limit through other levels"
field = "oberrhein"
ends_at_min = 14
poll_rate_s = 60

[[control]]
check = "circuit"
at_min = 0
starts_in_min = 3
lasts_min = 4
group = "feeder-4"
setpoints = { max_lim_w_pct = 50 }
"""
AGGREGATOR_ALONE = """
utility = ""
aggregator = [{ name = "pool" }]
enrolment = { direct_pct = 0, aggregator_pct = 100 }
"""
LEVELS = {
    "market, utility, substation, aggregator": """
market = "market"
substation = [{ name = "substation-a", element = "trafo_142" }]
aggregator = [{ name = "pool", market = true }]
enrolment = { direct_pct = 40, aggregator_pct = 40, dual_pct = 20 }
""",
    "market and utility": 'market = "market"',
    "utility": "",
    "aggregator": AGGREGATOR_ALONE,
}


@pytest.mark.parametrize("levels", LEVELS)
def test_a_limit_reaches_a_feeder_through_whatever_levels_there_are(tmp_path, levels):
    groups = '\n[[group]]\nnode = "pool"\nname = "feeder-4"\nelement = "feeder-4"\n' if levels == "aggregator" else ""
    script = tmp_path / "tiers.toml"
    script.write_text(f"{SCENARIO}{groups}\n[hierarchy]\n{LEVELS[levels]}")
    evidence = tmp_path / "evidence"
    run = [
        sys.executable, "-m", "tierline", "scenario", "run", str(script), "--headless", "--gateways", "10", "--speed", "60",
        "--state", str(tmp_path / "state"), "--evidence", str(evidence),
    ]  # fmt: skip
    done = subprocess.run(run, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    subprocess.run([sys.executable, str(JUDGE), str(evidence), "--listed"], capture_output=True, check=False)
    circuit = json.loads((evidence / "verdict.json").read_text())["checks"]["circuit"]
    # Ten of 153 inverters are too few to be seen at the head of a feeder whose others follow the clouds.
    assert [why for why in circuit["why"] if "the head changed" not in why] == []
    assert circuit["members"] == circuit["written"] >= 3
