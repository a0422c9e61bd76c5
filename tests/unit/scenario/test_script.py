import pytest

from tierline.model.errors import ConfigError
from tierline.scenario.script import load_script, parse_script, shipped

HEAD = '[scenario]\nabout = "x"\nfield = "oberrhein"\nends_at_min = 30\n'
CONTROL = """
[[control]]
check = "circuit"
at_min = 1
starts_in_min = 6
lasts_min = 15
group = "feeder-1"
setpoints = { max_lim_w_pct = 50 }
"""


def test_the_demo_is_shipped_and_its_checks_are_named():
    assert shipped() == ["demo"]
    script, folder = load_script("demo")
    assert script.checks == ["circuit", "loss", "volt_var"]
    assert script.scenario.field == "oberrhein"
    assert str(folder) == "."


def test_the_demo_ends_within_its_time():
    script, _ = load_script("demo")
    assert script.events_end_min < script.scenario.ends_at_min <= 90


def test_the_demo_cuts_across_the_end_of_the_event_and_kills_inside_it():
    script, _ = load_script("demo")
    loss = next(step for step in script.control if step.check == "loss")
    start = loss.at_min + loss.starts_in_min
    (cut,) = script.cut
    assert start < cut.at_min < loss.end_min < cut.until_min
    circuit = next(step for step in script.control if step.check == "circuit")
    for kill in script.kill:
        assert circuit.end_min < kill.at_min
        assert start < kill.at_min < kill.at_min + kill.down_s / 60 < loss.end_min


def test_a_script_is_read_with_its_defaults():
    script = parse_script(HEAD + CONTROL, "x")
    assert script.scenario.poll_rate_s == 300
    assert script.control[0].setpoints == {"max_lim_w_pct": 50}
    assert script.events_end_min == 22
    assert (script.cut, script.kill) == ([], [])
    assert parse_script(HEAD, "x").events_end_min == 0


def test_a_scenario_is_read_from_a_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + CONTROL)
    script, folder = load_script(str(path))
    assert script.control[0].group == "feeder-1"
    assert folder == tmp_path


def test_an_unknown_scenario_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no scenario 'nothing'.*demo"):
        load_script("nothing")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[scenario", "not TOML"),
        (HEAD + "speed = 3\n", "scenario.speed"),
        (HEAD + CONTROL.replace("at_min = 1", "at_min = -1"), r"control.0.at_min"),
        (HEAD + CONTROL.replace('group = "feeder-1"\n', ""), r"control.0.group"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(text, said):
    with pytest.raises(ConfigError, match=f"scenario mine: .*{said}"):
        parse_script(text, "mine")
