from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from tierline.model.control import (
    Control,
    Curve,
    EventStatus,
    Interval,
    Provenance,
    ResponseRequired,
    Setpoints,
)
from tierline.model.errors import PeerError
from tierline.model.identity import Mrid
from tierline.model.programs import DefaultControl
from tierline.protocols.sep2.mapping.events import read_control, read_default_control, write_control, write_default
from tierline.protocols.sep2.resources import der, objects

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
CONTROL = Control(
    mrid=Mrid("B" * 32),
    creation_time=NOON,
    interval=Interval(start=NOON + timedelta(minutes=1), duration_s=60),
    setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
)


def written(control=CONTROL, status=EventStatus.SCHEDULED, **more):
    return write_control(control, status, href="/derc/b", reply_to="/rsp", curve_href=str, **more)


def replaced(event, **changes):
    return msgspec.structs.replace(event, **changes)


def test_zeros_are_left_out():
    event = written()
    assert (event.randomize_start, event.randomize_duration, event.device_category, event.description) == (None,) * 4


def test_the_time_of_the_status_is_that_of_the_change():
    later = NOON + timedelta(seconds=5)
    assert written().event_status.date_time == int(NOON.timestamp())
    assert written(since=later).event_status.date_time == int(later.timestamp())


def test_an_event_without_replyto_asks_for_nothing():
    event = written()
    assert read_control(event, {}.get).response_required == ResponseRequired(3)
    assert read_control(replaced(event, reply_to=None), {}.get).response_required == ResponseRequired.NONE
    assert read_control(replaced(event, response_required=None), {}.get).response_required == ResponseRequired.NONE
    assert read_control(replaced(event, response_required=0xFF), {}.get).response_required == ResponseRequired(7)


def test_a_status_of_a_later_edition_leaves_nothing_to_do():
    event = written()
    completed = replaced(event, event_status=replaced(event.event_status, current_status=5))
    assert read_control(completed, {}.get).status is EventStatus.CANCELLED


@pytest.mark.parametrize("where", ["creation_time", "start", "status"])
def test_a_time_of_no_era_is_refused(where):
    event = written()
    if where == "creation_time":
        event = replaced(event, creation_time=2**62)
    elif where == "start":
        event = replaced(event, interval=replaced(event.interval, start=-(2**62)))
    else:
        event = replaced(event, event_status=replaced(event.event_status, date_time=2**62))
    with pytest.raises(PeerError, match="is not a time"):
        read_control(event, {}.get)


def test_a_curve_without_points_makes_the_event_invalid():
    base = der.DERControlBase(op_mod_volt_var=objects.Link(href="/dc/1"))
    event = replaced(written(), der_control_base=base)
    empty = Curve(mrid=Mrid("C" * 32), points=())
    assert read_control(event, {"/dc/1": empty}.get).invalid == "opModVoltVar has no points"


def test_a_linked_curve_that_is_missing_is_said():
    base = der.DERControlBase(op_mod_volt_var=objects.Link(href="/dc/1"))
    with pytest.raises(PeerError, match="/dc/1"):
        read_control(replaced(written(), der_control_base=base), {}.get)


def test_provenance_goes_with_it():
    who = Provenance(party="utility", channel="utility")
    assert read_control(written(), {}.get, who).provenance is who
    default = write_default(
        DefaultControl(mrid=CONTROL.mrid, setpoints=CONTROL.setpoints), href="/dderc", curve_href=str
    )
    assert default.description is None
    assert read_default_control(default, {}.get, who) == DefaultControl(
        mrid=CONTROL.mrid, setpoints=CONTROL.setpoints, provenance=who
    )
