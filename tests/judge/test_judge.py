import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import synthetic as made  # noqa: E402 - the judge is a script: its folder comes first

from judge import judge  # noqa: E402

T0 = made.T0


@pytest.fixture(scope="module")
def builder():
    return made.Good()


@pytest.fixture(scope="module")
def good(builder):
    return builder.folder()


@pytest.fixture
def verdict_of(tmp_path):
    return lambda folder: judge(made.save(folder, tmp_path / "evidence"))


def fails_only(verdict, name, words):
    """Exactly this check fails, and for this reason."""
    assert {check: item["why"] for check, item in verdict["checks"].items() if not item["ok"]}.keys() == {name}, verdict
    assert not verdict["ok"]
    why = verdict["checks"][name]["why"]
    assert any(words in reason for reason in why), why


def requests_of(folder, builder, point):
    address = builder.address[point]
    return [item for item in folder["journal"] if item["kind"] == "request" and (item["port"], item["unit"]) == address]


def response_of(folder, builder, point, event, status):
    return next(
        item
        for item in folder["responses"]
        if (item["lfdi"], item["mrid"], item["status"]) == (builder.lfdi[point], event.mrid, status)
    )


def insert(lines, item):
    """Insert a line by its time, before the last line."""
    place = next((index for index, other in enumerate(lines) if other["t"] > item["t"]), len(lines) - 1)
    lines.insert(place, item)


def request(builder, point, t, pdu):
    port, unit = builder.address[point]
    return {"kind": "request", "t": T0 + t, "port": port, "unit": unit, "pdu": pdu}


