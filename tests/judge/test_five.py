import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import synthetic as made  # noqa: E402 - the judge is a script: its folder comes first
import synthetic_five as five  # noqa: E402
from test_judge import fails_only, insert, request  # noqa: E402

from judge import judge  # noqa: E402

T0 = made.T0


@pytest.fixture(scope="module")
def builder():
    return five.Five()


@pytest.fixture(scope="module")
def good(builder):
    return builder.folder()


@pytest.fixture
def verdict_of(tmp_path):
    return lambda folder: judge(made.save(folder, tmp_path / "evidence"))


def lines_of(folder, builder, point, low, high):
    """What was written to a device between two times."""
    address = builder.address[point]
    return [
        item
        for item in folder["journal"]
        if item["kind"] == "request" and (item["port"], item["unit"]) == address and low <= item["t"] - T0 <= high
    ]


def answer_of(folder, name, lfdi, mrid, status):
    return next(item for item in folder[name] if (item["lfdi"], item["mrid"], item["status"]) == (lfdi, mrid, status))


def moved(builder, before, after):
    """Find a device that was moved from one group to another."""
    return next(
        point
        for point, stays in builder.stays.items()
        if [stay[0] for stay in stays] == ([before, after] if after else [before])
    )


def test_a_good_folder_of_five_levels_is_judged_good_from_the_command_line(good, tmp_path):
    folder = made.save(good, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", HERE / "judge.py", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = json.loads((folder / "verdict.json").read_text())["checks"]
    assert list(checks) == [
        "circuit", "loss", "volt_var", "switching", "channels", "island", "dispatch", "privacy", "evidence",
    ]  # fmt: skip
    assert (checks["switching"]["moved"], checks["switching"]["left"], checks["switching"]["arrived"]) == ([4, 4], 8, 8)
    assert (checks["switching"]["bound_after_s"], checks["switching"]["released_after_s"]) == (98, 100)
    assert (checks["channels"]["devices"], checks["channels"]["explained"], checks["channels"]["won"]) == (5, 10, 47)
    assert checks["channels"]["with_one_link"] == 42
    assert checks["privacy"]["told"] == 153 + 2 + 1
    assert (checks["island"]["running"], checks["island"]["due"], checks["island"]["behind"]) == (1, 1, 22)
    assert (
        checks["island"]["responses_after_restore"] == 22 * 3
    )  # started and completed: of the one that ran only completed
    assert (checks["dispatch"]["worst_off_target"], checks["dispatch"]["reports_worst_off"]) == (0, 0)
    assert checks["privacy"]["crossing"] == 309


def test_all_checks_are_required_where_there_are_levels_unless_the_listed_are_asked_for(good, tmp_path):
    folder = made.copied(good, "manifest")
    folder["manifest"]["checks"] = ["dispatch"]
    path = made.save(folder, tmp_path)
    assert len(judge(path)["checks"]) == 8 + 1
    assert list(judge(path, listed=True)["checks"]) == ["dispatch", "evidence"]


def test_a_listed_check_that_is_not_known_is_no_success(good, verdict_of):
    folder = made.copied(good, "manifest")
    folder["manifest"]["checks"].append("weather")
    fails_only(verdict_of(folder), "evidence", "'weather'")


# what the levels change for the checks of the spine


def test_a_response_through_another_aggregator_is_a_fault(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    point = next(
        point
        for point in builder.feeders["feeder-2"]
        if builder.way[point] == "aggregator" and builder.pool[point] == "pool-odd"
    )
    line = answer_of(folder, "responses", builder.lfdi[point], made.VOLT_VAR.mrid, 3)
    assert line["peer"] == five.station_lfdi("pool-odd")
    line["peer"] = five.station_lfdi("pool-even")
    fails_only(verdict_of(folder), "evidence", f"{point} through pool-even")


def test_a_response_of_a_device_through_another_device_is_a_fault(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    one, other = builder.feeders["feeder-2"][:2]
    answer_of(folder, "responses", builder.lfdi[one], made.VOLT_VAR.mrid, 3)["peer"] = builder.lfdi[other]
    fails_only(verdict_of(folder), "evidence", "does not stand for the device")


def test_an_altered_audit_of_a_station_is_caught(good, verdict_of):
    folder = made.copied(good, "stations/pool-odd/audit")
    folder["stations/pool-odd/audit"][1]["principal"] = "someone else"
    fails_only(verdict_of(folder), "evidence", "a record of the audit of pool-odd is not that of its content")


def test_a_control_that_its_own_station_did_not_record_is_caught(good, verdict_of):
    folder = made.copied(good, "stations/market/audit", "audit")
    folder["stations/market/audit"].pop()
    folder["audit"] = made.chain([*folder["audit"], {"verb": "create", "resource": five.REFUSED.mrid}])
    fails_only(verdict_of(folder), "evidence", "a control has no audit record")


def test_readings_that_an_aggregator_lost_during_the_cut_fail_the_loss(good, builder, verdict_of):
    folder = made.copied(good, "readings", "stations/pool-odd/readings", "stations/pool-even/readings")
    point = next(point for point in builder.cut if builder.way[point] != "direct")
    name = f"stations/{builder.pool[point]}/readings"
    lost = [
        item for item in folder[name] if item["lfdi"] == builder.lfdi[point] and 600 < item["t"] - T0 < 800
    ][:2]  # fmt: skip
    folder[name] = [item for item in folder[name] if item not in lost]
    fails_only(verdict_of(folder), "loss", "readings taken during the cut are lost")


# switching


def test_a_released_register_between_two_limits_fails_switching(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = moved(builder, "feeder-3", "feeder-4")
    insert(folder["journal"], request(builder, point, 3050, made.write_one(made.WMAX_LIM_PCT_ENA, 0)))
    fails_only(verdict_of(folder), "switching", "was released while a limit was in force")


def test_who_left_and_stays_bound_fails_switching(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = moved(builder, "feeder-1", "feeder-3")
    folder["journal"].remove(lines_of(folder, builder, point, 3390, 3410)[0])
    fails_only(verdict_of(folder), "switching", "still holds the value of an event whose group the device has left")


def test_who_arrives_and_is_not_bound_within_a_poll_fails_switching(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = moved(builder, "feeder-1", "feeder-3")
    insert(folder["journal"], request(builder, point, 3640, made.write(made.WMAX_LIM_PCT_ENA, 1, 400)))
    fails_only(verdict_of(folder), "switching", "does not hold the value of an event into whose group the device came")


def test_who_stays_and_is_released_fails_switching(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = next(point for point, stays in builder.stays.items() if len(stays) == 1 and stays[0][1:] == (2900, 3900))
    insert(folder["journal"], request(builder, point, 3005, made.write_one(made.WMAX_LIM_PCT_ENA, 0)))
    fails_only(verdict_of(folder), "switching", "was released while a limit was in force")


def test_a_completed_of_who_left_fails_switching(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    point = moved(builder, "feeder-3", "feeder-4")
    line = answer_of(folder, "responses", builder.lfdi[point], five.MOVING["feeder-3"].mrid, 2)
    folder["responses"].append(dict(line, status=3, t=T0 + 3902, created_t=T0 + 3901))
    fails_only(verdict_of(folder), "switching", "though the device had left")


def test_who_left_may_say_that_the_event_was_cancelled_or_superseded(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    point = moved(builder, "feeder-3", "feeder-4")
    line = answer_of(folder, "responses", builder.lfdi[point], five.MOVING["feeder-3"].mrid, 2)
    folder["responses"].append(dict(line, status=7, t=T0 + 3102, created_t=T0 + 3101))
    assert verdict_of(folder)["ok"]
    folder["responses"].append(dict(line, status=6, t=T0 + 3102, created_t=T0 + 3101))
    fails_only(verdict_of(folder), "switching", "more than one end")


def test_a_missing_started_of_who_arrived_fails_switching(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    point = moved(builder, "feeder-1", "feeder-3")
    folder["responses"].remove(answer_of(folder, "responses", builder.lfdi[point], five.MOVING["feeder-3"].mrid, 2))
    fails_only(verdict_of(folder), "switching", "no Response 2 to the event of feeder-3")


def test_a_second_response_at_a_station_fails_switching(good, builder, verdict_of):
    name = "stations/substation-a/responses"
    folder = made.copied(good, name)
    line = next(item for item in folder[name] if item["mrid"] == five.MOVING["feeder-4"].mrid and item["status"] == 2)
    folder[name].append(dict(line, t=T0 + 3500, created_t=T0 + 3499))
    fails_only(verdict_of(folder), "switching", "a second Response 2 at substation-a")


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda step: step.update(moved=5), "the utility says that 5 DERs moved, the grid says 4"),
        (lambda step: step.update(moved=0), "the utility says that 0 DERs moved"),
    ],
)
def test_a_move_that_was_miscounted_fails_switching(good, verdict_of, alter, words):
    folder = made.copied(good, "steps")
    alter(next(item for item in folder["steps"] if item["kind"] == "switched"))
    fails_only(verdict_of(folder), "switching", words)


def test_switching_needs_a_move_between_two_transformers(good, builder, verdict_of):
    folder = made.copied(good, "steps")
    folder["steps"] = [
        item for item in folder["steps"] if item["kind"] not in {"switch", "switched"} or item["t"] - T0 < 3200
    ]
    verdict = verdict_of(folder)
    assert "no device was moved between two transformers" in verdict["checks"]["switching"]["why"]


# channels


def said(folder, builder, point, t):
    return next(item for item in folder["explanations"] if item["lfdi"] == builder.lfdi[point] and item["t"] - T0 == t)


def test_a_wider_limit_in_the_register_fails_channels(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = builder.dual[0]
    insert(folder["journal"], request(builder, point, 262, made.write(made.WMAX_LIM_PCT_ENA, 1, 800)))
    insert(folder["journal"], request(builder, point, 402, made.write(made.WMAX_LIM_PCT_ENA, 1, 500)))
    fails_only(verdict_of(folder), "channels", "(80 % instead of 50 %")


def test_a_tighter_limit_that_is_not_obeyed_fails_channels(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    folder["journal"].remove(lines_of(folder, builder, builder.dual[0], 575, 585)[0])
    fails_only(verdict_of(folder), "channels", "(50 % instead of 30 %")


def test_power_above_the_smallest_limit_fails_channels(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    place = builder.points.index(builder.dual[1])
    flow = next(item for item in folder["journal"] if item["kind"] == "flow" and item["t"] == T0 + 520)
    flow["p"][place] = 0.52 * builder.rating[builder.dual[1]]
    fails_only(verdict_of(folder), "channels", "the power is above the smallest limit")


@pytest.mark.parametrize("t", [262, 577])
def test_the_wrong_limit_marked_as_binding_fails_channels(good, builder, verdict_of, t):
    folder = made.copied(good, "explanations")
    for entry in said(folder, builder, builder.dual[0], t)["entries"]:
        entry["binding"] = not entry["binding"]
    fails_only(verdict_of(folder), "channels", "is explained with binding")


def test_an_explanation_that_names_the_wrong_party_fails_channels(good, builder, verdict_of):
    folder = made.copied(good, "explanations")
    said(folder, builder, builder.dual[0], 262)["entries"][1]["party"] = "utility"
    fails_only(verdict_of(folder), "channels", "is explained as 'utility'")


def test_a_limit_that_is_not_explained_fails_channels(good, builder, verdict_of):
    folder = made.copied(good, "explanations")
    said(folder, builder, builder.dual[0], 577)["entries"].pop()
    fails_only(verdict_of(folder), "channels", "the limit of 30 % is not explained")


@pytest.mark.parametrize("status", [2, 3, 7])
def test_a_set_point_that_lost_and_answers_more_than_that_fails_channels(good, builder, verdict_of, status):
    pool = builder.pool[builder.dual[0]]
    name = f"stations/{pool}/responses"
    folder = made.copied(good, name)
    line = answer_of(folder, name, builder.lfdi[builder.dual[0]], five.LOST[pool].mrid, 1)
    folder[name].append(dict(line, status=status, t=T0 + 1102, created_t=T0 + 1101))
    fails_only(
        verdict_of(folder), "channels", f"a Response {status} to the set-point at {pool} that should not be there"
    )


def test_a_limit_that_an_aggregator_heard_nothing_of_fails_channels(good, builder, verdict_of):
    pool = builder.pool[builder.dual[0]]
    name = f"stations/{pool}/responses"
    folder = made.copied(good, name)
    folder[name].remove(answer_of(folder, name, builder.lfdi[builder.dual[0]], five.WIDER[pool].mrid, 2))
    fails_only(verdict_of(folder), "channels", f"no Response 2 to the limit of 80 % at {pool}")


def test_the_set_point_of_the_other_party_in_the_registers_fails_channels(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = builder.dual[0]
    insert(folder["journal"], request(builder, point, 902, made.write(five.WSET_PCT, 2000)))
    insert(folder["journal"], request(builder, point, 1102, made.write(five.WSET_PCT, 4000)))
    fails_only(verdict_of(folder), "channels", "the set-point of the utility is not in the registers")


def test_a_set_point_that_is_not_released_fails_channels_unless_a_curve_is_adopted_meanwhile(good, builder, verdict_of):
    folder = made.copied(good, "journal", "steps", "audit")
    point = builder.dual[0]
    line = lines_of(folder, builder, point, five.FIXED.end, five.FIXED.end + 10)[0]
    folder["journal"].remove(line)
    insert(folder["journal"], dict(line, t=T0 + five.FIXED.end + 45))
    fails_only(verdict_of(folder), "channels", "the set-point was not released on time")
    mrid = "DD" * 16
    folder["steps"].append(
        {
            "kind": "control", "t": T0 + 120, "check": None, "node": "utility", "mrid": mrid, "group": "feeder-4",
            "start_t": T0 + five.FIXED.end, "duration_s": 10, "setpoints": {"volt_var": {"points": [[95, 1], [105, 0]]}},
        }
    )  # fmt: skip
    folder["audit"] = made.chain([*folder["audit"], {"verb": "create", "resource": mrid}])
    assert verdict_of(folder)["ok"]


def test_a_device_with_one_link_that_takes_a_set_point_for_cancelled_fails_channels(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    point = next(point for point in builder.feeders["feeder-4"] if builder.way[point] == "direct")
    answer_of(folder, "responses", builder.lfdi[point], five.FIXED.mrid, 2)["status"] = 6
    fails_only(verdict_of(folder), "channels", "a Response 6 to the set-point at utility that should not be there")


def test_power_that_does_not_follow_the_set_point_fails_channels(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    place = builder.points.index(builder.dual[1])
    flow = next(item for item in folder["journal"] if item["kind"] == "flow" and item["t"] == T0 + 1050)
    flow["p"][place] = 0.38 * builder.rating[builder.dual[1]]
    fails_only(verdict_of(folder), "channels", "does not follow the set-point")


# island


def at_head(folder, builder, event, status):
    """An answer that came up from the substation after the restoration."""
    return next(
        item
        for item in folder["responses"]
        if (item["mrid"], item["status"], item["peer"]) == (event.mrid, status, five.station_lfdi("substation-a"))
    )


def test_a_response_through_the_substation_during_the_cut_fails_the_island(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    line = at_head(folder, builder, five.DUE, 2)
    folder["responses"].remove(line)
    insert(folder["responses"], dict(line, t=T0 + 2400))
    fails_only(verdict_of(folder), "island", "came through the substation while it was cut off")


def test_an_answer_past_the_substation_fails_the_island(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    line = at_head(folder, builder, five.DUE, 2)
    line["peer"] = line["lfdi"]
    fails_only(verdict_of(folder), "island", "answered past it")


def test_an_answer_of_the_island_that_never_comes_up_fails_it(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    folder["responses"].remove(at_head(folder, builder, five.DUE, 3))
    fails_only(verdict_of(folder), "island", "no Response 3 (completed)")


def test_an_answer_of_the_island_that_comes_up_twice_fails_it(good, builder, verdict_of):
    folder = made.copied(good, "responses")
    line = at_head(folder, builder, five.RUNNING, 3)
    folder["responses"].append(dict(line, t=T0 + 3000))
    folder["responses"].append(dict(line, t=T0 + 3100, created_t=line["created_t"] + 1))
    fails_only(verdict_of(folder), "island", "2 different createdDateTime")


def test_a_due_event_that_starts_after_the_restoration_only_fails_the_island(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = builder.feeders["feeder-3"][5]
    folder["journal"].remove(lines_of(folder, builder, point, five.DUE.start, five.DUE.start + 10)[0])
    fails_only(verdict_of(folder), "island", "was not set to 70 % on time")


def test_readings_that_the_substation_lost_fail_the_island(good, builder, verdict_of):
    folder = made.copied(good, "readings")
    point = next(
        point for point in builder.feeders["feeder-3"] if builder.way[point] == "direct" and point not in builder.cut
    )
    lost = [item for item in folder["readings"] if item["lfdi"] == builder.lfdi[point] and 1900 < item["t"] - T0 < 2400]
    folder["readings"] = [item for item in folder["readings"] if item not in lost]
    fails_only(verdict_of(folder), "island", "readings taken during the cut are missing")


def test_a_reading_of_the_island_twice_fails_it(good, builder, verdict_of):
    folder = made.copied(good, "readings")
    point = next(
        point for point in builder.feeders["feeder-3"] if builder.way[point] == "direct" and point not in builder.cut
    )
    line = next(item for item in folder["readings"] if item["lfdi"] == builder.lfdi[point] and item["t"] - T0 > 2000)
    folder["readings"].append(dict(line, received_t=T0 + 3990))
    fails_only(verdict_of(folder), "island", "more than once")


def test_an_island_that_was_never_cut_off_fails(good, verdict_of):
    folder = made.copied(good, "steps")
    folder["steps"] = [item for item in folder["steps"] if item.get("node") != "substation-a"]
    fails_only(verdict_of(folder), "island", "expected one cut of a station, found 0")


# dispatch


def test_power_off_the_target_fails_the_dispatch(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    places = [builder.points.index(point) for point in builder.customers["pool-even"]]
    flow = next(item for item in folder["journal"] if item["kind"] == "flow" and item["t"] == T0 + 1450)
    for place in places:
        flow["p"][place] *= 1.03
    fails_only(verdict_of(folder), "dispatch", "3.0% off the target")


def test_a_target_that_binds_nobody_fails_the_dispatch(good, verdict_of):
    folder = made.copied(good, "steps")
    target = next(item for item in folder["steps"] if item.get("mrid") == five.TARGET.mrid)
    target["setpoints"]["target_w"] *= 2.5
    verdict = verdict_of(folder)
    assert any("more than 80%" in reason for reason in verdict["checks"]["dispatch"]["why"])


def test_a_station_that_granted_nothing_and_takes_the_target_fails_the_dispatch(good, verdict_of):
    name = "stations/market/responses"
    folder = made.copied(good, name)
    line = answer_of(folder, name, five.station_lfdi("utility"), five.REFUSED.mrid, 252)
    folder[name].append(dict(line, status=1))
    fails_only(verdict_of(folder), "dispatch", "utility gave a Response 1 at the market that should not be there")


def test_a_device_set_for_what_was_refused_fails_the_dispatch(good, builder, verdict_of):
    folder = made.copied(good, "journal")
    point = next(point for point in builder.feeders["feeder-2"] if builder.pool[point] != "pool-even")
    insert(folder["journal"], request(builder, point, 1230, made.write(five.WSET_ENA, 1, 1, 0, 60000)))
    insert(folder["journal"], request(builder, point, 1430, made.write_one(five.WSET_ENA, 0)))
    fails_only(verdict_of(folder), "dispatch", "while a refused target would have been in force")


def test_a_report_that_is_not_the_sum_below_fails_the_dispatch(good, verdict_of):
    name = "stations/market/readings"
    folder = made.copied(good, name)
    next(item for item in folder[name] if item["t"] - T0 > 1400)["value"] *= 1.02
    fails_only(verdict_of(folder), "dispatch", "is not the sum of its customers")


def test_answers_that_lost_the_trace_id_fail_the_dispatch(good, builder, verdict_of):
    name = "stations/pool-even/responses"
    folder = made.copied(good, name)
    point = builder.customers["pool-even"][3]
    for item in folder[name]:
        if item["mrid"] == builder.part(point):
            item["mrid"] = "AB" * 8 + item["mrid"][16:]
    verdict = verdict_of(folder)
    fails_only(verdict, "dispatch", "carries the market's trace id")
    assert any("of unknown origin" in reason for reason in verdict["checks"]["dispatch"]["why"])


def test_an_explanation_that_lost_the_trace_id_fails_the_dispatch(good, builder, verdict_of):
    folder = made.copied(good, "explanations")
    said(folder, builder, builder.customers["pool-even"][3], 1203)["entries"][0]["mrid"] = "AB" * 16
    fails_only(verdict_of(folder), "dispatch", "with another trace id")


# privacy


def message(node, party, to, body):
    return {"t": T0 + 500, "node": node, "party": party, "peer": to, "what": "200 /derp", "body": body}


@pytest.mark.parametrize(
    ("node", "party", "to", "body", "words"),
    [
        (
            "utility",
            "utility",
            "pool-even",
            "<description>feeder-4</description>",
            "utility to pool-even holds 'feeder-4'",
        ),
        ("pool-odd", "pool-odd", "utility", "<mfSerNum>PV_001</mfSerNum>", "pool-odd to utility holds 'pv_001'"),
        ("gw-pv_001", "owners", "pool-odd", "<name>gw-pv_001</name>", "owners to pool-odd holds 'pv_001'"),
        (
            "market",
            "market",
            "pool-even",
            "(canary-reason-of-market)",
            "market to pool-even holds 'canary-reason-of-market'",
        ),
    ],
)
def test_a_canary_in_a_message_to_another_party_fails_privacy(good, verdict_of, node, party, to, body, words):
    folder = made.copied(good, "messages")
    folder["messages"].append(message(node, party, five.station_lfdi(to), body))
    fails_only(verdict_of(folder), "privacy", words)


def test_a_longer_word_and_a_message_among_those_who_may_are_no_fault(good, builder, verdict_of):
    folder = made.copied(good, "messages")
    utility, pool = five.station_lfdi("utility"), five.station_lfdi("pool-even")
    folder["messages"].append(message("utility", "utility", pool, "feeder-33 myfeeder-3 pv_0012 xpv_001 pv_1"))
    folder["messages"].append(message("utility", "utility", builder.lfdi["pv_002"], "feeder-1 pv_002"))
    folder["messages"].append(message("substation-a", "utility", utility, "feeder-1 canary-reason-of-utility"))
    assert verdict_of(folder)["ok"]


def test_the_lfdi_of_a_device_at_the_market_fails_privacy(good, builder, verdict_of):
    folder = made.copied(good, "messages")
    body = f"<lFDI>{builder.lfdi['pv_000'].lower()}</lFDI>"
    folder["messages"].append(message("pool-even", "pool-even", five.station_lfdi("market"), body))
    fails_only(verdict_of(folder), "privacy", "to the market holds the LFDI of a device")


def test_a_canary_in_the_log_of_another_party_fails_privacy(good, verdict_of):
    folder = dict(good)
    folder["logs/market.log"] += '{"event": "walked", "name": "pv_001"}\n'
    fails_only(verdict_of(folder), "privacy", "the log of market (market) holds what is not market's")


def test_a_reason_in_the_log_of_the_gateways_fails_privacy(good, verdict_of):
    folder = dict(good)
    folder["logs/gateways-1.log"] += '{"event": "started", "reason": "canary-reason-of-utility"}\n'
    fails_only(verdict_of(folder), "privacy", "the log of gateways-1 (owners) holds what is not owners'")


def test_a_canary_in_the_records_of_another_party_fails_privacy(good, verdict_of):
    name = "stations/pool-odd/audit"
    folder = made.copied(good, name)
    folder[name] = made.chain([*folder[name], {"verb": "group", "resource": "group feeder-4", "party": "pool-odd"}])
    fails_only(verdict_of(folder), "privacy", "the audit of pool-odd (pool-odd) holds what is not pool-odd's")


def test_privacy_without_messages_is_not_shown(good, verdict_of):
    folder = made.copied(good, "messages")
    folder["messages"] = [item for item in folder["messages"] if item["node"] != "pool-even"]
    fails_only(verdict_of(folder), "privacy", "no message of a station was kept")
