"""The commands that speak to a node."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.engine.governor import Cap
from tierline.model.records import AuditRecord, DerInfoKind, DerInfoRecord
from tierline.node.relay_clocks import RelayClocks

CURVE = '{"points": [[92, 44], [98, 0], [102, 0], [108, -44]], "y_ref": "set_max_var", "open_loop_s": 5}'
CREATE = (
    "control",
    "create",
    "--feeder",
    "feeder-1",
    "--set",
    "max_lim_w_pct=50",
    "--for",
    "15m",
    "--reason",
    "overload",
)


@pytest.fixture
def control(node_json):
    return node_json(*CREATE)["control"]["mrid"]


def test_status(node, control):
    said = node("status")
    assert "utility of utility, level 4" in said
    assert "2026-06-18 12:00:00 UTC, 60 times as fast as the wall" in said
    assert control in said


def test_status_of_a_node_that_is_not_ready(node, health):
    health.serving.trouble = "full"
    health.speed = 1.0
    said = node("status")
    assert "{'store': 'full'}" in said
    assert "wall" not in said


def test_status_names_the_channel_whose_clock_differs(node, health, operator):
    assert "healthy   yes" in node("status")
    health.clocks = RelayClocks(health.serving)
    asyncio.run(health.clocks.compare("up", operator, 31.0))
    said = node("status")
    assert "clock of  up: its server is 31.0 s ahead" in said
    assert "set this node's clock" in said


def test_devices_are_listed(node, node_json):
    said = node("device", "list")
    assert "pv-1" in said
    assert "10 kW" in said
    assert "2 of 2" not in node("device", "list", "--group", "feeder-1")
    assert "1 of 4; --limit shows more" in node("device", "list", "--limit", 1)
    assert node_json("device", "list")["total"] == 4
    assert len(node_json("device", "list", "--limit", 3)["devices"]) == 3


def test_a_device_is_shown(node, node_json, serving):
    said = node("device", "show", "pv-1")
    assert "111115" in said
    assert "2694881444" in said
    assert "tierline explain" in said
    assert node_json("device", "show", "pv-4")["lfdi"] is None
    assert "there is no device 'moon'" in node("device", "show", "moon", code=1)


@pytest.fixture
async def spoken(serving, der, measure, clock):
    """A DER that called, described itself and measured."""
    serving.last_seen[der("pv-1").der_id] = clock.now().timestamp()
    await measure("pv-1", "w", 7000)
    record = DerInfoRecord(
        party=serving.party, der_id=der("pv-1").der_id, kind=DerInfoKind.STATUS, document=b"", changed_at=clock.now()
    )
    await serving.commit([record])


def test_a_device_shows_what_it_said(node, spoken):
    said = node("device", "show", "pv-1")
    assert "7000 W at 2026-06-18 12:00:00 UTC" in said
    assert "ders          told 2026-06-18 12:00:00 UTC" in said


def test_a_device_is_added_by_lfdi_or_certificate(node, node_json, tierline):
    said = node("device", "add", "--lfdi", "ab" * 20, "--pin", "111115")
    assert "LFDI ABABABABAB" in said
    assert "PIN 111115" in said
    tierline("cert", "ca", "certs")
    made = json.loads(tierline("cert", "device", "certs", "der-9", "--json").out)
    assert node_json("device", "add", "--certificate", "certs/der-9.pem")["lfdi"] == made["lfdi"]
    assert "registered already" in node("device", "add", "--certificate", "certs/der-9.pem", code=1)
    assert "at least one of them" in node("device", "add", code=1)
    assert "not both" in node("device", "add", "--lfdi", "ab", "--certificate", "x", code=2)


def test_a_device_is_shut_out_and_let_in(node, der):
    assert "shut out" in node("device", "disable", "pv-1")
    assert not der("pv-1").enabled
    assert "let in" in node("device", "enable", "pv-1")


def test_a_device_is_taken_out(node, der):
    at = der("pv-1").der_id
    assert "its LFDI may be registered anew" in node("device", "remove", "pv-1")
    assert "taken out already" in node("device", "remove", at, code=1)


def test_a_device_is_placed(node, der):
    at = der("pv-1").der_id
    assert "hangs at pv-3, in the groups" in node("device", "place", at, "pv-3")
    assert "hangs nowhere in the grid" in node("device", "place", at, "")
    assert "no service point" in node("device", "place", at, "moon", code=1)


def test_groups_and_members(node, node_json):
    assert "feeder-2" in node("group", "list")
    assert "registered" in node("group", "members", "feeder-2")
    assert len(node_json("group", "members", "sub-1")["members"]) == 4


def test_a_control_is_created(node):
    said = node(*CREATE)
    assert "created for feeder-1: 2 DERs" in said
    assert "max_lim_w_pct = 50" in said
    assert "2026-06-18 12:00:00 to 12:15:00 UTC (15m)" in said
    assert "tierline control show" in said
    assert "tierline control cancel" in said


def test_a_control_for_nobody_says_so(node, serving):
    serving.members_of.clear()
    assert "nobody belongs to the group now" in node(*CREATE)


def test_a_control_may_begin_later_and_be_spread(node_json, node):
    later = node_json(*CREATE, "--in", "1h30m", "--randomize-start=-30s", "--randomize-duration", "60", "--ramp", "10s")
    found = later["control"]
    assert found["start"] == "2026-06-18T13:30:00Z"
    assert (found["randomize_start_s"], found["randomize_duration_s"], found["ramp_time_s"]) == (-30, 60, 10)
    assert node_json(*CREATE, "--at", "2026-06-18T16:00:00+02:00")["control"]["start"] == "2026-06-18T14:00:00Z"
    assert "starts spread over -30 s, durations over 60 s" in node("control", "show", found["mrid"])


def test_a_dry_run_and_a_preview_send_nothing(node, serving, control):
    for words in ((*CREATE[:-2], "--reason", "x", "--dry-run"), ("control", "preview", *CREATE[2:-2])):
        said = node(*words)
        assert "2 DERs get it, rated 30 kW together" in said
        assert "2 of them have not called yet" in said
        assert "at most 15 kW less generation" in said
        assert f"meets control {control[:8]} of feeder-1 for max_lim_w_pct" in said
        assert "the new one ranks first" in said
        assert "nothing was sent" in said
    said = node("control", "preview", "--group", "two feeders", "--set", "max_lim_w_pct=50", "--for", "60")
    assert "the other one ranks first" in said
    assert "pv-4 does not get it" in said
    assert list(serving.program_of_control) == [control]


def test_a_preview_tells_who_will_refuse(node, serving, der):
    serving.lacking = lambda _document, functions: tuple(functions)
    der_id = der("pv-1").der_id
    serving.infos[der_id, DerInfoKind.CAPABILITY] = DerInfoRecord(
        party=serving.party, der_id=der_id, kind=DerInfoKind.CAPABILITY, document=b"", changed_at=serving.clock.now()
    )
    said = node("control", "preview", *CREATE[2:-2], "--ramp", "5")
    assert "pv-1 will refuse it: by its capability it does not carry out max_lim_w_pct" in said
    assert "rampTms: a DER that has no such ramp answers 252" in said


def test_a_preview_tells_what_the_governor_says(node, serving):
    serving.budget = (Cap(name="cautious", window=timedelta(hours=1), power_w=Decimal(10_000)),)
    words = ("control", "preview", *CREATE[2:-2])
    assert "it would be refused by the governor: cautious: 15000.0 W" in node(*words).replace("15000 W", "15000.0 W")
    assert "refused by the governor" in node(*CREATE, code=1)


def test_a_preview_without_relief_says_nothing_of_it(node, serving, der, clock):
    for point in ("pv-1", "pv-2"):
        serving.last_seen[der(point).der_id] = clock.now().timestamp()
    said = node("control", "preview", "--group", "feeder-1", "--set", f"volt_var={CURVE}", "--for", "60")
    assert "less generation" not in said
    assert "not called" not in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--set", "max_lim_w_pct=150", "--feeder", "feeder-1"), 1, "max_lim_w_pct is 150 % of set_max_w"),
        (("--set", "max_lim_w_pct=150", "--feeder", "moon"), 1, "there is no group 'moon'"),
        (("--set", "max_lim_w_pct=50"), 2, "name one target"),
        (("--set", "max_lim_w_pct=50", "--feeder", "a", "--group", "b"), 2, "name one target"),
        (("--set", "max_lim_w_pct=50", "--feeder", "a", "--in", "6m", "--at", "x"), 2, "give --in or --at"),
        (("--set", "max_lim_w_pct", "--feeder", "a"), 2, "is not function=value"),
    ],
)
def test_a_control_that_cannot_be_is_refused_in_words(node, words, code, said):
    assert said in node("control", "create", *words, "--for", "15m", "--reason", "x", code=code)


def test_a_control_needs_a_reason(node):
    assert "--reason" in node(*CREATE[:-2], code=2)


@pytest.fixture
def answered(respond):
    """Answer a control as pv-1."""

    def answer(mrid):
        loop = asyncio.new_event_loop()
        for status in (1, 2):
            loop.run_until_complete(respond("pv-1", mrid, status))
        loop.close()

    return answer


def test_controls_are_listed_shown_and_cancelled(node, node_json, control, answered):
    answered(control)
    assert "1 received, 1 started" in node("control", "list")
    assert "there are no controls" in node("control", "list", "--state", "ended")
    said = node("control", "show", control[:8])
    assert "control by ada" not in said
    assert "control by operator at 2026-06-18 12:00:00 UTC: overload" in said
    assert "2 members: 1 received, 1 started, 1 silent" in said
    assert "received, started" in said
    assert "is cancelled" in node("control", "cancel", control[:8], "--reason", "mistake")
    assert "cancelled already" in node("control", "cancel", control, code=1)
    assert node_json("control", "show", control)["state"] == "cancelled"


def test_a_der_is_explained_in_words(node, node_json, control, answered, spoken):
    said = node("explain", "pv-1")
    assert "the DER has not said that it started" in said
    assert "it answered: nothing yet" in said
    answered(control)
    said = node("explain", "pv-1")
    assert "max_lim_w_pct = 50 % of set_max_w" in said
    assert f"by control {control[:8]} of feeder-1, until 2026-06-18 12:15:00 UTC; the DER says that it started" in said
    assert "\n    binding\n" in said
    assert "feeder-1 (feeder) since 2026-06-18 12:00:00 UTC: registered" in said
    assert "commands max_lim_w_pct: it ranks first" in said
    assert "control by operator of utility at 2026-06-18 12:00:00 UTC: overload" in said
    assert "it answered: received 12:00:00, started 12:00:00" in said
    assert "last called 2026-06-18 12:00:00 UTC" in said
    assert "7000 W" in said
    assert node_json("explain", "pv-1")["functions"][0]["binding"] is True


def test_a_silent_der_is_explained(node, serving):
    serving.grid = None
    node("device", "add", "--lfdi", "ab" * 20)
    node("device", "disable", "ABAB")
    said = node("explain", "ABAB")
    assert "has not called since this node started" in said
    assert "is disabled" in said
    assert "nothing is commanded" in said
    assert "none: nothing feeds it" in said


def test_a_default_is_set_shown_and_explained(node, node_json):
    assert "has no default" in node("default", "show", "feeder-1")
    said = node("default", "set", "feeder-1", "--set", f"volt_var={CURVE}", "--set", "connect=true")
    assert "connect=true, volt_var=" in said
    assert "volt_var = {" in node("default", "show", "feeder-1")
    assert node_json("default", "show", "feeder-1")["setpoints"]["connect"] is True
    assert "set_max_var" in node("curve", "list")
    assert "connect=true" in node("program", "list")
    said = node("explain", "pv-1")
    assert "by the default of feeder-1" in said
    assert "permitted by all" in said


def test_a_randomized_control_is_explained(node):
    node(*CREATE, "--randomize-start", "60", "--in", "5m")
    said = node("explain", "pv-1")
    assert "the DER may shift this by up to 1m" in said
    assert "commands nothing now: it begins in 0:05:00" in said


def test_readings_are_listed(node, node_json, spoken):
    assert "7000" in node("reading", "list")
    assert "7000" in node("reading", "list", "pv-1", "--since", "2026-06-18T11:00:00Z")
    assert node_json("reading", "list", "--point", "hz") == {"readings": []}
    assert "there are no readings" in node("reading", "list", "pv-2")


def test_the_grid_is_shown_and_switched(node, node_json, serving):
    said = node("grid", "show")
    assert "two feeders: 6 nodes, 5 lines, 4 DERs" in said
    assert "all switches stand as normal" in said
    assert "sectionaliser" in node("grid", "show", "--switches")
    node("control", "create", "--feeder", "feeder-2", "--set", "max_lim_w_pct=40", "--for", "15m", "--reason", "x")
    said = node("grid", "switch", "--open", "2", "--close", "3")
    assert "max_lim_w_pct=40" in said
    assert "1 DERs would move; nothing was done" in said
    assert serving.switches[2]
    said = node("grid", "switch", "--open", "2", "--close", "3", "--yes")
    assert "1 DERs moved" in said
    assert not serving.switches[2]
    assert "tie" in node("grid", "show")
    assert "stand so already" in node("grid", "switch", "--open", "2", "--yes", code=1)
    assert "nobody moves" in node("grid", "switch", "--close", "3")
    assert "name the switches" in node("grid", "switch", code=2)
    assert node_json("grid", "show")["switches"][1]["closed"] is False


def test_the_audit_is_listed_and_verified(node, node_json, serving, control):
    assert "overload" in node("audit", "list")
    assert len(node_json("audit", "list", "--after", "1", "--limit", "1")["lines"]) == 1
    assert "the audit is whole" in node("audit", "verify")
    line = serving.store.load(AuditRecord)[0]
    serving.store.apply([replace(line, principal="nobody")], [])
    said = node("audit", "verify", code=1)
    assert "record 1 was changed" in said
    assert "the audit is NOT whole" in said


def test_tokens_are_made_listed_and_revoked(node, node_json, tmp_path):
    assert len(node("token", "create", "eve").strip()) == 64
    said = node("token", "create", "bob", "--role", "operator", "--out", "bob.token")
    assert "written to bob.token" in said
    assert (tmp_path / "bob.token").stat().st_mode & 0o777 == 0o600
    assert "exists already" in node("token", "create", "tom", "--out", "bob.token", code=2)
    assert "viewer" in node("token", "list")
    assert node_json("status", "--token-file", "bob.token")["you"] == "bob"
    assert "revoked" in node("token", "revoke", "bob")
    assert "valid access token" in node("status", "--token-file", "bob.token", code=1)


def test_groups_are_made_filled_renamed_and_deleted(node, node_json):
    assert "group pilot was made, with 0 DERs" in node("group", "create", "pilot")
    assert "pilot has 2 members now" in node("group", "add", "pilot", "pv-1", "pv-3", "--reason", "contract 7")
    assert "contract 7" in node("group", "members", "pilot")
    said = node("group", "show", "pilot")
    assert "pilot (non_topology): 2 DERs, 40 kW" in said
    assert "follow" not in said
    assert "pilot has 1 members now" in node("group", "remove", "pilot", "pv-1")
    assert "is called pilot 2 now" in node("group", "rename", "pilot", "pilot 2")
    assert "nothing was done" in node("group", "delete", "pilot 2")
    assert "was deleted" in node("group", "delete", "pilot 2", "--yes")
    assert "there is no group" in node("group", "show", "pilot 2", code=1)
    assert node_json("group", "create", "all", "--all")["members"] == 4
    assert "the registry: all DERs\n" in node("group", "show", "all")
    node("group", "create", "sunny's", "--party", "sunny")
    assert "all DERs of sunny" in node("group", "show", "sunny's")
    assert "the wires: feeder-1" in node("group", "show", "feeder-1")
    assert "sunny's" in node("group", "list", "--of-fleets")


def test_prices_are_set_and_listed(node, node_json):
    made = node_json("price", "tariff", "day ahead", "--currency", 978)
    assert "day ahead" in node("price", "tariffs")
    assert "tariff" in node("price", "tariff", "night", "--currency", 978, "--step", -2)
    said = node("price", "set", made["mrid"], "0.125", "--start", "2026-06-18T12:00:00Z", "--for", "30m")
    assert "0.125 per kWh from 2026-06-18 12:00:00" in said
    assert "no number; write 0.125" in node(
        "price", "set", made["mrid"], "x", "--start", "2026-06-18T12:00:00Z", code=2
    )
    assert "no number" in node("price", "set", made["mrid"], "nan", "--start", "2026-06-18T12:00:00Z", code=2)
    negative = node("price", "set", made["mrid"], "-0.01", "--start", "2026-06-18T11:00:00Z", "--for", "30m")
    assert "-0.01 per kWh from 2026-06-18 11:00:00" in negative
    wrong = node("price", "set", made["mrid"], "0.1", "--strat", "2026-06-18T11:00:00Z", code=2)
    assert "unexpected" in wrong or "Missing option" in wrong
    assert "0.125" in node("price", "list", made["mrid"])
    assert "no price is known" in node("price", "list", made["mrid"], "--since", "2026-06-18T12:30:00Z")


def test_a_tariff_says_whom_it_concerns_and_its_prices_can_be_withdrawn(node, node_json):
    node("group", "create", "contract 7")
    made = node_json("price", "tariff", "feed-in", "--currency", 978, "--group", "contract 7", "--received")
    assert (made["audience"], made["flow"], made["primacy"]) == ("contract 7", "received", 1)
    assert "made, for everybody" in node("price", "tariff", "day ahead", "--currency", 978, "--primacy", 70)
    assert "there is no group" in node("price", "tariff", "x", "--currency", 978, "--group", "moon", code=1)
    listed = node("price", "tariffs")
    assert all(word in listed for word in (made["mrid"], "contract 7", "received", "everybody", "here"))
    node("price", "set", made["mrid"], "0.08", "--start", "2026-06-18T12:00:00Z")
    assert "remove it first" in node("group", "delete", "contract 7", "--yes", code=1)
    assert "1 of its prices hold now or later\nnothing was done" in node("price", "remove", made["mrid"])
    assert "withdraw them first" in node("price", "remove", made["mrid"], "--yes", code=1)
    assert "0.08 per kWh from 2026-06-18 12:00:00" in node("price", "withdraw", made["mrid"], "2026-06-18T12:00:00Z")
    assert "no price of 'feed-in' begins" in node("price", "withdraw", made["mrid"], "2026-06-18T12:00:00Z", code=1)
    assert "no price is known" in node("price", "list", made["mrid"])
    (gone,) = node_json("price", "list", made["mrid"], "--withdrawn")["prices"]
    withdrawn = node("price", "list", made["mrid"], "--withdrawn")
    assert "cancelled" in withdrawn
    assert gone["mrid"] in withdrawn
    assert "tariff feed-in was removed" in node("price", "remove", made["mrid"], "--yes")
    assert "feed-in" not in node("price", "tariffs")
