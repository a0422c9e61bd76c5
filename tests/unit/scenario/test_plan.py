import stat
from datetime import UTC, datetime, timedelta

import pytest

from tierline.env import SeededRandom
from tierline.model.errors import ConfigError
from tierline.model.identity import pin
from tierline.node.config import load_config
from tierline.scenario.plan import Site, make_folder, ports_needed
from tierline.scenario.script import load_script


def test_a_day_begins_where_the_scenario_says_in_local_time(site):
    # 11:00 on 30 June, five hours behind UTC.
    assert site.starts == datetime(2026, 6, 30, 16, tzinfo=UTC)
    assert (site.field, site.grid_file) == ("oberrhein", "oberrhein")


def test_a_plant_of_ones_own_is_named_by_its_absolute_path(tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[plant]\ngrid = "oberrhein.json"\nweather = "greensboro.json"\nday = "june-sunny"\nstarts_at_h = 9\n'
    )
    site = Site.of("./mine.toml", tmp_path)
    assert site.field == str(tmp_path / "mine.toml")
    assert site.grid_file == "oberrhein"


def test_an_unknown_day_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[plant]\ngrid = "oberrhein.json"\nweather = "greensboro.json"\nday = "never"\nstarts_at_h = 9\n'
    )
    with pytest.raises(ConfigError, match="no day 'never'"):
        Site.of("./mine.toml", tmp_path)


async def test_every_node_has_a_configuration_that_is_accepted(plan):
    assert set(plan.files) == {"utility", "plant", *(f"gateways-{n}" for n in (1, 2, 3, 4))}
    names = [load_config(path).node.name for files in plan.files.values() for path in files]
    assert sorted(names) == sorted(["utility", "plant", *(gateway.name for gateway in plan.gateways)])


async def test_gateways_of_a_process_share_a_database_and_nothing_else(plan):
    first, second = (load_config(path) for path in plan.files["gateways-1"])
    assert first.database == second.database == plan.folder / "gateways-1" / "tierline.db"
    assert first.tls.certificate != second.tls.certificate
    assert first.south[0].address != second.south[0].address
    assert first.north[0].server != second.north[0].server
    assert first.north[0].pin != second.north[0].pin


async def test_a_small_fleet_is_spread_over_the_grid(plan):
    assert [gateway.service_point for gateway in plan.gateways] == [
        f"pv_{number:03d}" for number in (0, 19, 38, 57, 76, 95, 114, 133)
    ]
    config = load_config(plan.files["plant"][0])
    assert len(config.field.ports) == 153
    for gateway in plan.gateways:
        assert config.field.ports[int(gateway.service_point[3:])] == gateway.modbus_port


async def test_the_utility_has_no_seed_and_the_others_have(plan):
    assert load_config(plan.files["utility"][0]).node.seed is None
    assert load_config(plan.files["plant"][0]).node.seed == 7


async def test_keys_are_their_owners_alone(plan):
    for key in (plan.folder / "pki").glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


async def test_pins_come_from_the_seed(plan, writer, site, tmp_path):
    again = SeededRandom("7/scenario")
    everyone = [*plan.stations.values(), *plan.gateways]
    assert [node.pin for node in everyone] == [pin(again.bits(32)) for _ in everyone]


async def test_a_replay_is_the_same_node_as_the_plant(plan, writer, site):
    path = writer.replay(site.field, site.starts + timedelta(seconds=9), 120, "replay.jsonl")
    replay, plant = load_config(path), load_config(plan.files["plant"][0])
    assert (replay.node, replay.clock) == (plant.node, plant.clock)
    assert (replay.field.begin, replay.field.duration_s) == (site.starts + timedelta(seconds=9), 120)


def test_too_many_gateways_are_refused(site):
    with pytest.raises(ConfigError, match="--gateways 154"):
        ports_needed(site, load_script("demo")[0], 154)


def test_a_folder_of_an_earlier_scenario_is_emptied(tmp_path):
    folder = make_folder(tmp_path / "state")
    (folder / "logs" / "old.log").write_text("old")
    assert not (make_folder(tmp_path / "state") / "logs" / "old.log").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ConfigError, match="in use for something else"):
        make_folder(tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"
