from datetime import UTC, datetime, timedelta

import pytest

from tierline.model.errors import PeerError
from tierline.protocols.sep2.mapping.times import read_time, write_time


def test_times_come_back_as_whole_seconds():
    noon = datetime(2026, 6, 18, 12, 0, 0, 999_999, tzinfo=UTC)
    assert read_time(write_time(noon), "x") == noon.replace(microsecond=0)
    assert read_time(0, "x") == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [-1, 253_370_764_800, 2**63 - 1, -(2**63)])
def test_times_no_calendar_can_carry_are_refused(seconds):
    with pytest.raises(PeerError, match=f"interval/start: {seconds} is not a time"):
        read_time(seconds, "interval/start")


def test_the_last_time_leaves_room_for_any_randomization():
    assert read_time(253_370_764_799, "x") + timedelta(hours=2)