def test_a_good_folder_is_judged_good_from_the_command_line(good, tmp_path):
    folder = made.save(good, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", HERE / "judge.py", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["ok"]
    assert verdict["devices"] == 153
    assert list(verdict["checks"]) == ["circuit", "loss", "volt_var", "evidence"]
    circuit, loss, volt_var = (verdict["checks"][name] for name in ("circuit", "loss", "volt_var"))
    assert (circuit["members"], circuit["written"], circuit["responses"], circuit["retries"]) == (32, 32, 96, 0)
    assert circuit["set_late_s"] == 2
    assert 20 <= circuit["ramp_s"] <= 30
    assert (loss["members"], loss["cut"], loss["killed"], loss["retries"]) == (35, 3, ["gateways-2", "utility"], 1)
    assert loss["responses_after_restore"] == 3 + 1
    assert loss["buffered_readings"] == 3 * (made.RESTORE - made.CUT) / 60
    assert volt_var["members"] == 153
    assert volt_var["bus_minutes"] == 0 < volt_var["bus_minutes_without"]


def test_a_bad_folder_exits_with_1_and_says_why(good, tmp_path):
    folder = made.copied(good, "audit")
    folder["audit"].pop()
    done = subprocess.run(
        [sys.executable, HERE / "judge.py", made.save(folder, tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "NOT OK" in done.stdout
    assert "a control has no audit record" in done.stdout


def test_the_judge_imports_the_standard_library_and_itself_only():
    import ast

    own = {path.stem for path in HERE.glob("*.py")} - {
        "synthetic", "synthetic_five", "synthetic_alone", "test_judge", "test_five", "test_alone",
    }  # fmt: skip
    for name in own:
        for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {item.split(".")[0] for item in names} <= own | sys.stdlib_module_names, name


# circuit


def test_a_write_to_a_device_outside_the_feeder_fails_the_circuit(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    other = builder.feeders["feeder-2"][0]
    insert(folder["journal"], request(builder, other, 305, made.write(made.WMAX_LIM_PCT_ENA, 1, 500)))
    insert(folder["journal"], request(builder, other, 725, made.write_one(made.WMAX_LIM_PCT_ENA, 0)))
    fails_only(verdict_of(folder), "circuit", "not fed by the element was written")


def test_a_missing_started_fails_the_circuit(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    folder["responses"].remove(response_of(folder, builder, builder.feeders["feeder-1"][4], made.CIRCUIT, 2))
    fails_only(verdict_of(folder), "circuit", "no Response 2 (started)")


def test_a_response_of_a_device_outside_the_feeder_fails_the_circuit(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    stray = dict(folder["responses"][-1], mrid=made.CIRCUIT.mrid, lfdi=builder.lfdi[builder.feeders["feeder-4"][0]])
    folder["responses"].append(stray)
    fails_only(verdict_of(folder), "circuit", "came from a device that is not fed")


def test_a_late_register_fails_the_circuit(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = builder.feeders["feeder-1"][1]
    line = requests_of(folder, builder, point)[0]
    folder["journal"].remove(line)
    insert(folder["journal"], dict(line, t=T0 + made.CIRCUIT.start + 31))
    fails_only(verdict_of(folder), "circuit", "was not set to 50 % on time")


def test_a_wrong_limit_fails_the_circuit(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    line = requests_of(folder, builder, builder.feeders["feeder-1"][1])[0]
    line["pdu"] = made.write(made.WMAX_LIM_PCT_ENA, 1, 520)
    fails_only(verdict_of(folder), "circuit", "(52 %)")


def test_power_above_the_limit_fails_the_circuit(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    place = builder.points.index(builder.feeders["feeder-1"][2])
    flow = next(item for item in folder["journal"] if item["kind"] == "flow" and item["t"] == T0 + 500)
    flow["p"][place] = 0.51 * builder.rating[builder.points[place]]
    fails_only(verdict_of(folder), "circuit", "the power is above the limit")


def test_a_head_that_does_not_follow_fails_the_circuit(good, verdict_of):
    folder = made.copied(good, "journal")
    for item in folder["journal"]:
        if item["kind"] == "flow" and item["t"] > T0 + made.CIRCUIT.start:
            item["head_p"][0] += 200_000
    fails_only(verdict_of(folder), "circuit", "not opposite and equal")


def test_a_missing_release_fails_the_circuit(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    folder["journal"].remove(requests_of(folder, builder, builder.feeders["feeder-1"][0])[1])
    fails_only(verdict_of(folder), "circuit", "was not released on time")


def test_a_second_receipt_without_an_outage_fails_the_circuit(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    again = response_of(folder, builder, builder.feeders["feeder-1"][4], made.CIRCUIT, 2)
    insert(folder["responses"], dict(again, t=again["t"] + 20))
    fails_only(verdict_of(folder), "circuit", "came again without an outage")


def test_a_moved_switch_changes_the_members(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    opened = next(item for item in folder["journal"] if item["kind"] == "switches")["open"]
    breaker = next(item["breaker"] for item in builder.grid["feeders"] if item["id"] == "feeder-1")
    insert(folder["journal"], {"kind": "switches", "t": T0 + 200, "open": [*opened, breaker]})
    verdict = verdict_of(folder)
    assert verdict["checks"]["circuit"]["why"] == ["feeder-1 feeds no device"]


def test_parallel_limits_bind_by_the_tightest(good, builder, verdict_of):
    folder = made.copied(good, "journal", "steps", "audit")
    mrid, point = "DD" * 16, builder.feeders["feeder-1"][0]
    folder["steps"].append(
        {
            "kind": "control", "t": T0 + 130, "check": None, "mrid": mrid, "group": "feeder-1",
            "start_t": T0 + 400, "duration_s": 200, "setpoints": {"max_lim_w_pct": 80},
        }
    )  # fmt: skip
    folder["audit"] = made.chain(
        [{"verb": "create", "resource": item["mrid"]} for item in folder["steps"] if item["kind"] == "control"]
    )
    assert verdict_of(folder)["ok"]
    insert(folder["journal"], request(builder, point, 405, made.write(made.WMAX_LIM_PCT_ENA, 1, 800)))
    fails_only(verdict_of(folder), "circuit", "did not hold until the end")


# loss


def test_a_second_started_fails_the_loss(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    again = response_of(folder, builder, builder.cut[0], made.LOSS, 2)
    insert(folder["responses"], dict(again, t=T0 + 1130, created_t=T0 + 212))
    verdict = verdict_of(folder)
    fails_only(verdict, "loss", "2 different createdDateTime")


def test_lost_readings_fail_the_loss(good, builder, verdict_of):
    folder = made.copied(good, "readings")
    lfdi = builder.lfdi[builder.cut[1]]
    lost = [item for item in folder["readings"] if item["lfdi"] == lfdi and 600 < item["t"] - T0 < 800][:2]
    folder["readings"] = [item for item in folder["readings"] if item not in lost]
    fails_only(verdict_of(folder), "loss", "readings taken during the cut are lost")


@pytest.mark.parametrize("double", [True, False])
def test_readings_twice_or_out_of_order_fail_the_loss(good, builder, verdict_of, double):
    folder = made.copied(good, "readings")
    lfdi = builder.lfdi[builder.cut[1]]
    places = [
        index
        for index, item in enumerate(folder["readings"])
        if item["lfdi"] == lfdi and made.CUT < item["t"] - T0 < made.RESTORE
    ]
    one, other = (folder["readings"][index] for index in places[:2])
    if double:
        folder["readings"].insert(places[1], dict(one))
    else:
        one["t"], other["t"] = other["t"], one["t"]
    fails_only(verdict_of(folder), "loss", "not in order, each once")


def test_a_register_that_does_not_hold_fails_the_loss(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    insert(folder["journal"], request(builder, builder.cut[0], 800, made.write_one(made.WMAX_LIM_PCT_ENA, 0)))
    fails_only(verdict_of(folder), "loss", "did not hold until the end")


def test_a_reversion_timer_that_runs_out_fails_the_loss(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    line = requests_of(folder, builder, builder.cut[0])[0]
    # WMaxLimPctEna, WMaxLimPct, WMaxLimPctRvrt, WMaxLimPctEnaRvrt, WMaxLimPctRvrtTms (two registers)
    line["pdu"] = made.write(made.WMAX_LIM_PCT_ENA, 1, 600, 1000, 0, 0, 300)
    fails_only(verdict_of(folder), "loss", "did not hold until the end")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("cut", "no member was cut"), ("gateways-2", "no gateway process"), ("utility", "the utility was not killed")],
)
def test_a_loss_without_its_outages_fails(good, verdict_of, kind, words):
    folder = made.copied(good, "steps")
    folder["steps"] = [
        item
        for item in folder["steps"]
        if not (item.get("process") == kind or (kind == "cut" and item["kind"] in {"cut", "restore"}))
    ]
    fails_only(verdict_of(folder), "loss", words)


def test_something_received_during_the_cut_fails_the_loss(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    line = response_of(folder, builder, builder.cut[0], made.LOSS, 3)
    folder["responses"].remove(line)
    insert(folder["responses"], dict(line, t=T0 + 1005))
    fails_only(verdict_of(folder), "loss", "a Response of a cut gateway was received during the cut")


def test_a_killed_gateway_that_still_writes_fails_the_loss(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = next(item["service_point"] for item in builder.devices if item["process"] == "gateways-2")
    insert(folder["journal"], request(builder, point, 545, made.read(made.AT_704, 10)))
    fails_only(verdict_of(folder), "loss", "received requests while its gateway process was killed")


# volt_var


def test_an_altered_curve_point_fails_volt_var(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    line = requests_of(folder, builder, builder.feeders["feeder-2"][0])[0]
    before, after = made.words(1080, -4400).hex(), made.words(1082, -4400).hex()
    assert before in line["pdu"]
    line["pdu"] = line["pdu"].replace(before, after)
    fails_only(verdict_of(folder), "volt_var", "Crv[1].Pt[3].V is 108.2, asked was 108")


def test_bus_minutes_that_are_not_halved_fail_volt_var(good, verdict_of):
    folder = made.copied(good, "journal")
    low, high = T0 + made.VOLT_VAR.start + 60, T0 + made.VOLT_VAR.end
    flows = [item for item in folder["journal"] if item["kind"] == "flow" and low <= item["t"] < high]
    for flow in flows[: len(flows) * 6 // 10]:
        flow["v"] = [1.06 if value == 1.045 else value for value in flow["v"]]
    fails_only(verdict_of(folder), "volt_var", "more than half")


def test_a_replay_without_violations_fails_volt_var(good, verdict_of):
    folder = made.copied(good, "replay")
    for item in folder["replay"]:
        if item["kind"] == "flow":
            item["v"] = [1.0] * len(item["v"])
    fails_only(verdict_of(folder), "volt_var", "nothing to lower")


def test_a_blackout_does_not_count_as_lower_voltage(good, verdict_of):
    folder = made.copied(good, "journal")
    for item in folder["journal"]:
        if item["kind"] == "flow" and item["t"] == T0 + 1360:
            item["v"][0] = None
    fails_only(verdict_of(folder), "volt_var", "lost their voltage")


def test_another_seed_in_the_replay_fails_volt_var(good, verdict_of):
    folder = made.copied(good, "replay")
    folder["replay"][0]["seed"] = 2
    fails_only(verdict_of(folder), "volt_var", "another seed")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (0, "Crv[1].ActPt was not written"),
        (1, "never"),
        (2, "not read back"),
        (3, "not in force on time"),
        (4, "not released after the end"),
    ],
)
def test_each_step_of_a_curve_is_needed(good, builder, verdict_of, place, words):
    folder = made.copied(good, "journal")
    folder["journal"].remove(requests_of(folder, builder, builder.feeders["feeder-2"][0])[place])
    fails_only(verdict_of(folder), "volt_var", words)


# evidence


def test_a_missing_device_is_caught(good, verdict_of):
    folder = made.copied(good, "manifest")
    folder["manifest"]["devices"].pop()
    verdict = verdict_of(folder)
    assert not verdict["ok"]
    assert verdict["devices"] == 152
    assert "152 distinct LFDIs of 152, expected 153" in verdict["checks"]["evidence"]["why"][0]


def test_a_device_that_sent_nothing_is_caught(good, builder, verdict_of):
    folder = made.copied(good, "manifest")
    device = next(item for item in folder["manifest"]["devices"] if item["service_point"] == "pv_152")
    device["lfdi"] = "0" * 40
    why = verdict_of(folder)["checks"]["evidence"]["why"]
    assert any("sent neither a Response nor a reading" in reason for reason in why)
    assert any("not in the manifest sent something" in reason for reason in why)


def alter_audit(folder):
    folder["audit"][0]["principal"] = "someone else"


def drop_first_record(folder):
    folder["audit"].append(dict(folder["audit"][0]))
    del folder["audit"][0]


def forget_control(folder):
    folder["audit"] = folder["audit"][:2]


def drop_flow(folder):
    folder["journal"].remove(
        next(item for item in folder["journal"] if item["kind"] == "flow" and item["t"] == T0 + 1150)
    )


def shorten_flow(folder):
    flow = next(item for item in folder["journal"] if item["kind"] == "flow" and item["t"] == T0 + 1150)
    flow["q"].pop()


def stray_request(folder):
    insert(folder["journal"], {"kind": "request", "t": T0 + 100, "port": 1, "unit": 1, "pdu": made.read(40000, 2)})


def torn_request(folder):
    insert(folder["journal"], {"kind": "request", "t": T0 + 100, "port": 15020, "unit": 1, "pdu": "109c400002040001"})


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (alter_audit, "the hash of a record of the audit is not that of its content"),
        (drop_first_record, "does not name the hash of the one before it"),
        (forget_control, "a control has no audit record"),
        (drop_flow, "the flow lines have a gap"),
        (shorten_flow, "q has 152 values for 153 service_points"),
        (stray_request, "an address that is not in the manifest"),
        (torn_request, "a write of 2 registers carries 2 bytes"),
    ],
)
def test_broken_evidence_is_caught_and_only_there(good, verdict_of, alter, words):
    folder = made.copied(good, "audit", "journal")
    alter(folder)
    fails_only(verdict_of(folder), "evidence", words)


def test_an_empty_folder_is_judged_bad_without_a_crash(tmp_path):
    verdict = judge(tmp_path)
    assert not any(check["ok"] for check in verdict["checks"].values())
    assert any("manifest.json cannot be read" in reason for reason in verdict["checks"]["evidence"]["why"])
    assert json.loads((tmp_path / "verdict.json").read_text()) == verdict


def test_only_the_listed_checks_are_judged_when_asked(good, tmp_path):
    folder = made.copied(good, "manifest")
    folder["manifest"]["checks"] = ["circuit"]
    assert list(judge(made.save(folder, tmp_path), listed=True)["checks"]) == ["circuit", "evidence"]


def test_the_start_line_must_carry_scale_factors(good, verdict_of):
    folder = made.copied(good, "journal")
    del folder["journal"][0]["scale_factors"]
    verdict = verdict_of(folder)
    assert not verdict["ok"]
    assert "lacks scale_factors" in verdict["checks"]["circuit"]["why"][0]
