import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.protocols.sep2.lists import in_order, key_of, later_than, local_id_key, page, time_of
from tierline.protocols.sep2.resources import (
    DER,
    ConsumptionTariffInterval,
    CurveData,
    DateTimeInterval,
    DERControl,
    DERControlBase,
    DERCurve,
    DERProgram,
    EndDevice,
    Error,
    EventStatus,
    FunctionSetAssignments,
    Link,
    ListLink,
    LogEvent,
    MeterReading,
    MirrorMeterReading,
    MirrorReadingSet,
    MirrorUsagePoint,
    Notification,
    RateComponent,
    Reading,
    ReadingSet,
    Response,
    ResponseSet,
    Subscription,
    TariffProfile,
    TimeTariffInterval,
    UsagePoint,
)

LFDI = "0" * 40
LOW, HIGH = "0" * 32, "F" * 32


def control(start=0, created=0, mrid=LOW):
    return DERControl(
        mrid=mrid,
        creation_time=created,
        event_status=EventStatus(current_status=0, date_time=0, potentially_superseded=False),
        interval=DateTimeInterval(start=start, duration=1),
        der_control_base=DERControlBase(),
    )


def curve(created, mrid):
    return DERCurve(
        mrid=mrid,
        creation_time=created,
        curve_data=(CurveData(xvalue=0, yvalue=0),),
        curve_type=0,
        x_multiplier=0,
        y_multiplier=0,
        y_ref_type=0,
    )


def device(sfdi, href):
    return EndDevice(sfdi=sfdi, href=href, changed_time=0)


def log_event(created, number):
    return LogEvent(
        created_date_time=created, log_event_id=number, function_set=11, log_event_code=0, log_event_pen=1, profile_id=2
    )


def subscription(href):
    return Subscription(href=href, subscribed_resource="/x", encoding=0, level="+S1", limit=1, notification_uri="/n")


def notification(href):
    return Notification(href=href, subscribed_resource="/x", status=0, subscription_uri="/s")


def usage_point(mrid):
    return MirrorUsagePoint(mrid=mrid, role_flags=0, service_category_kind=0, status=1, device_lfdi=LFDI)


def reading_set(start, mrid):
    return MirrorReadingSet(mrid=mrid, time_period=DateTimeInterval(start=start, duration=1))


def interval(start=0, created=0, mrid=LOW):
    return TimeTariffInterval(
        mrid=mrid,
        creation_time=created,
        event_status=EventStatus(current_status=0, date_time=0, potentially_superseded=False),
        interval=DateTimeInterval(start=start, duration=1),
        tou_tier=0,
    )


def tariff(primacy, mrid):
    return TariffProfile(mrid=mrid, primacy=primacy, service_category_kind=0)


def component(mrid):
    return RateComponent(
        mrid=mrid,
        reading_type_link=Link(href="/rt"),
        role_flags=0,
        time_tariff_interval_list_link=ListLink(href="/tti"),
    )


def consumption(start_value):
    return ConsumptionTariffInterval(consumption_block=0, start_value=start_value)


def response(created, lfdi=LFDI):
    return Response(created_date_time=created, end_device_lfdi=lfdi, subject=LOW)


def read_point(mrid):
    return UsagePoint(mrid=mrid, role_flags=0, service_category_kind=0, status=1)


def series(mrid):
    return MeterReading(mrid=mrid, reading_type_link=Link(href="/rt"))


def read_set(start, mrid):
    return ReadingSet(mrid=mrid, time_period=DateTimeInterval(start=start, duration=1))


