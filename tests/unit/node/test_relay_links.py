import runpy
from pathlib import Path

import pytest

from tierline.model.errors import ConfigError
from tierline.model.identity import ChannelId
from tierline.model.parties import Role
from tierline.node.compose import Databases, compose, prepare
from tierline.node.config import parse_config
from tierline.protocols.sep2.listener import Notice

Spine = runpy.run_path(str(Path(__file__).parents[2] / "spine.py"))["Spine"]

SERVES = """
[identity]
pen = 40732
[serve.sep2]
listen = ["127.0.0.1:0"]
"""
RELAYS = """
[[north]]
protocol = "sep2"
channel = "up"
party = "operator"
server = "https://127.0.0.1:1/dcap"
server_lfdi = "00000000000000000000000000000000000000AB"
use = "relay"
enrol = "take"
"""
LISTENS = """
[listener]
listen = "127.0.0.1:0"
uri = "https://192.0.2.9:8444"
"""


@pytest.fixture
def composed(tmp_path):
    """Compose the node `utility` from a text; it has a certificate that serves."""
    spine, databases = Spine(tmp_path), Databases()

    def make(text):
        return compose(parse_config(spine.common("utility", 4, "utility") + text, tmp_path / "u.toml"), databases)

    yield make
    databases.close()
    spine.databases.close()


def link_of(node):
    (link,) = node.relaying._links
    return link


def test_a_node_that_relays_nothing_has_no_relay(composed):
    assert composed(SERVES).relaying is None


async def test_a_relay_stands_between_its_server_and_its_own_serving_half(composed):
    node = composed(SERVES + RELAYS)
    await prepare(node)
    link = link_of(node)
    assert node.relaying.unwalked() == ["up"]
    assert node.relaying.waiting_responses() == 0
    assert (link.principal.party, link.principal.role, link.principal.lfdi) == (
        "operator",
        Role.UPSTREAM,
        "00" * 19 + "AB",
    )
    assert (link.relayed.channel, link.relayed.enrol) == ("up", "take")
    assert link.server.poll_s == link.server.link.poll_s
    assert link.server.post_s == 300.0
    assert node.follower is None


def test_readings_can_be_kept_from_a_server(composed):
    assert link_of(composed(SERVES + RELAYS)).relayed.readings
    assert not link_of(composed(SERVES + RELAYS + "readings = false\n")).relayed.readings


def test_the_operators_pace_is_above_the_servers(composed):
    assert link_of(composed(SERVES + RELAYS + "poll_s = 30\n")).server.poll_s == 30.0


def test_a_notice_wakes_the_walk(composed):
    node = composed(SERVES + RELAYS + LISTENS)
    link, (post,) = link_of(node), node.listening.notices._posts.values()
    (hear,) = post.hearers
    assert not link.server.woken.is_set()
    hear(Notice(channel=ChannelId("up"), subscribed_resource="/edev", status=0, body=b""))
    assert link.server.woken.is_set()
    assert link.server.link.has_news()


def test_who_does_not_subscribe_is_not_heard(composed):
    node = composed(SERVES + RELAYS + "subscribe = false\n" + LISTENS)
    assert node.listening.notices._posts == {}


def test_several_servers_of_one_relayed_channel_are_refused(composed):
    with pytest.raises(ConfigError, match="a relay has one server per channel"):
        composed(SERVES + RELAYS + RELAYS)


OBEYS = """
[[north]]
protocol = "sep2"
channel = "market"
party = "market"
rank = 1
server = "https://127.0.0.1:1/dcap"
[fleet]
group = "all"
[[grant]]
party = "market"
functions = ["target_w"]
power_w = 1e6
until = 2027-01-01T00:00:00Z
"""


def test_a_node_may_relay_for_one_and_obey_another(composed):
    node = composed(SERVES + RELAYS + OBEYS)
    assert node.relaying.unwalked() == ["up"]
    assert list(node.follower._servers) == ["market"]
