"""Every mistake names file, line, key and what to write instead."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.control import Setpoints
from tierline.model.errors import ConfigError
from tierline.model.parties import ChannelMode
from tierline.node.config import Address, load_config, parse_address, parse_config

NODE = """[node]
name = "utility"
level = 4
party = "utility"
"""
TLS = """[tls]
certificate = "a.pem"
key = "a.key"
anchors = ["root.pem"]
"""
SERVE = """[serve.sep2]
listen = ["127.0.0.1:8443", "[::1]:0"]
"""
IDENTITY = """[identity]
pen = 40732
"""
SOUTH = """[[south]]
protocol = "sunspec"
address = "127.0.0.1:502"
"""
NORTH = """[[north]]
protocol = "sep2"
channel = "utility"
party = "utility"
server = "https://192.0.2.1/dcap"
"""
RELAY = NORTH + 'use = "relay"\n'
FLEET = """[fleet]
group = "customers"
"""
GRANT = """[[grant]]
party = "market"
functions = ["target_w"]
power_w = 1e6
until = 2030-01-01T00:00:00Z
"""
FIELD = """[field]
scenario = "oberrhein"
"""
SERVER = NODE + IDENTITY + TLS + SERVE
GATEWAY = NODE + TLS + NORTH + SOUTH


def parse(text):
    return parse_config(text, Path("etc/node.toml"))


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_a_server_is_read_with_its_defaults():
    config = parse(SERVER)
    assert config.serve.sep2.listen == [Address(host="127.0.0.1", port=8443), Address(host="::1", port=0)]
    assert (config.serve.sep2.poll_rate_s, config.serve.sep2.post_rate_s) == (600, 300)
    assert (config.store.keep_readings_days, config.store.keep_controls_days) == (30, 400)
    assert config.node.seed is config.clock is config.operator is None


def test_a_gateway_is_read_with_its_defaults():
    config = parse(GATEWAY)
    assert config.follow.mode is ChannelMode.SINGLE
    assert config.follow.supersede_code == "14"
    assert config.north[0].pin is config.north[0].server_lfdi is None
    assert (config.south[0].unit, config.south[0].read_s) == (1, 60)


def test_a_field_is_read():
    assert parse(NODE + FIELD + "begin = 2026-06-18T04:00:00Z").field.begin == datetime(2026, 6, 18, 4, tzinfo=UTC)


def test_paths_count_from_the_folder_of_the_file():
    config = parse(SERVER)
    assert config.state == Path("etc/state")
    assert config.database == Path("etc/state/tierline.db")
    absolute = parse(SERVER + '[store]\npath = "/srv/t.db"\n')
    assert absolute.database == Path("/srv/t.db")


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse(SERVER).node = None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8443", {"host": "127.0.0.1", "port": 8443}),
        ("[::1]:1", {"host": "::1", "port": 1}),
        ("sub-1.example:0", {"host": "sub-1.example", "port": 0}),
        (Address(host="a", port=1), Address(host="a", port=1)),
    ],
)
def test_an_address_is_read(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(("host", "text"), [("127.0.0.1", "127.0.0.1:5"), ("::1", "[::1]:5")])
def test_an_address_is_written_as_it_is_read(host, text):
    assert str(Address(host=host, port=5)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # Not TOML, not complete, not known.
        ("[node", "etc/node.toml: not TOML: "),
        ("", "etc/node.toml:1: node: is missing; add it"),
        ('[node]\nname = "a"\n', "etc/node.toml:1: node.level: is missing; add it"),
        (SERVER + "[nose]\n", "etc/node.toml:13: nose: unknown key; remove it or correct its spelling"),
        (SERVER + "poll = 1\n", "etc/node.toml:13: serve.sep2.poll: unknown key"),
        ('folder = "x"\n' + SERVER, "etc/node.toml:1: folder: unknown key; remove it"),
        # Wrong values, with what was found.
        (SERVER.replace("level = 4", "level = 6"), "etc/node.toml:3: node.level: Input should be less than or equal to 5; found 6"),
        (SERVER.replace('"utility"', '"a b"', 1), "etc/node.toml:2: node.name: String should match"),
        (SERVER.replace('"utility"', "7", 1), "etc/node.toml:2: node.name: Input should be a valid string; found 7"),
        (SERVER.replace("40732", "0"), "etc/node.toml:6: identity.pen: Input should be greater than or equal to 1; found 0"),
        (SERVER.replace('["root.pem"]', "[]"), "etc/node.toml:10: tls.anchors: List should have at least 1 item"),
        (SERVER.replace('"[::1]:0"', '"::1"'), "etc/node.toml:12: serve.sep2.listen: '::1' is not host:port, for example 127.0.0.1:8443 or [::1]:8443"),
        (SERVER.replace('"[::1]:0"', '"a:70000"'), "etc/node.toml:12: serve.sep2.listen[1].port: Input should be less than or equal to 65535; found 70000"),
        (SERVER.replace('["127.0.0.1:8443", "[::1]:0"]', "5"), "etc/node.toml:12: serve.sep2.listen: Input should be a valid list; found 5"),
        (SERVER + "[clock]\nstart = 2026-06-18T12:00:00\nmonotonic_s = 0\n", "etc/node.toml:14: clock.start: 2026-06-18T12:00:00 has no time zone; write 2026-06-18T12:00:00Z for UTC"),
        (NODE + FIELD + "begin = 2026-06-18T12:00:00\n", "etc/node.toml:7: field.begin: 2026-06-18T12:00:00 has no time zone"),
        (GATEWAY + "unit = 300\n", "etc/node.toml:17: south[0].unit: Input should be less than or equal to 247; found 300"),
        (GATEWAY + "[follow]\nmode = 'both'\n", "etc/node.toml:18: follow.mode: Input should be 'single' or 'dual'; found 'both'"),
        (NODE + TLS + SOUTH + NORTH + NORTH.replace('"sep2"', '"ocpp"'), "etc/node.toml:18: north[1].protocol: Input should be 'sep2'; found 'ocpp'"),
        (SERVER + "[store]\nkeep_readings_days = 0\n", "etc/node.toml:14: store.keep_readings_days: Input should be greater than or equal to 1; found 0"),
        # Parts that do not fit together.
        (NODE, "etc/node.toml:1: node: this node does nothing; add [serve], [[south]] or [field]"),
        (NODE + IDENTITY + SERVE, "etc/node.toml:7: serve.sep2: [tls] is missing; IEEE 2030.5 needs certificate, key and anchors"),
        (NODE + TLS + SERVE, "etc/node.toml:9: serve.sep2: [identity] pen is missing"),
        (NODE + SOUTH + NORTH, "etc/node.toml:8: north[0]: [tls] is missing"),
        (NODE + TLS + SOUTH + SOUTH, "etc/node.toml:12: south[1]: 2 devices are named; one device per node is supported"),
        (SERVER + NORTH, "etc/node.toml:13: north[0]: it brings controls, but no device is to obey them; add [[south]]"),
        (
            SERVER + RELAY + FLEET + SOUTH,
            "etc/node.toml:19: fleet: a node obeys with one device or with its fleet; remove [[south]] or [fleet]",
        ),
        (GATEWAY + RELAY, "etc/node.toml:22: north[1].use: there is nobody to relay to; add [serve.sep2]"),
        (
            SERVER + NORTH + 'enrol = "take"\n' + FLEET,
            "etc/node.toml:18: north[0].enrol: only a relay stands for others; remove it, or set use",
        ),
        (NODE + SOUTH + FLEET, "etc/node.toml:8: fleet: a node obeys"),
        (NODE + NORTH + TLS + FLEET, "etc/node.toml:1: node: this node does nothing"),
        (
            SERVER + NORTH + FLEET + 'policy = "price"\n',
            "etc/node.toml:20: fleet.policy: no DER has made an offer; say what they ask per kWh in [fleet.offers]",
        ),
        (SERVER + GRANT, "etc/node.toml:13: grant[0]: there is no fleet that it could move; add [fleet]"),
        (
            GATEWAY + NORTH.replace('"utility"', '"pooler"', 1),
            "etc/node.toml:17: north[1].rank: 0 is that of another link; give each its own",
        ),
        (GATEWAY + NORTH + "rank = 1\n", "etc/node.toml:19: north[1].channel: 'utility' is that of another link"),
        (NODE + SOUTH + "[operator]\n", "etc/node.toml:8: operator: there is nothing to operate; add [serve], or remove it"),
        (SERVER + '[operator]\ncertificate = "a.pem"\n', "etc/node.toml:13: operator: certificate and key belong together"),
        (SERVER + '[operator]\nlisten = "0.0.0.0:80"\n', "etc/node.toml:14: operator.listen: 0.0.0.0:80 is not this machine alone; use 127.0.0.1, or give certificate and key"),
        (SERVER + "[capture]\n", "etc/node.toml:13: capture: messages are written down in demonstrations only"),
        (SERVER + FIELD, "etc/node.toml:13: field: a field stands alone"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_line_and_key(text, says):
    assert refusal(text).startswith(says)


def test_every_mistake_of_a_file_is_told_at_once():
    said = refusal(SERVER.replace("level = 4", "level = 9") + "[nose]\n").splitlines()
    assert [line.split(":")[2] for line in said] == [" node.level", " nose"]


def test_an_operator_on_this_machine_or_with_a_certificate_may_listen():
    parse(SERVER + "[operator]\n")
    parse(SERVER + '[operator]\nlisten = "[::1]:80"\n')
    parse(SERVER + '[operator]\nlisten = "0.0.0.0:443"\ncertificate = "a.pem"\nkey = "a.key"\n')


def test_two_links_of_different_channels_and_ranks_may_stand_together():
    text = GATEWAY + NORTH.replace('channel = "utility"', 'channel = "pooler"\nrank = 1\nauthority = "aggregator"')
    assert [north.rank for north in parse(text).north] == [0, 1]


def test_a_file_is_loaded(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text(SERVER)
    assert load_config(path).folder == tmp_path


def test_a_file_that_is_not_there_or_not_utf_8_is_named(tmp_path):
    path = tmp_path / "node.toml"
    with pytest.raises(ConfigError, match=r"node\.toml: cannot be read: No such file"):
        load_config(path)
    path.write_bytes(b"[node]\nname = '\xfc'\n")
    with pytest.raises(ConfigError, match=r"node\.toml: not UTF-8 at byte 15; save it as UTF-8"):
        load_config(path)


def test_the_servers_of_one_party_may_share_a_channel():
    config = parse(GATEWAY + NORTH)
    assert [north.channel for north in config.north] == ["utility", "utility"]


def test_a_relay_with_a_fleet_and_a_grant_is_read():
    market = NORTH.replace('"utility"', '"market"') + "rank = 1\n"
    config = parse(SERVER + RELAY + market + FLEET + GRANT)
    assert [north.use for north in config.north] == ["relay", "obey"]
    assert config.fleet.policy == "rating"
    assert config.grant[0].party == "market"


AGGREGATOR = """
[[north]]
protocol = "sep2"
channel = "aggregator"
party = "aggregator"
authority = "aggregator"
rank = 1
server = "https://192.0.2.2:8443/dcap"
"""
CHANGE = """
[[follow.record]]
channel = "aggregator"
from = 2026-07-01T00:00:00Z
"""


def test_what_the_owner_of_a_device_wants_is_read():
    follow = parse(GATEWAY + AGGREGATOR + "[follow]\nowner_limits = { max_lim_w_pct = 70.5 }" + CHANGE).follow
    assert follow.limits == Setpoints.of({"max_lim_w_pct": Decimal("70.5")})
    assert follow.opt_out == ["aggregator", "owner"]
    (change,) = follow.record
    assert (change.channel, change.since) == ("aggregator", datetime(2026, 7, 1, tzinfo=UTC))
    assert follow.model_dump(mode="json")["record"] == [{"channel": "aggregator", "from": "2026-07-01T00:00:00Z"}]


def test_the_profile_of_a_device_is_read():
    text = '[follow]\nprofile = "rule21"\nnormal_category = "A"\nabnormal_category = "II"\nconfirmed = ["es_delay_s"]'
    follow = parse(GATEWAY + text).follow
    assert (follow.profile, follow.normal_category, follow.abnormal_category) == ("rule21", "A", "II")
    assert follow.confirmed == ["es_delay_s"]
    assert parse(GATEWAY).follow.profile is None


def test_a_profile_without_a_device_is_refused():
    assert "follow.profile: there is no [[south]] device" in refusal(SERVER + '[follow]\nprofile = "ieee1547"')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            AGGREGATOR.replace('channel = "aggregator"', 'channel = "owner"'),
            "channel: 'owner' is the channel of what the owner says at the node itself; give it another name",
        ),
        (
            "[follow]\nowner_limits = { target_w = 5 }",
            "follow.owner_limits.target_w: 'target_w' is no limit; use exp_lim_w, gen_lim_w, ",
        ),
        ("[follow]\nowner_limits = { nonsense = 5 }", "follow.owner_limits.nonsense: 'nonsense' is no limit"),
        ("[follow]\nowner_limits = { max_lim_w_pct = 170 }", "follow.owner_limits.max_lim_w_pct: max_lim_w_pct"),
        ('[follow]\nopt_out = ["market"]', "follow.opt_out[0]"),
        (
            CHANGE.replace('"aggregator"', '"x"'),
            "follow.record[0].channel: 'x' is no channel that is obeyed here; use one",
        ),
        (CHANGE.replace("Z", ""), "follow.record[0].from: 2026-07-01T00:00:00 has no time zone"),
        (CHANGE + CHANGE, "follow.record[1].from: there is another change at 2026-07-01T00:00:00+00:00"),
        ('[follow]\nprofile = "rule22"', "follow.profile: "),
        (
            '[follow]\nconfirmed = ["volt_var"]',
            "follow.confirmed: there is no profile whose defaults could be confirmed",
        ),
        (
            '[follow]\nprofile = "rule21"\nconfirmed = ["volt_watt"]',
            "follow.confirmed: 'volt_watt' has no default in 'rule21' that waits for a confirmation",
        ),
        ('[follow]\nmode = "dual"' + CHANGE, 'follow.record[0]: with mode "dual" all channels are obeyed at once'),
    ],
)
def test_a_mistake_in_what_the_owner_wants_is_named(text, says):
    assert says in refusal(GATEWAY + AGGREGATOR + text)