ORDERS = {
    "UsagePoint: mRID descending": [read_point(HIGH), read_point(LOW)],
    "MeterReading: mRID descending": [series(HIGH), series(LOW)],
    "ReadingSet: timePeriod.start descending, mRID descending": [
        read_set(2, LOW),
        read_set(1, HIGH),
        read_set(1, LOW),
    ],
    "EndDevice: sFDI ascending, href ascending": [device(1, "/b"), device(2, "/a"), device(2, "/c")],
    "FunctionSetAssignments: mRID descending": [FunctionSetAssignments(mrid=HIGH), FunctionSetAssignments(mrid=LOW)],
    "DERProgram: primacy ascending, mRID descending": [
        DERProgram(primacy=1, mrid=LOW),
        DERProgram(primacy=2, mrid=HIGH),
        DERProgram(primacy=2, mrid=LOW),
    ],
    "DERControl: start ascending, creationTime descending, mRID descending": [
        control(1, 5),
        control(2, 9),
        control(2, 8, HIGH),
        control(2, 8, LOW),
    ],
    "DERCurve: creationTime descending, mRID descending": [curve(2, LOW), curve(1, HIGH), curve(1, LOW)],
    "DER: href ascending": [DER(), DER(href="/1"), DER(href="/2")],
    "Subscription: href ascending": [subscription("/1"), subscription("/2")],
    "Notification: href ascending": [notification("/1"), notification("/2")],
    "ResponseSet: mRID descending": [ResponseSet(mrid=HIGH), ResponseSet(mrid=LOW)],
    "Response: createdDateTime descending, LFDI ascending": [
        response(2),
        response(1, "0" * 40),
        response(1, "A" * 40),
        response(-5),
        response(None),
    ],
    "LogEvent: createdDateTime ascending, logEventID ascending": [log_event(1, 9), log_event(2, 1), log_event(2, 2)],
    "MirrorUsagePoint: mRID descending": [usage_point(HIGH), usage_point(LOW)],
    "MirrorMeterReading: mRID descending": [MirrorMeterReading(mrid=HIGH), MirrorMeterReading(mrid=LOW)],
    "MirrorReadingSet: start descending, mRID descending": [
        reading_set(2, LOW),
        reading_set(1, HIGH),
        reading_set(1, LOW),
    ],
    "TariffProfile: mRID descending": [tariff(2, HIGH), tariff(1, LOW)],
    "RateComponent: mRID descending": [component(HIGH), component(LOW)],
    "TimeTariffInterval: start ascending, creationTime descending, mRID descending": [
        interval(1, 5),
        interval(2, 9),
        interval(2, 8, HIGH),
        interval(2, 8, LOW),
    ],
    "ConsumptionTariffInterval: startValue ascending": [consumption(0), consumption(1)],
    "Reading: localID ascending": [Reading(), Reading(local_id=0), Reading(local_id=1)],
}


@pytest.mark.parametrize("items", ORDERS.values(), ids=ORDERS)
@given(data=st.data())
def test_every_list_has_its_standard_order(items, data):
    assert in_order(data.draw(st.permutations(items))) == items


def test_a_type_that_is_no_item_has_no_order():
    with pytest.raises(TypeError, match="Error is no item of a list"):
        key_of(Error(reason_code=0))


def test_a_reading_without_an_id_comes_first():
    assert local_id_key(None) < local_id_key(0)


def test_after_keeps_what_is_later_in_lists_ordered_by_time():
    assert [time_of(item) for item in later_than([control(1), control(2), control(3)], 2)] == [3]
    assert later_than([control(1)], None) == [control(1)]
    assert [item.log_event_id for item in later_than([log_event(1, 1), log_event(2, 2)], 1)] == [2]
    assert [item.creation_time for item in later_than([curve(1, LOW), curve(2, LOW)], 1)] == [2]
    assert later_than([reading_set(1, LOW), reading_set(2, LOW)], 1) == [reading_set(2, LOW)]


def test_after_leaves_lists_without_time_whole():
    devices = [device(1, "/a"), device(2, "/b")]
    assert later_than(devices, 2**40) == devices


@given(st.lists(st.integers()), st.integers(0, 300), st.integers(0, 255))
def test_a_page_tells_the_true_total_and_its_own_size(items, start, limit):
    cut = page(items, start, limit)
    assert cut.all == len(items)
    assert cut.results == len(cut.items) <= limit
    assert list(cut.items) == items[start : start + limit]


@given(st.lists(st.integers()), st.integers(1, 7))
def test_the_pages_together_are_the_list(items, limit):
    pages = [page(items, start, limit).items for start in range(0, len(items), limit)]
    assert [item for cut in pages for item in cut] == items
