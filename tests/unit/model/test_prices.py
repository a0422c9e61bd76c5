from datetime import UTC, datetime, timedelta

from tierline.model.control import EventStatus
from tierline.model.prices import Price

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)


def test_a_price_ends_when_its_duration_is_over_and_holds_unless_it_is_said_not_to():
    price = Price(mrid="A" * 32, created_at=NOON, start=NOON, duration_s=900, price=-5, status_at=NOON)
    assert price.end == NOON + timedelta(minutes=15)
    assert price.status is EventStatus.SCHEDULED
