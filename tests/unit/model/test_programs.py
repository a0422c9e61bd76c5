from datetime import UTC, datetime

import pytest

from tierline.model.control import Setpoints
from tierline.model.identity import ChannelId, der_id, mrid
from tierline.model.programs import (
    Assignment,
    DefaultControl,
    Program,
    ProgramsSeen,
    Response,
    ResponseStatus,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_responses_have_the_numbers_of_the_standard():
    assert {status.name: status.value for status in ResponseStatus} == {
        "RECEIVED": 1,
        "STARTED": 2,
        "COMPLETED": 3,
        "USER_OPT_OUT": 4,
        "USER_OPT_IN": 5,
        "CANCELLED": 6,
        "SUPERSEDED": 7,
        "PARTIAL_OPT_OUT": 8,
        "PARTIAL_OPT_IN": 9,
        "COMPLETED_NO_PARTICIPATION": 10,
        "ABORTED_SERVER": 13,
        "ABORTED_PROGRAM": 14,
        "REJECTED_PARAMETER": 252,
        "REJECTED_INVALID": 253,
        "REJECTED_EXPIRED": 254,
    }


def test_a_program_is_empty_unless_said_otherwise():
    program = Program(mrid=mrid(1, 2), primacy=1)
    assert (program.controls, program.default, program.description) == ((), None, "")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Program(mrid=mrid(1, 2), primacy=1, default=DefaultControl(mrid=mrid(3, 2), setpoints=Setpoints())),
        lambda: Assignment(der_id=der_id(1), programs=(Program(mrid=mrid(1, 2), primacy=1),)),
        lambda: ProgramsSeen(channel=ChannelId("north"), programs=(), clock_offset_s=1.5),
        lambda: Response(
            mrid=mrid(1, 2),
            der_id=der_id(1),
            lfdi=None,
            status=ResponseStatus.STARTED,
            created_at=NOON,
            channel=ChannelId("north"),
        ),
    ],
)
def test_what_a_north_protocol_brings_is_compared_by_value(make):
    assert make() == make()
    assert len({make(), make()}) == 1


def test_a_walk_has_no_clock_offset_unless_said_otherwise():
    assert ProgramsSeen(channel=ChannelId("north"), programs=()).clock_offset_s == 0
