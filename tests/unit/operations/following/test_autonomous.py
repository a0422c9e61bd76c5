from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.capability import Capability, Firmness, Keeps, Refusal
from tierline.model.control import Curve, FixedVar, Reference, Setpoints
from tierline.model.defaults import Category, Profile
from tierline.model.errors import LinkError, PeerError, Unsupported
from tierline.model.profiles import default_set, defaults_to_keep
from tierline.operations.following.autonomous import Autonomous, values_for
from tierline.ports import DeviceFacts, ReadBack

LIMIT = Setpoints.of({"max_lim_w_pct": Decimal(50)})
EVERYTHING = frozenset({*default_set(Profile.RULE21), *default_set(Profile.IEEE1547_2018)})


class Device:
    """A south link that keeps what it is told, unless it refuses a function."""

    def __init__(self, *, functions=EVERYTHING, settings=None, refuses="", error=PeerError):
        self.facts = DeviceFacts(
            manufacturer="a",
            model="b",
            serial="c",
            version="d",
            nameplate={},
            settings=settings or {},
            functions=functions,
        )
        self.refuses = refuses
        self.error = error
        self.applied = []
        self.closed = False

    async def discover(self):
        return self.facts

    async def apply(self, target, *, ramp_time_s=None, behind=None):
        self.applied.append((target, ramp_time_s, behind))
        if self.refuses in target:
            raise self.error(f"{self.refuses} is refused")
        return ReadBack(setpoints=target, writes=3)

    async def measure(self):
        return [("w", 0, 1, 0)], []

    async def close(self):
        self.closed = True

    @property
    def held(self):
        return self.applied[-1][0]


def rule21(*confirmed):
    return defaults_to_keep("rule21", "B", "III", frozenset(confirmed))


def ieee(normal="B", abnormal="III"):
    return defaults_to_keep("ieee1547", normal, abnormal)


async def test_the_same_device_keeps_other_defaults_under_another_profile():
    one, other = Device(), Device()
    await Autonomous(one, ieee()).apply(Setpoints())
    await Autonomous(other, rule21()).apply(Setpoints())
    assert one.held["lvrt_must_trip"].points != other.held["lvrt_must_trip"].points
    assert "volt_watt" not in one.held
    assert "volt_watt" in other.held
    assert one.held["es_delay_s"] == 300
    assert "es_delay_s" not in other.held  # only recalled


async def test_a_default_that_was_not_verified_is_kept_once_it_is_confirmed():
    device = Device()
    await Autonomous(device, rule21("es_delay_s")).apply(Setpoints())
    assert device.held["es_delay_s"] == 15


async def test_what_is_commanded_comes_with_the_defaults_and_is_all_that_is_reported():
    device = Device()
    back = await Autonomous(device, rule21()).apply(LIMIT, ramp_time_s=Decimal(1), behind={})
    assert back == ReadBack(setpoints=LIMIT, writes=3)
    assert device.held["max_lim_w_pct"] == 50
    assert "lvrt_must_trip" in device.held
    assert device.applied[-1][1:] == (Decimal(1), {})


async def test_a_command_takes_the_place_of_its_default():
    device = Device()
    await Autonomous(device, ieee()).apply(Setpoints.of({"es_delay_s": Decimal(10)}))
    assert device.held["es_delay_s"] == 10


async def test_a_default_of_reactive_power_yields_to_any_command_of_reactive_power():
    device = Device()
    defaults = {**ieee(), "volt_var": default_set(Profile.IEEE1547_2018)["volt_var"]}
    link = Autonomous(device, defaults)
    await link.apply(Setpoints())
    assert "volt_var" in device.held
    await link.apply(Setpoints.of({"fixed_var": FixedVar(value_pct=Decimal(5), reference=Reference.SET_MAX_W)}))
    assert "volt_var" not in device.held
    assert "lvrt_must_trip" in device.held


@pytest.mark.parametrize("error", [PeerError, Unsupported])
async def test_a_device_that_refuses_a_default_still_gets_what_is_commanded(error):
    device = Device(refuses="lvrt_must_trip", error=error)
    back = await Autonomous(device, rule21()).apply(LIMIT)
    assert back.setpoints == LIMIT
    assert device.held == LIMIT


async def test_a_command_that_is_refused_is_refused():
    device = Device(refuses="max_lim_w_pct")
    with pytest.raises(PeerError):
        await Autonomous(device, rule21()).apply(LIMIT)


async def test_a_device_out_of_reach_is_not_asked_twice():
    device = Device(refuses="lvrt_must_trip", error=LinkError)
    with pytest.raises(LinkError):
        await Autonomous(device, rule21()).apply(LIMIT)
    assert len(device.applied) == 1


async def test_what_the_device_cannot_carry_out_is_left_out():
    device = Device(functions=frozenset({"volt_watt", "max_lim_w_pct"}))
    await Autonomous(device, rule21()).apply(LIMIT)
    assert set(device.held) == {"volt_watt", "max_lim_w_pct"}


async def test_without_any_default_the_target_is_handed_on_as_it_is():
    device = Device(functions=frozenset())
    await Autonomous(device, rule21()).apply(LIMIT)
    assert device.held == LIMIT
    assert len(device.applied) == 1


