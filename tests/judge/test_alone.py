import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import synthetic as made  # noqa: E402 - the judge is a script: its folder comes first
import synthetic_alone as alone  # noqa: E402
from test_judge import fails_only, insert, request  # noqa: E402

from judge import judge  # noqa: E402

T0, CIRCUIT = made.T0, made.CIRCUIT


@pytest.fixture(scope="module")
def builder():
    return alone.Alone()


@pytest.fixture(scope="module")
def good(builder):
    return builder.folder()


@pytest.fixture
def verdict_of(tmp_path):
    return lambda folder: judge(made.save(folder, tmp_path / "evidence"))


def test_a_good_folder_of_gateways_alone_is_judged_good_from_the_command_line(good, tmp_path):
    folder = made.save(good, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", HERE / "judge.py", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = json.loads((folder / "verdict.json").read_text())["checks"]
    assert list(checks) == ["circuit", "evidence"]
    circuit = checks["circuit"]
    assert (circuit["members"], circuit["written"], circuit["explained"], circuit["responses"]) == (32, 32, 32, 96)


def test_a_limit_that_another_feeder_was_told_fails(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    other = builder.feeders["feeder-2"][0]
    insert(folder["journal"], request(builder, other, 302, made.write(made.WMAX_LIM_PCT_ENA, 1, 500)))
    insert(folder["journal"], request(builder, other, 722, made.write_one(made.WMAX_LIM_PCT_ENA, 0)))
    fails_only(verdict_of(folder), "circuit", "not fed by the element was written")


def test_a_limit_that_is_not_released_fails(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    address = builder.address[builder.members[0]]
    folder["journal"] = [
        item
        for item in folder["journal"]
        if item["kind"] != "request" or (item["port"], item["unit"]) != address or item["t"] < T0 + 700
    ]
    fails_only(verdict_of(folder), "circuit", "was not released on time")


def test_an_owner_who_was_passed_over_fails(good, builder, verdict_of):
    """Nothing was said to him, so nothing is kept; but the register shows the limit."""
    folder = made.copied(good, "responses", "steps", "explanations")
    lfdi = builder.lfdi[builder.members[0]]
    del folder["steps"][1]["said"][lfdi]
    for name in ("responses", "explanations"):
        folder[name] = [item for item in folder[name] if item["lfdi"] != lfdi or not item.get("entries", True)]
    fails_only(verdict_of(folder), "circuit", "no Response 1 (received)")


@pytest.mark.parametrize("status", [1, 2, 3])
def test_a_response_that_is_not_kept_fails(good, builder, verdict_of, status):
    folder = made.copied(good, "responses")
    lfdi = builder.lfdi[builder.members[5]]
    folder["responses"] = [item for item in folder["responses"] if (item["lfdi"], item["status"]) != (lfdi, status)]
    fails_only(verdict_of(folder), "circuit", f"no Response {status}")


def test_a_second_start_after_a_kill_fails(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    started = next(item for item in folder["responses"] if item["status"] == 2)
    insert(folder["responses"], {**started, "t": started["t"] + 100, "created_t": started["created_t"] + 100})
    fails_only(verdict_of(folder), "circuit", "more than one Response 2 (started)")


def test_a_response_to_what_was_said_to_another_fails(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    first, second = builder.members[:2]
    stray = next(item for item in folder["responses"] if item["lfdi"] == builder.lfdi[first])
    folder["responses"].append({**stray, "mrid": builder.said[second], "t": T0 + 800, "created_t": T0 + 800})
    fails_only(verdict_of(folder), "evidence", "a Response is to what was not said to that device")


def test_a_response_through_a_peer_fails(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    folder["responses"][0]["peer"] = "F" * 40
    fails_only(verdict_of(folder), "evidence", "nobody stands above the gateways")


def test_a_member_that_does_not_say_that_its_owner_binds_it_fails(good, builder, verdict_of):
    folder = made.copied(good, "explanations")
    lfdi = builder.lfdi[builder.members[3]]
    (bound,) = (item for item in folder["explanations"] if item["lfdi"] == lfdi and item["entries"])
    bound["entries"][0]["channel"] = "utility"
    fails_only(verdict_of(folder), "circuit", "did not explain that its owner binds it")


def test_a_gateway_that_says_nothing_at_all_fails(good, builder, verdict_of):
    folder = made.copied(good, "explanations")
    lfdi = builder.lfdi[builder.feeders["feeder-2"][0]]
    folder["explanations"] = [item for item in folder["explanations"] if item["lfdi"] != lfdi]
    fails_only(verdict_of(folder), "evidence", "sent neither a Response nor a reading")


def test_a_limit_said_to_a_stranger_fails(good, verdict_of):
    folder = made.copied(good, "steps")
    folder["steps"][1]["said"]["F" * 40] = "E" * 32
    fails_only(verdict_of(folder), "evidence", "said to a device that is not in the manifest")


def test_two_gateways_do_not_give_the_same_name(good, builder, verdict_of):
    folder = made.copied(good, "steps")
    said = folder["steps"][1]["said"]
    said[builder.lfdi[builder.members[0]]] = said[builder.lfdi[builder.members[1]]]
    assert any("the same mRID" in reason for reason in verdict_of(folder)["checks"]["evidence"]["why"])


def test_owners_below_a_utility_are_not_judged(good, verdict_of):
    folder = made.copied(good, "manifest")
    folder["manifest"]["alone"] = False
    assert any("owners spoke" in reason for reason in verdict_of(folder)["checks"]["evidence"]["why"])
