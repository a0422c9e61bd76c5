"""The switches of a field as registers."""

import pytest

from tierline.model.errors import ConfigError
from tierline.node.switchgear import Switchgear
from tierline.protocols.sunspec.modbus import ExceptionCode, ModbusFault


@pytest.fixture
def positions():
    return {3: True, 4: False, 7: True}


@pytest.fixture
def gear(positions):
    return Switchgear(lambda: positions, positions.update)


def test_each_switch_is_read_at_its_number(gear):
    assert gear.read(3, 2) == b"\x00\x01\x00\x00"
    assert gear.read(7, 1) == b"\x00\x01"


def test_a_request_operates_all_its_switches_at_once(gear, positions):
    gear.write(3, b"\x00\x00\x00\x01")
    assert positions == {3: False, 4: True, 7: True}


@pytest.mark.parametrize(("address", "count"), [(2, 1), (4, 2), (65535, 1)])
def test_where_there_is_no_switch_nothing_is_read_or_written(gear, positions, address, count):
    before = dict(positions)
    with pytest.raises(ModbusFault, match="there is no switch") as caught:
        gear.read(address, count)
    assert caught.value.code == ExceptionCode.ILLEGAL_DATA_ADDRESS
    with pytest.raises(ModbusFault, match="there is no switch"):
        gear.write(address, b"\x00\x01" * count)
    assert positions == before


def test_a_switch_is_open_or_closed_and_nothing_else(gear, positions):
    before = dict(positions)
    with pytest.raises(ModbusFault, match=r"not \[0, 2\]") as caught:
        gear.write(3, b"\x00\x00\x00\x02")
    assert caught.value.code == ExceptionCode.ILLEGAL_DATA_VALUE
    assert positions == before


def test_what_the_network_refuses_is_not_hidden():
    def refuse(_positions):
        raise ConfigError("the grid has no switch 3")

    with pytest.raises(ConfigError):
        Switchgear(lambda: {3: True}, refuse).write(3, b"\x00\x00")
