from tierline.engine.connectivity import feeder_of, normal_positions
from tierline.env import SeededRandom
from tierline.sim.workload import (
    MODES,
    OWNER_MODES,
    SETTINGS,
    Cancel,
    Create,
    Mix,
    OwnerCancel,
    OwnerLimit,
    SetDefault,
    SwitchOver,
    draw_acts,
    draw_owner_acts,
    grid,
    home,
    in_set,
)


def acts(seed=1, hours=24.0, **mix):
    return draw_acts(SeededRandom(seed), hours=hours, mix=Mix(**mix))


def test_the_same_seed_draws_the_same_acts():
    assert acts(seed=5) == acts(seed=5) != acts(seed=6)


def test_acts_come_in_order_within_the_hours_asked_for():
    times = [act.at_s for act in acts(hours=6.0)]
    assert times == sorted(times)
    assert times[0] >= 60
    assert times[-1] <= 6 * 3600 - 60


def test_every_kind_of_act_comes_at_its_rate():
    drawn = acts(hours=40.0, controls=3.0, cancellations=0.5, defaults=0.25, switchings=1.0)
    kinds = (Create, Cancel, SetDefault, SwitchOver)
    assert [sum(isinstance(act, kind) for act in drawn) for kind in kinds] == [120, 20, 10, 40]


def test_references_lead_to_controls_made_before():
    created = [act for act in acts(hours=100.0, successor=0.4, similar=0.4) if isinstance(act, Create)]
    for number, act in enumerate(created):
        assert act.follows is None or act.follows < number
        assert act.overlaps is None or act.overlaps < number


def test_controls_carry_modes_only_and_defaults_settings_too():
    drawn = acts(hours=200.0)
    assert {name for act in drawn if isinstance(act, Create) for name in act.setpoints} == set(MODES)
    assert {name for act in drawn if isinstance(act, SetDefault) for name in act.setpoints} == {*MODES, *SETTINGS}


def test_randomization_has_both_signs_and_is_sometimes_wider_than_the_control():
    created = [act for act in acts(hours=200.0) if isinstance(act, Create)]
    offsets = [act.randomize_start_s for act in created]
    assert min(offsets) < 0 < max(offsets)
    assert any(abs(act.randomize_duration_s) > act.duration_s for act in created)
    assert max(map(abs, offsets)) <= 3600


def test_the_grid_feeds_each_der_at_home_from_its_own_feeder():
    network = grid(12)
    feeders = feeder_of(network, normal_positions(network))
    assert [feeders[f"point{number:02d}"] for number in range(12)] == [home(number)[0] for number in range(12)]


def test_groups_beside_the_wires_overlap():
    assert [in_set(number, "pilot") for number in range(4)] == [True, False, True, False]
    assert [in_set(number, "tariff") for number in range(4)] == [True, False, False, True]


def test_an_owner_limits_his_device_at_once_or_later_and_cancels_in_order_of_time():
    drawn = [act for seed in range(9) for act in draw_owner_acts(SeededRandom(seed), hours=24.0)]
    limits = [act for act in drawn if isinstance(act, OwnerLimit)]
    assert {name for act in limits for name in act.setpoints} == set(OWNER_MODES)
    assert {act.start_in_s is None for act in limits} == {True, False}
    assert any(isinstance(act, OwnerCancel) for act in drawn)
    times = [act.at_s for act in draw_owner_acts(SeededRandom(1), hours=6.0)]
    assert times == sorted(times)
    assert 60 <= times[0] < times[-1] <= 6 * 3600 - 60
