"""Any level may be missing: the same limit on the same feeder, judged alike, whoever stands between the top and the inverter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

JUDGE = Path(__file__).parents[1] / "judge" / "judge.py"
HEAD = """
[scenario]
about = "the same limit through other levels"
field = "oberrhein"
ends_at_min = {ends_at_min}
poll_rate_s = {poll_rate_s}
"""
ISSUED = """
[[control]]
check = "circuit"
at_min = 0
starts_in_min = {starts_in_min}
lasts_min = {lasts_min}
group = "{feeder}"
setpoints = {{ max_lim_w_pct = 50 }}
"""
SAID = ISSUED.replace("[[control]]", "[[limit]]").replace("group =", "element =")
SOON = {"ends_at_min": 14, "poll_rate_s": 60, "starts_in_min": 3, "lasts_min": 4, "feeder": "feeder-4"}
AS_IN_THE_DEMO = {"ends_at_min": 25, "poll_rate_s": 300, "starts_in_min": 6, "lasts_min": 15, "feeder": "feeder-3"}
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
    "nobody": 'utility = ""',
}


def judged(folder, levels, times, *, gateways, speed, timeout_s):
    """Run a scenario of these levels; gives the verdict on it."""
    text = HEAD + (SAID if levels == "nobody" else ISSUED)
    if levels == "aggregator":
        text += '\n[[group]]\nnode = "pool"\nname = "{feeder}"\nelement = "{feeder}"\n'
    script = folder / "tiers.toml"
    script.write_text(f"{text.format(**times)}\n[hierarchy]\n{LEVELS[levels]}")
    evidence = folder / "evidence"
    run = [
        sys.executable, "-m", "tierline", "scenario", "run", str(script), "--headless", "--speed", str(speed),
        *gateways, "--state", str(folder / "state"), "--evidence", str(evidence),
    ]  # fmt: skip
    with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        try:
            _, said = running.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            running.terminate()  # so that it ends what it has started
            raise
    assert running.returncode == 0, said[-4000:]
    subprocess.run([sys.executable, str(JUDGE), str(evidence), "--listed"], capture_output=True, check=False)
    return json.loads((evidence / "verdict.json").read_text())


@pytest.mark.parametrize("levels", LEVELS)
def test_a_limit_reaches_a_feeder_through_whatever_levels_there_are(tmp_path, levels):
    verdict = judged(tmp_path, levels, SOON, gateways=["--gateways", "10"], speed=60, timeout_s=200)
    circuit = verdict["checks"]["circuit"]
    # Ten of 153 inverters are too few to be seen at the head of a feeder whose others follow the clouds.
    assert [why for why in circuit["why"] if "the head changed" not in why] == []
    assert circuit["members"] == circuit["written"] >= 3


@pytest.mark.soak
@pytest.mark.parametrize("levels", [levels for levels in LEVELS if "substation" not in levels])
def test_the_whole_fleet_obeys_through_whatever_levels_there_are_and_the_head_of_the_feeder_shows_it(tmp_path, levels):
    """All of the judge's check, the evidence included, with nothing excused; five levels are the demonstration."""
    verdict = judged(tmp_path, levels, AS_IN_THE_DEMO, gateways=[], speed=30, timeout_s=240)
    assert {name: check["why"] for name, check in verdict["checks"].items()} == {"circuit": [], "evidence": []}
    circuit = verdict["checks"]["circuit"]
    assert (verdict["devices"], circuit["members"], circuit["written"]) == (153, 35, 35)
    print(f"\n{levels}: {circuit}")
