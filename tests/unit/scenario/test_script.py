import pytest

from tierline.model.errors import ConfigError
from tierline.scenario.beginning import begin
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
    names = ["alone", "channels", "circuit", "demo", "dispatch", "island", "loss", "privacy", "switching", "volt_var"]
    assert shipped() == names
    assert all(load_script(name)[0].checks == [name] for name in shipped() if name not in {"alone", "demo"})
    script, folder = load_script("demo")
    assert sorted(script.checks) == [name for name in names if name not in {"alone", "demo"}]
    assert script.scenario.field == "oberrhein"
    assert str(folder) == "."


def test_the_demo_ends_within_its_time():
    script, _ = load_script("demo")
    assert script.events_end_min < script.scenario.ends_at_min <= 200


def test_the_demo_cuts_across_the_end_of_the_event_and_kills_inside_it():
    script, _ = load_script("demo")
    loss = next(step for step in script.control if step.check == "loss")
    start = loss.at_min + loss.starts_in_min
    (cut,) = (step for step in script.cut if step.check == "loss")
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


def test_a_part_brings_its_steps_later():
    script = parse_script(HEAD + '[[part]]\nscenario = "loss"\nat_min = 2\n', "x")
    alone = load_script("loss")[0]
    assert [step.at_min for step in script.control] == [alone.control[0].at_min + 2]
    assert (script.cut[0].at_min, script.cut[0].until_min) == (alone.cut[0].at_min + 2, alone.cut[0].until_min + 2)
    assert [step.at_min for step in script.kill] == [step.at_min + 2 for step in alone.kill]


def test_a_part_of_ones_own_stands_beside_the_file(tmp_path):
    (tmp_path / "inner.toml").write_text(HEAD + CONTROL)
    (tmp_path / "outer.toml").write_text(HEAD + '[[part]]\nscenario = "inner.toml"\n')
    assert len(load_script(str(tmp_path / "outer.toml"))[0].control) == 1


def test_a_part_has_no_parts():
    with pytest.raises(ConfigError, match="part 'demo' has parts itself"):
        parse_script(HEAD + '[[part]]\nscenario = "demo"\n', "x")


def test_the_levels_that_come_with_tierline_are_named():
    script = parse_script('hierarchy = "five"\n' + HEAD, "x")
    assert script.hierarchy.names == ["market", "utility", "substation-a", "pool-even", "pool-odd"]
    with pytest.raises(ConfigError, match="none that comes with tierline is named 'six'"):
        parse_script('hierarchy = "six"\n' + HEAD, "x")


def test_what_one_begins_with_can_be_run(tmp_path):
    path = tmp_path / "mine.toml"
    begin(path)
    assert load_script(str(path))[0].control[0].group == "feeder-1"
    bare = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") else line for line in path.read_text().splitlines()[6:]
    )
    whole = parse_script('hierarchy = "five"\n' + bare, "mine")
    assert (len(whole.switch), len(whole.cut), len(whole.kill)) == (1, 1, 1)


def test_what_is_there_is_not_overwritten(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="exists already"):
        begin(path)
    with pytest.raises(ConfigError, match="cannot be written"):
        begin(tmp_path / "none" / "mine.toml")
    assert path.read_text() == "precious"


def test_whoever_was_cut_off_has_two_polls_to_make_good():
    assert parse_script(HEAD + CONTROL, "x").settled_min == 24
    cut = '[[cut]]\nat_min = 2\nuntil_min = 25\nnode = "substation-a"\n'
    assert parse_script(HEAD + CONTROL + cut, "x").settled_min == 35
