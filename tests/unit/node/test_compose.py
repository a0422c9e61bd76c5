import runpy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.engine.following.obey import RecordChange
from tierline.model.control import Setpoints
from tierline.model.errors import ConfigError
from tierline.model.identity import ChannelId, DerId, Mrid, PartyId
from tierline.model.parties import Authority, Role
from tierline.model.programs import Program
from tierline.model.records import FollowedProgramsRecord, KnownRecord
from tierline.node.compose import (
    Databases,
    Pace,
    clock_of,
    compose,
    data_text,
    grid_of,
    identity_of,
    prepare,
    random_of,
    self_principal,
)
from tierline.node.config import parse_config
from tierline.node.shared_channel import SharedChannel
from tierline.operations.following.autonomous import Autonomous
from tierline.operations.serving.registry import NewDevice, register

Spine = runpy.run_path(str(Path(__file__).parents[2] / "spine.py"))["Spine"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with the certificates of `utility` and `gw`; a spine beside it writes configurations."""
    folder = tmp_path_factory.mktemp("certificates")
    spine = Spine(folder)
    spine.device("gw")
    return spine


@pytest.fixture
def databases():
    databases = Databases()
    yield databases
    databases.close()


@pytest.fixture
def configured(certificates, tmp_path):
    """Give the configuration of a utility or gateway with some lines changed, in a folder of its own."""
    for file in certificates.folder.glob("*.[pk]e*"):
        copy = tmp_path / file.name
        copy.write_bytes(file.read_bytes())
        copy.chmod(file.stat().st_mode & 0o777)

    def make(name, more, **changes):
        text = certificates.common(name, 4 if name == "utility" else 2, "utility") + more
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        return parse_config(text, tmp_path / f"{name}.toml")

    return make


UTILITY = """
[identity]
pen = 40732
[serve.sep2]
listen = ["127.0.0.1:0"]
[grid]
file = "oberrhein"
[[governor]]
name = "hour"
window_s = 3600
power_w = 1e6
"""
GATEWAY = """
[[north]]
protocol = "sep2"
channel = "utility"
party = "utility"
server = "https://127.0.0.1:1/dcap"
[[south]]
protocol = "sunspec"
address = "127.0.0.1:1"
"""


async def test_a_utility_serves_its_grid(configured, databases):
    node = compose(configured("utility", UTILITY), databases)
    await prepare(node)
    state = node.serving.state
    assert node.name == "utility"
    assert node.follower is None
    assert state.grid.name.startswith("mv_oberrhein") or state.grid.feeders
    assert len(state.groups) == 1 + len(state.grid.transformers) + len(state.grid.feeders)
    assert state.budget[0].power_w == Decimal(1_000_000)
    assert node.serving.listen == [("127.0.0.1", 0)]
    assert not node.serving.handler.knows("AB" * 20)


CONTROL_POINT = """
[[serve.sep2.control_point]]
party = "{party}"
element = "{element}"
"""


async def test_elements_of_the_grid_are_served_by_control_points(configured, databases):
    elements = {"trafo_114": "west", "feeder-3": "east"}
    more = "".join(CONTROL_POINT.format(party=party, element=element) for element, party in elements.items())
    node = compose(configured("utility", UTILITY + more), databases)
    assert node.serving.state.control_points == elements


@pytest.mark.parametrize(
    ("elements", "says"), [(["moon"], "'moon' is no transformer"), (["feeder-1"] * 2, "by two parties")]
)
def test_a_control_point_that_cannot_be_is_named(configured, databases, elements, says):
    more = "".join(CONTROL_POINT.format(party=f"p{n}", element=element) for n, element in enumerate(elements))
    with pytest.raises(ConfigError, match=says):
        compose(configured("utility", UTILITY + more), databases)


async def test_a_gateway_follows(configured, databases):
    node = compose(configured("gw", GATEWAY), databases)
    await prepare(node)
    assert node.serving is None
    assert node.follower.obey is None


def test_a_node_without_a_link_above_needs_no_certificate(tmp_path, databases):
    text = '[node]\nname = "a"\nlevel = 1\nparty = "p"\n[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:1"\n'
    node = compose(parse_config(text, tmp_path / "a.toml"), databases)
    assert node.follower is not None
    assert (tmp_path / "state" / "tierline.db").exists()


@pytest.mark.parametrize(("more", "keeps"), [("", False), ('[follow]\nprofile = "rule21"\n', True)])
def test_a_node_with_a_profile_keeps_its_defaults_in_the_device(tmp_path, databases, more, keeps):
    text = '[node]\nname = "a"\nlevel = 1\nparty = "p"\n[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:1"\n'
    node = compose(parse_config(text + more, tmp_path / "a.toml"), databases)
    assert isinstance(node.follower._south, Autonomous) is keeps


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("http://127.0.0.1/dcap", "is not https://host:port/path"),
        ("https:///dcap", "is not https://host:port/path"),
        ("https://a/dcap?x=1", "is not https://host:port/path"),
        ("https://a/dcap#x", "is not https://host:port/path"),
        ("https://a:70000/dcap", "is not https://host:port/path"),
        ("https://[::1/dcap", "is not https://host:port/path"),
    ],
)
def test_a_server_that_is_no_https_address_is_named(configured, databases, server, says):
    config = configured("gw", GATEWAY, **{"https://127.0.0.1:1/dcap": server})
    with pytest.raises(ConfigError, match=says):
        compose(config, databases)


def test_a_server_without_port_or_path_gets_the_usual_ones(configured, databases):
    compose(configured("gw", GATEWAY, **{"https://127.0.0.1:1/dcap": "https://192.0.2.1"}), databases)


def test_an_lfdi_that_is_none_is_named(configured, databases):
    config = configured("gw", GATEWAY.replace("[[south]]", 'server_lfdi = "XYZ"\n[[south]]'))
    with pytest.raises(ConfigError, match=r"\[\[north\]\] server_lfdi: 'XYZ' is not an LFDI"):
        compose(config, databases)
    good = GATEWAY.replace("[[south]]", f'server_lfdi = "{"AB" * 20}"\n[[south]]')
    compose(configured("gw", good), databases)


@pytest.mark.parametrize("authority", ["utility", "aggregator", "owner"])
def test_the_authority_of_a_channel_is_that_of_the_configuration(configured, databases, authority):
    text = GATEWAY.replace("[[south]]", f'authority = "{authority}"\nrank = 3\n[[south]]')
    node = compose(configured("gw", text), databases)
    (channel, _) = node.follower._me.channels
    assert (channel.id, channel.authority, channel.rank) == (
        ChannelId("utility"),
        Authority[authority.upper()],
        3,
    )


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("gw.pem", r"certificate file .*gw\.pem cannot be read"),
        ("root.pem", r"certificate file .*root\.pem cannot be read"),
        ("gw.key", r"gw\.key"),
    ],
)
def test_a_missing_file_is_named(configured, databases, tmp_path, missing, says):
    config = configured("gw", GATEWAY)
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match=says):
        compose(config, databases)


def test_a_key_others_may_read_is_refused(configured, databases, tmp_path):
    config = configured("gw", GATEWAY)
    (tmp_path / "gw.key").chmod(0o644)
    with pytest.raises(ConfigError, match="open to others"):
        compose(config, databases)


def test_the_identity_is_that_of_the_leaf(configured, certificates):
    config = configured("gw", GATEWAY)
    identity = identity_of(config, config.tls)
    assert len(identity.lfdi) == 40
    assert len(identity.anchors) == 1


def test_the_key_of_the_own_der_is_the_same_after_a_restart_and_another_for_another_node(configured, databases):
    first = compose(configured("gw", GATEWAY), databases).follower._me
    again = compose(configured("gw", GATEWAY), databases).follower._me
    other = compose(configured("gw", GATEWAY, **{'name = "gw"': 'name = "gw2"'}), databases).follower._me
    assert first.der_id == again.der_id != other.der_id
    assert first.phase_s == again.phase_s, "a seeded node walks at the same phase in every run"


def test_a_seeded_node_repeats_itself_and_no_other(configured):
    config = configured("gw", GATEWAY)
    other = configured("gw", GATEWAY, **{'name = "gw"': 'name = "gw2"'})
    assert random_of(config).bits(64) == random_of(config).bits(64) != random_of(other).bits(64)
    unseeded = configured("gw", GATEWAY, **{"seed = 1": ""})
    assert random_of(unseeded).bits(64) != random_of(unseeded).bits(64)


def test_the_clock_is_that_of_the_configuration_or_of_the_machine(configured, tmp_path):
    clock = clock_of(configured("gw", GATEWAY))
    assert clock.speed == 60
    text = '[node]\nname = "a"\nlevel = 1\nparty = "p"\n[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:1"\n'
    real = clock_of(parse_config(text, tmp_path / "a.toml"))
    assert abs((real.now() - datetime.now(UTC)).total_seconds()) < 60


def test_a_node_acts_for_its_party_as_itself(configured):
    principal = self_principal(configured("gw", GATEWAY))
    assert (principal.party, principal.role, principal.name) == ("utility", Role.SELF, "gw")


def test_a_file_that_comes_with_tierline_is_read_by_its_bare_name_others_by_path(configured, tmp_path):
    config = configured("utility", UTILITY)
    assert grid_of(config).feeders
    (tmp_path / "own.json").write_text(data_text(config, "oberrhein", "json"))
    assert data_text(config, "own.json", "json") == data_text(config, "oberrhein", "json")
    assert data_text(config, "./own.json", "json")
    assert grid_of(configured("gw", GATEWAY)) is None


def test_a_grid_file_that_is_missing_damaged_or_not_utf_8_is_named(configured, databases, tmp_path):
    config = configured("utility", UTILITY, oberrhein="own.json")
    with pytest.raises(ConfigError, match=r"cannot read .*own\.json: No such file"):
        compose(config, databases)
    (tmp_path / "own.json").write_text("{}")
    with pytest.raises(ConfigError):
        compose(config, databases)
    (tmp_path / "own.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"own\.json: not UTF-8 at byte 0; save it as UTF-8"):
        compose(config, databases)


async def test_nodes_of_one_process_share_a_database_and_not_their_records(tmp_path, databases):
    store, other = (databases.store(tmp_path / "a" / "x.db", name) for name in ("a", "b"))
    assert list(databases._open) == [(tmp_path / "a" / "x.db").resolve()]
    await store.commit([KnownRecord(party="p", name="n", value="v")])
    assert other.load(KnownRecord) == []
    store.close()
    other.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path, databases):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write .*file"):
        databases.store(tmp_path / "file" / "x.db", "a")


def test_a_node_is_held_by_one_until_it_is_closed(tmp_path, databases):
    databases.hold(tmp_path / "x.db", "a")
    databases.hold(tmp_path / "x.db", "b")
    second = Databases()
    with pytest.raises(ConfigError, match="runs already"):
        second.hold(tmp_path / "x.db", "a")
    databases.close()
    second.hold(tmp_path / "x.db", "a")
    second.close()


@pytest.mark.parametrize(("override", "stated", "poll_s"), [(None, 600, 600.0), (60, 600, 60.0)])
def test_the_operator_s_pace_goes_before_the_server_s(override, stated, poll_s):
    class Link:
        poll_s, post_s = stated, None

    pace = Pace(link=Link(), poll_override_s=override, measure_s=60.0)
    assert pace.poll_s == poll_s
    assert pace.post_s == 300.0
    Link.post_s = 900
    assert pace.post_s == 900.0
    assert Pace(link=type("L", (), {"post_s": None})(), poll_override_s=None, measure_s=600.0).post_s == 600.0


SECOND = """
[[north]]
protocol = "sep2"
channel = "utility"
party = "utility"
server = "https://127.0.0.1:2/dcap"
poll_s = 20
"""
OTHER = """
[[north]]
protocol = "sep2"
channel = "aggregator"
party = "aggregator"
authority = "aggregator"
rank = 1
server = "https://127.0.0.1:3/dcap"
"""


async def test_several_servers_of_one_party_are_one_channel(configured, databases):
    programs = (Program(mrid=Mrid("P"), primacy=1),)
    config = configured("gw", GATEWAY + SECOND + OTHER)
    store = databases.store(config.database, "gw")
    await store.commit(
        [
            FollowedProgramsRecord(
                party=PartyId("utility"),
                channel=ChannelId("utility"),
                der_id=DerId("d"),
                programs=programs,
                clock_offset_s=0.0,
                seen_at=datetime(2026, 6, 18, tzinfo=UTC),
            )
        ]
    )
    follower = compose(config, databases).follower
    assert [channel.id for channel in follower._me.channels] == ["utility", "aggregator", "owner"]
    shared, alone = follower._servers["utility"], follower._servers["aggregator"]
    assert isinstance(shared, SharedChannel)
    assert list(shared._servers) == ["127.0.0.1:1", "127.0.0.1:2"]
    assert shared.poll_s == 20
    assert shared._last.programs == programs
    assert isinstance(alone, Pace)


@pytest.mark.parametrize(
    ("more", "followed"),
    [
        ("", {"utility": 2, "aggregator": 1}),
        ("prices = false\n", {"aggregator": 1}),
    ],
)
def test_the_prices_of_every_server_are_followed_unless_it_is_said_otherwise(configured, databases, more, followed):
    text = (GATEWAY + SECOND + OTHER).replace('party = "utility"\n', f'party = "utility"\n{more}')
    pricing = compose(configured("gw", text), databases).pricing
    assert {name: len(one.channel.sources) for name, one in pricing._channels.items()} == followed
    assert pricing.told() == []


def test_a_server_that_stands_twice_is_named(configured, databases):
    config = configured("gw", GATEWAY + SECOND.replace(":2/", ":1/"))
    with pytest.raises(ConfigError, match="stands twice for channel 'utility'"):
        compose(config, databases)


def test_what_the_owner_wants_reaches_the_rules(configured, databases):
    text = """
[follow]
owner_limits = { max_lim_w_pct = 60 }
opt_out = ["owner"]
[[follow.record]]
channel = "aggregator"
from = 2026-07-01T00:00:00Z
"""
    me = compose(configured("gw", GATEWAY + OTHER + text), databases).follower._me
    assert me.owner_limits == Setpoints.of({"max_lim_w_pct": Decimal(60)})
    assert me.refusable == {Authority.OWNER}
    assert me.record == (RecordChange(since=datetime(2026, 7, 1, tzinfo=UTC), channel=ChannelId("aggregator")),)


FLEET = """[fleet]
group = "all"
policy = "equal"
read_s = 30
[[north]]
protocol = "sep2"
channel = "market"
party = "iso"
server = "https://203.0.113.5:8443/dcap"
[[grant]]
party = "iso"
functions = ["target_w"]
power_w = 5000
until = 2126-01-01T00:00:00Z
"""


async def test_a_fleet_obeys_with_those_that_are_registered(configured, databases):
    node = compose(configured("utility", UTILITY + FLEET), databases)
    await prepare(node)
    serving = node.serving.state
    point = serving.grid.service_points[0]
    await register(self_principal(node.config), serving, [NewDevice(lfdi=None, service_point=point.id)])
    facts = await node.follower._south.discover()
    assert facts.functions == {"target_w"}
    assert facts.settings["set_max_w"] == point.p_w
    (late,) = await register(self_principal(node.config), serving, [NewDevice(lfdi=None)])
    assert late.der_id in serving.members_of[facts.serial], "who is registered joins by the rule"
    assert node.follower._me.measure_s == 30.0
