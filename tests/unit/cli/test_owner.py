"""The owner's commands against a gateway's socket that another thread answers."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager

import pytest

from tierline.env import serve_local

EXPLAINED = {
    "at": "2026-06-18 12:00:10+00:00",
    "is_held": True,
    "applied_at": "2026-06-18 12:00:05+00:00",
    "setpoints": {"max_lim_w_pct": "30.00"},
    "explanation": [
        {"channel": "aggregator", "function": "max_lim_w_pct", "value": "30", "mrid": "AB02", "is_event": True, "reason": "binding"},
        {
            "channel": "utility", "function": "max_lim_w_pct", "value": "50", "mrid": "D", "is_event": False,
            "reason": "not binding: max_lim_w_pct of aggregator is tighter",
        },
        {
            "channel": "owner", "function": "max_lim_w_pct", "value": "90", "mrid": "", "is_event": False,
            "reason": "not binding: max_lim_w_pct of aggregator is tighter",
        },
    ],
    "events": [
        {
            "mrid": "AB02", "channel": "aggregator", "state": "started", "starts_at": "2026-06-18 12:00:00+00:00",
            "ends_at": "2026-06-18 13:00:00+00:00", "setpoints": {"max_lim_w_pct": "30"}, "may_opt_out": True,
        },
        {
            "mrid": "CD01", "channel": "utility", "state": "received", "starts_at": "2026-06-18 14:00:00+00:00",
            "ends_at": "2026-06-18 15:00:00+00:00", "setpoints": {"connect": False}, "may_opt_out": False,
        },
    ],
    "refused": [],
    "held_back": {},
    "responses_waiting": 0,
}  # fmt: skip


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


LIMITED = {
    "mrid": "EF03", "state": "received", "starts_at": "2026-06-18 12:06:00+00:00", "ends_at": "2026-06-18 12:21:00+00:00",
    "setpoints": {"max_lim_w_pct": "50"}, "answers": [1],
}  # fmt: skip


@contextmanager
def gateway(path, answers):
    """Answer each question with the next of some answers; gives what was asked."""
    asked = []

    async def answer(line):
        asked.append(json.loads(line))
        return json.dumps(answers[len(asked) - 1]).encode()

    loop = asyncio.new_event_loop()
    task = loop.create_task(serve_local(str(path), answer))
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    while not path.is_socket():
        time.sleep(0.001)
    try:
        yield asked
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def test_who_binds_is_said_in_words(tierline, state):
    with gateway(state / "gw.owner", [EXPLAINED]) as asked:
        said = tierline("owner", "explain")
    assert asked == [{"do": "explain"}]
    assert said.out.splitlines() == [
        "last read back at 2026-06-18 12:00:05 UTC",
        "  max_lim_w_pct = 30",
        "",
        "Who speaks, and what became of it:",
        "  aggregator: max_lim_w_pct 30 (event AB02): binding",
        "  utility: max_lim_w_pct 50 (default): not binding: max_lim_w_pct of aggregator is tighter",
        "  owner: max_lim_w_pct 90 (standing limit): not binding: max_lim_w_pct of aggregator is tighter",
        "",
        "Events that are not over:",
        "  AB02 of aggregator, started: max_lim_w_pct 30",
        "    2026-06-18 12:00:00 to 13:00:00 UTC; may be refused",
        "  CD01 of utility, received: connect false",
        "    2026-06-18 14:00:00 to 15:00:00 UTC",
    ]


def test_what_was_refused_and_what_the_device_refuses_is_said_in_words(tierline, state):
    refused = {
        "mrid": "AB09", "channel": "utility", "answers": [252], "setpoints": {"gen_lim_w": "900"},
        "starts_at": "2026-06-18 14:00:00+00:00", "ends_at": "2026-06-18 15:00:00+00:00", "why": "it has no such register",
    }  # fmt: skip
    silent = refused | {"mrid": "AB10", "answers": []}
    with gateway(
        state / "gw.owner", [EXPLAINED | {"refused": [refused, silent], "held_back": {"connect": "exception 3"}}]
    ):
        said = tierline("owner", "explain")
    assert said.out.splitlines()[-8:] == [
        "",
        "The device refuses connect, and nothing else waits for that: exception 3",
        "",
        "Events that were refused:",
        "  AB09 of utility, answered 252: gen_lim_w 900",
        "    2026-06-18 14:00:00 to 15:00:00 UTC; it has no such register",
        "  AB10 of utility, answered nothing: gen_lim_w 900",
        "    2026-06-18 14:00:00 to 15:00:00 UTC; it has no such register",
    ]


def test_what_is_not_known_is_said_as_such(tierline, state):
    nothing = {"setpoints": {}, "explanation": [], "events": []}
    answers = [EXPLAINED | nothing | {"applied_at": None}, EXPLAINED | nothing | {"is_held": False}]
    with gateway(state / "gw.owner", answers):
        first, second = tierline("owner", "explain").out, tierline("owner", "explain").out
    assert first.startswith("nothing was written to the device yet\n  nothing is commanded")
    assert "it is being written again, so this may not hold now" in second


def test_an_event_is_refused(tierline, state):
    with gateway(state / "gw.owner", [{"mrid": "AB02", "state": "opted_out"}] * 2) as asked:
        said = tierline("owner", "opt-out", "ab")
        told = json.loads(tierline("owner", "opt-out", "ab", "--json").out)
    assert asked[0] == {"do": "opt_out", "mrid": "ab"}
    assert said.out == "event AB02 is refused and over for this device\n"
    assert told["state"] == "opted_out"


@pytest.mark.parametrize("kind", ["Conflict", "LinkError", "PeerError"])
def test_why_it_is_not_refused_is_told(tierline, state, kind):
    with gateway(state / "gw.owner", [{"error": kind, "says": "no"}]):
        said = tierline("owner", "opt-out", "ab")
    assert (said.code, said.err) == (1, "tierline: no\n")


def test_which_gateway_is_meant_is_found_or_asked(tierline, state, tmp_path):
    nobody = tierline("owner", "explain")
    assert (nobody.code, nobody.err) == (
        1,
        "tierline: no gateway runs with the state folder state; name another with --state\n",
    )
    with gateway(state / "a.owner", [EXPLAINED]) as first, gateway(state / "b.owner", [EXPLAINED]) as second:
        assert "in state there are a, b; name one of them with --node" in tierline("owner", "explain").err
        assert "in state there are a, b" in tierline("owner", "explain", "--node", "c").err
        assert tierline("owner", "explain", "--node", "b", "--state", tmp_path / "state").code == 0
    assert (len(first), len(second)) == (0, 1)


def test_a_limit_is_asked_for_and_confirmed_in_words(tierline, state):
    with gateway(state / "gw.owner", [LIMITED] * 3) as asked:
        said = tierline("owner", "limit", "--set", "max_lim_w_pct=50", "--in", "6m", "--duration", "15m")
        tierline("owner", "limit", "--set", "max_lim_w_pct=50", "--start", "2026-06-18T12:06:00Z", "--for", "900")
        told = json.loads(tierline("owner", "limit", "--set", "gen_lim_w=7.5", "--for", "60", "--json").out)
    assert said.out == "gw: limited by EF03 (max_lim_w_pct 50), 2026-06-18 12:06:00 to 12:21:00 UTC\n"
    assert asked == [
        {"do": "limit", "setpoints": {"max_lim_w_pct": 50}, "duration_s": 900, "start_in_s": 360},
        {"do": "limit", "setpoints": {"max_lim_w_pct": 50}, "duration_s": 900, "start": "2026-06-18T12:06:00+00:00"},
        {"do": "limit", "setpoints": {"gen_lim_w": 7.5}, "duration_s": 60},
    ]
    assert told == {"gateways": [{"gateway": "gw", **LIMITED}]}


def test_a_limit_is_cancelled(tierline, state):
    with gateway(state / "gw.owner", [LIMITED | {"state": "cancelled"}]) as asked:
        said = tierline("owner", "cancel", "ef", "gw")
    assert asked == [{"do": "cancel", "mrid": "ef"}]
    assert said.out.startswith("gw: released from EF03 (max_lim_w_pct 50)")


def test_limits_are_listed(tierline, state):
    with gateway(state / "gw.owner", [{"limits": [LIMITED]}, {"limits": []}]):
        full, empty = tierline("owner", "list"), tierline("owner", "list")
    assert full.out.splitlines()[-1].split() == [
        "gw", "EF03", "received", "max_lim_w_pct", "50", "2026-06-18", "12:06:00", "UTC", "2026-06-18", "12:21:00", "UTC", "1",
    ]  # fmt: skip
    assert empty.out == "there are no limits of the owner\n"


def test_several_gateways_are_asked_and_who_refuses_keeps_nobody_from_obeying(tierline, state, tmp_path):
    file = tmp_path / "b.toml"
    file.write_text(
        '[node]\nname = "b"\nlevel = 2\nparty = "p"\n[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:1"\n'
    )
    refused = {"error": "Unsupported", "says": "this device does not carry out exp_lim_w"}
    words = ("owner", "limit", "--set", "exp_lim_w=0", "--for", "1h", "a", "b.toml")
    with gateway(state / "a.owner", [refused] * 2) as first, gateway(state / "b.owner", [LIMITED] * 2) as second:
        said, told = tierline(*words), tierline(*words, "--json")
    assert (len(first), len(second)) == (2, 2)
    assert said.out.startswith("b: limited by EF03")
    assert (said.code, said.err) == (1, "tierline: a: this device does not carry out exp_lim_w\n")
    assert told.code == 1
    assert [one.get("error") for one in json.loads(told.out)["gateways"]] == ["Unsupported", None]


@pytest.mark.parametrize("kind", ["ConfigError", "Unsupported", "Conflict", "LinkError", "PeerError"])
def test_why_there_is_no_limit_is_told(tierline, state, kind):
    with gateway(state / "gw.owner", [{"error": kind, "says": "no"}]):
        said = tierline("owner", "limit", "--set", "max_lim_w_pct=500", "--for", "1h")
    assert (said.code, said.out, said.err) == (1, "", "tierline: no\n")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--for", "1h"], 2, "Missing option '--set'"),
        (["--set", "max_lim_w_pct=50"], 2, "Missing option"),
        (["--set", "max_lim_w_pct", "--for", "1h"], 2, "is not function=value"),
        (["--set", "max_lim_w_pct=50", "--for", "soon"], 2, "is no duration"),
        (["--set", "max_lim_w_pct=50", "--for", "1h", "--start", "noon"], 2, "is no time"),
        (["--set", "max_lim_w_pct=50", "--for", "1h", "--start", "2026-06-18T12:00:00Z", "--in", "1m"], 2, "not both"),
        (["--set", "max_lim_w_pct=50", "--for", "1h"], 1, "no gateway runs with the state folder state"),
        (["--set", "max_lim_w_pct=50", "--for", "1h", "none.toml"], 1, "none.toml: cannot be read"),
    ],
)
def test_what_is_typed_wrong_is_told_before_anything_is_asked(tierline, state, words, code, says):
    said = tierline("owner", "limit", *words)
    assert said.code == code
    assert says in said.err


def test_a_gateway_that_does_not_run_or_is_not_named_is_told_apart(tierline, state, tmp_path):
    text = '[node]\nname = "b"\nlevel = 2\nparty = "p"\n[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:1"\n'
    (tmp_path / "b.toml").write_text(text)
    assert "the gateway of b.toml does not run: there is no state/b.owner" in tierline("owner", "list", "b.toml").err
    with gateway(state / "a.owner", []), gateway(state / "c.owner", []):
        assert tierline("owner", "list").err == "tierline: in state there are a, c; name one of them\n"
        assert tierline("owner", "list", "d").code == 1


def test_the_prices_of_gateways_are_listed_with_where_they_come_from(tierline, state):
    price = {"mrid": "C1", "start": "2026-06-18 12:00:00+00:00", "duration_s": 3600, "price": "-0.05000"}
    tariff = {"mrid": "A1", "description": "day ahead", "followed_from": "pool", "currency": 978, "prices": [price]}
    with gateway(state / "a.owner", [{"tariffs": [tariff]}]) as asked, gateway(state / "b.owner", [{"tariffs": []}]):
        said = tierline("owner", "prices", "a", "b")
    assert asked == [{"do": "prices"}]
    (line,) = [line for line in said.out.splitlines() if line.startswith("a ")]
    assert [word for word in line.split() if word in {"C1", "pool", "1h", "-0.05000", "978"}] == [
        "C1",
        "pool",
        "1h",
        "-0.05000",
        "978",
    ]
    with gateway(state / "c.owner", [{"tariffs": []}]):
        assert tierline("owner", "prices", "c").out == "no price is known\n"
    with gateway(state / "d.owner", [{"tariffs": [tariff]}]):
        found = json.loads(tierline("owner", "prices", "d", "--json").out)
    assert found == {"gateways": [{"gateway": "d", "tariffs": [tariff]}]}
