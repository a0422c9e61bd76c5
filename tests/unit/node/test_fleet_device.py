from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.engine.disaggregate import Policy
from tierline.model.control import ControlGrant
from tierline.model.errors import ConfigError
from tierline.node.compose import self_principal
from tierline.node.config import parse_config
from tierline.node.fleet_device import fleet_of

CONFIG = """
[node]
name = "aggregator"
level = 3
party = "sunny"
[identity]
pen = 37250
[tls]
certificate = "a.pem"
key = "a.key"
anchors = ["root.pem"]
[serve.sep2]
listen = ["127.0.0.1:8443"]
poll_rate_s = 60
post_rate_s = 60
[[north]]
protocol = "sep2"
channel = "market"
party = "iso"
server = "https://127.0.0.1:9443/dcap"
[fleet]
group = "all"
min_cell = 3
"""
GRANT = """
[[grant]]
party = "iso"
functions = ["target_w"]
power_w = 100_000
until = 2027-01-01T00:00:00Z
"""


def test_a_fleet_is_made_by_its_configuration(serving):
    relay = """
[[north]]
protocol = "sep2"
channel = "utility"
party = "utility"
rank = 1
use = "relay"
server = "https://127.0.0.1:9444/dcap"
"""
    config = parse_config(
        CONFIG.replace("min_cell = 3", 'policy = "price"\noffers = { all = 0.12 }') + GRANT + relay, Path("a.toml")
    )
    rules = fleet_of(config, config.fleet, config.serve.sep2, serving, self_principal(config))._rules
    assert (rules.group, rules.policy, rules.min_cell) == ("all", Policy.PRICE, 5)
    assert rules.parties == {"market": "iso"}, "what is relayed is not obeyed"
    assert rules.grants == (
        ControlGrant(
            party="iso",
            functions=frozenset({"target_w"}),
            power_w=Decimal(100_000),
            until=datetime(2027, 1, 1, tzinfo=UTC),
        ),
    )
    assert rules.settled_after == timedelta(seconds=90), "who comes every minute has heard, and its power has settled"
    assert rules.max_age == timedelta(minutes=3)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (GRANT.replace("target_w", "volt_var"), "grant\\[0\\].functions: a fleet cannot carry out volt_var; it can "),
        (GRANT.replace('"iso"', '"moon"'), "grant\\[0\\].party: 'moon' speaks over no"),
    ],
)
def test_a_grant_that_means_nothing_is_refused(more, what):
    with pytest.raises(ConfigError, match=what):
        parse_config(CONFIG + more, Path("a.toml"))
