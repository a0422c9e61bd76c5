"""The demonstration with real processes, sockets and TLS: a small fleet, a short script."""

import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

SCENARIO = """
[scenario]
about = "a small fleet"
field = "oberrhein"
ends_at_min = 16
poll_rate_s = 60

[[control]]
check = "circuit"
at_min = 0
starts_in_min = 3
lasts_min = 6
group = "system"
setpoints = { max_lim_w_pct = 40 }

[[cut]]
check = "circuit"
at_min = 5
until_min = 11
group = "system"
count = 2
sparing = "gateways-2"

[[kill]]
check = "circuit"
at_min = 5.5
down_s = 20
process = "gateways-2"

[[kill]]
check = "circuit"
at_min = 6
down_s = 20
process = "utility"
"""
MEMBERS = 4


def command(tmp_path, *more):
    script = tmp_path / "small.toml"
    script.write_text(SCENARIO)
    return [
        sys.executable, "-m", "tierline", "scenario", "run", str(script), "--headless", "--speed", "30", "--gateways",
        str(MEMBERS), "--state", str(tmp_path / "state"), *more,
    ]  # fmt: skip


def running_from(folder):
    """List the processes that were started with a file of a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(argument.startswith(f"{folder}/config") for argument in arguments):
            found.append(int(process.name))
    return found


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        command(tmp_path, "--evidence", str(tmp_path / "evidence"), "--seed", "3"),
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert running_from(tmp_path / "state") == []
    return tmp_path / "evidence"


def test_every_der_answers_once_in_spite_of_cuts_and_kills(evidence):
    answers = lines(evidence / "responses.jsonl")
    once = {(answer["lfdi"], answer["status"], answer["created_t"]) for answer in answers}
    lfdis = {device["lfdi"] for device in json.loads((evidence / "manifest.json").read_text())["devices"]}
    assert sorted((lfdi, status) for lfdi, status, _ in once) == sorted(
        (lfdi, status) for lfdi in lfdis for status in (1, 2, 3)
    )


def test_every_inverter_was_limited_and_released(evidence):
    manifest = json.loads((evidence / "manifest.json").read_text())
    journal = lines(evidence / "journal.jsonl")
    start = next(line for line in journal if line["kind"] == "start")
    control = next(line for line in lines(evidence / "steps.jsonl") if line["kind"] == "control")
    rows = {device["service_point"]: device["rating_w"] for device in manifest["devices"]}
    flows = [line for line in journal if line["kind"] == "flow"]

    def shares(since, until):
        return [
            flow["p"][start["service_points"].index(point)] / rating
            for flow in flows
            if since <= flow["t"] < until
            for point, rating in rows.items()
        ]

    assert min(shares(0, control["start_t"] - 30)) > 0.41
    assert max(shares(control["start_t"] + 60, control["start_t"] + control["duration_s"] - 60)) < 0.405
    assert min(shares(control["start_t"] + control["duration_s"] + 120, float("inf"))) > 0.41


def test_the_replay_covers_the_same_span_without_requests(evidence):
    journal, replay = lines(evidence / "journal.jsonl"), lines(evidence / "replay.jsonl")
    assert {line["kind"] for line in replay} == {"start", "switches", "flow", "end"}
    assert replay[0] == journal[0]
    times = [line["t"] for line in journal if line["kind"] == "flow"]
    assert [line["t"] for line in replay if line["kind"] == "flow"] == times


def test_the_cut_and_the_killed_kept_their_readings(evidence):
    steps = lines(evidence / "steps.jsonl")
    assert [line["kind"] for line in steps] == [
        "ready", "control", "cut", "kill", "restart", "kill", "restart", "restore",
    ]  # fmt: skip
    cut = next(line for line in steps if line["kind"] == "cut")
    restored = next(line for line in steps if line["kind"] == "restore")
    assert len(cut["lfdis"]) == 2
    for lfdi in cut["lfdis"]:
        taken = [
            reading["t"]
            for reading in lines(evidence / "readings.jsonl")
            if reading["lfdi"] == lfdi and reading["point"] == "w" and cut["t"] <= reading["t"] <= restored["t"]
        ]
        assert len(taken) >= 5
        assert taken == sorted(set(taken))


def test_the_audit_is_whole(evidence):
    records = lines(evidence / "audit.jsonl")
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    for before, after in pairwise(records):
        assert after["previous_sha256"] == before["sha256"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(tmp_path, number):
    demo = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(running_from(tmp_path / "state")) < 6:
        assert demo.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    demo.send_signal(number)
    demo.communicate(timeout=30)
    assert demo.returncode != 0
    assert running_from(tmp_path / "state") == []


def test_a_demo_that_cannot_start_says_why_in_one_line(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "precious").write_text("mine")
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "in use for something else" in done.stderr
    assert "Traceback" not in done.stderr