def test_percentages_of_apparent_power_are_brought_to_what_the_device_knows():
    defaults = default_set(Profile.IEEE1547_2018, normal=Category.B)
    settings = {"set_max_va": Decimal(1000), "set_max_var": Decimal(440)}
    values = values_for(Device(settings=settings).facts, defaults)
    assert values["volt_var"].y_reference is Reference.SET_MAX_VAR
    assert [float(point.y) for point in values["volt_var"].points] == pytest.approx([100, 0, 0, -100])
    assert values["volt_watt"].y_reference is Reference.SET_MAX_W
    assert values["lvrt_must_trip"].y_reference is Reference.NONE
    assert values_for(Device().facts, defaults)["volt_var"].points[0].y == 44


def test_every_curve_has_a_name_of_its_own():
    values = values_for(Device().facts, default_set(Profile.RULE21))
    names = [value.mrid for value in values.values() if isinstance(value, Curve)]
    assert len(names) == len(set(names)) > 5


async def test_the_rest_is_that_of_the_device():
    device = Device()
    link = Autonomous(device, rule21())
    assert await link.discover() is device.facts
    assert await link.measure() == ([("w", 0, 1, 0)], [])
    await link.close()
    assert device.closed


class Waiting(Device):
    """A device that is still at it when something more urgent comes."""

    def __init__(self, **more):
        super().__init__(**more)
        self.told = []
        self.link = None

    def give_way(self, target):
        self.told.append(target)

    async def apply(self, target, *, ramp_time_s=None, behind=None):
        self.link.give_way(Setpoints.of({"max_lim_w_pct": Decimal(10)}))
        return await super().apply(target, ramp_time_s=ramp_time_s, behind=behind)


async def test_a_device_hears_of_a_newer_target_with_the_defaults_beside_it():
    device = Waiting()
    device.link = Autonomous(device, rule21())
    await device.link.apply(LIMIT)
    assert device.told[0]["max_lim_w_pct"] == 10
    assert device.told[0].keys() == device.held.keys()


async def test_a_newer_target_does_not_wait_for_another_try_without_defaults():
    device = Waiting(refuses="volt_watt")
    device.link = Autonomous(device, rule21())
    with pytest.raises(LinkError, match="a newer target does not wait"):
        await device.link.apply(LIMIT)
    assert len(device.applied) == 1


async def test_a_device_that_never_waits_need_not_give_way():
    device = Device()
    link = Autonomous(device, rule21())
    link.give_way(LIMIT)
    await link.apply(LIMIT)
    assert device.held["max_lim_w_pct"] == 50


class Adjusted(Device):
    """A device that was adjusted since it was found."""

    async def refreshed(self):
        return replace(self.facts, settings={"set_max_va": Decimal(1000), "set_max_var": Decimal(440)})


async def test_defaults_follow_the_settings_of_the_device():
    device = Adjusted()
    link = Autonomous(device, default_set(Profile.IEEE1547_2018, normal=Category.B))
    await link.discover()
    await link.apply(LIMIT)
    assert device.held["volt_var"].points[0].y == 44
    assert (await link.refreshed()).settings["set_max_var"] == 440
    await link.apply(LIMIT)
    assert device.held["volt_var"].points[0].y == 100


async def test_a_device_that_cannot_be_adjusted_does_not_change():
    assert await Autonomous(Device(), ieee()).refreshed() is None


class Choosy(Device):
    """A south link that says which functions it refuses, and carries out the others."""

    async def apply(self, target, *, ramp_time_s=None, behind=None):
        self.applied.append((target, ramp_time_s, behind))
        refused = {
            name: Refusal(reason="no", firmness=Firmness.DECLINED) for name in target if name in self.refuses.split()
        }
        kept = {name: value for name, value in target.items() if name not in refused}
        return ReadBack(setpoints=Setpoints.of(kept), writes=2, refused=refused)


async def test_a_default_that_is_refused_is_left_out_and_the_others_are_kept():
    device = Choosy(refuses="volt_watt")
    back = await Autonomous(device, rule21()).apply(LIMIT)
    assert (dict(back.setpoints), back.refused, back.writes) == (dict(LIMIT), {}, 4)
    first, last = (told for told, *_ in device.applied)
    assert set(first) - set(last) == {"volt_watt"}
    assert {"max_lim_w_pct", "lvrt_must_trip"} <= set(last)


async def test_what_is_refused_of_what_is_commanded_is_said_and_the_defaults_stay():
    device = Choosy(refuses="max_lim_w_pct")
    back = await Autonomous(device, rule21()).apply(LIMIT)
    assert back.refused.keys() == {"max_lim_w_pct"}
    assert dict(back.setpoints) == {}
    assert len(device.applied) == 1


async def test_a_default_that_the_device_does_not_keep_is_not_tried():
    device = Device()
    room = Keeps(parts={}, points=1, references=None)
    device.facts = replace(device.facts, capability=Capability(functions={"volt_watt": room}))
    await Autonomous(device, rule21()).apply(Setpoints())
    assert "volt_watt" not in device.held
    assert "lvrt_must_trip" in device.held
