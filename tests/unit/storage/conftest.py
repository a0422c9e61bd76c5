"""A record of every kind, and both stores."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tierline.model.control import (
    Control,
    Curve,
    CurvePoint,
    Droop,
    EventStatus,
    FixedVar,
    Interval,
    PowerFactor,
    Provenance,
    Reference,
    Setpoints,
)
from tierline.model.identity import ChannelId, DerId, GroupId, Lfdi, Mrid, PartyId
from tierline.model.programs import DefaultControl, Program, ResponseStatus
from tierline.model.records import (
    AppliedRecord,
    AuditRecord,
    BufferedReadingRecord,
    ControlRecord,
    CurveRecord,
    DefaultRecord,
    DerInfoKind,
    DerInfoRecord,
    EndDeviceRecord,
    Flow,
    FollowedEventRecord,
    FollowedProgramsRecord,
    GroupRecord,
    IdentityRecord,
    KnownRecord,
    MembershipRecord,
    MirrorUsagePointRecord,
    NoticeRecord,
    NoticeStatus,
    OutboxRecord,
    PartyRecord,
    PriceRecord,
    ProgramRecord,
    ReadingRecord,
    ResponseRecord,
    SubscriptionRecord,
    SwitchRecord,
    TariffRecord,
    TokenRecord,
)
from tierline.model.telemetry import Phase, Qualifier, Quality, Reading
from tierline.model.topology import Group, Membership, Tier
from tierline.storage.memory import MemoryStore
from tierline.storage.sqlite import Database

NOON = datetime(2026, 6, 18, 12, 0, 0, 123_456, tzinfo=UTC)
PARTY = PartyId("utility")
DER, GROUP, LFDI = DerId("aaaaaaaaaaaaa"), GroupId("bbbbbbbbbbbbb"), Lfdi("AB" * 20)
CHANNEL = ChannelId("utility")

CURVE = Curve(
    mrid=Mrid("C" * 32),
    points=(CurvePoint(x=Decimal("92.00"), y=Decimal(44)), CurvePoint(x=Decimal(98), y=Decimal(0), absorbing=True)),
    y_reference=Reference.SET_MAX_VAR,
    open_loop_s=Decimal("5.0"),
    creation_time=NOON,
)
CONTROL = Control(
    mrid=Mrid("E" * 32),
    creation_time=NOON,
    interval=Interval(start=NOON, duration_s=900),
    setpoints=Setpoints.of({
        "max_lim_w_pct": Decimal("50.00"),
        "connect": False,
        "fixed_pf_inject": PowerFactor(displacement=Decimal("0.95"), absorbing=True),
        "fixed_var_pct": FixedVar(value_pct=Decimal(-20), reference=Reference.SET_MAX_VAR),
        "freq_droop": Droop(
            dead_band_over_hz=Decimal("0.036"),
            dead_band_under_hz=Decimal("0.036"),
            slope_over=Decimal("0.05"),
            slope_under=Decimal("0.05"),
            open_loop_s=Decimal(5),
        ),
        "volt_var": CURVE,
    }),
    randomize_start_s=-60,
    ramp_time_s=Decimal("2.5"),
    status=EventStatus.CANCELLED_RANDOMIZED,
    status_time=NOON,
    description="Überlast, 50 %",
    provenance=Provenance(party=PARTY, channel=CHANNEL, lfdi=LFDI, received_at=NOON, signature=b"\x00\xff"),
)  # fmt: skip
DEFAULT = DefaultControl(mrid=Mrid("D" * 32), setpoints=Setpoints.of({"set_grad_w_pct_per_s": Decimal(100)}))
READING = Reading(
    der_id=DER,
    point="w",
    value=-12_345,
    power_of_ten=-1,
    time=NOON,
    duration_s=300,
    phase=Phase.BC,
    qualifier=Qualifier.AVERAGE,
    quality=Quality.VALID | Quality.DERIVED,
)

SAMPLES = (
    PartyRecord(party=PARTY, name="Stadtwerke"),
    TokenRecord(party=PARTY, name="ada", role="operator", token_sha256="0" * 64, created_at=NOON),
    EndDeviceRecord(
        party=PARTY,
        der_id=DER,
        service_point="pv_000",
        pin=111115,
        device_category=1 << 20,
        managed_by=None,
        enabled=True,
        registered_at=NOON,
        changed_at=NOON,
    ),
    IdentityRecord(party=PARTY, der_id=DER, lfdi=LFDI, valid_from=NOON, valid_to=NOON + timedelta(days=1)),
    GroupRecord(
        party=PARTY, group=Group(id=GROUP, tier=Tier.FEEDER, name="Feeder 1", element="feeder-1"), created_at=NOON
    ),
    MembershipRecord(
        party=PARTY,
        membership=Membership(der_id=DER, group_id=GROUP, valid_from=NOON, valid_to=None, recorded_at=NOON),
        cause="registered",
    ),
    SwitchRecord(party=PARTY, switch_id=107, closed=False, changed_at=NOON, recorded_at=NOON),
    ProgramRecord(party=PARTY, mrid=Mrid("A" * 32), group_id=GROUP, primacy=100, description="feeder", created_at=NOON),
    DefaultRecord(party=PARTY, program=Mrid("A" * 32), default=DEFAULT, changed_at=NOON),
    CurveRecord(party=PARTY, mrid=CURVE.mrid, program=Mrid("A" * 32), function="volt_var", curve=CURVE),
    ControlRecord(party=PARTY, mrid=CONTROL.mrid, program=Mrid("A" * 32), control=CONTROL, changed_at=NOON),
    ResponseRecord(
        party=PARTY,
        mrid=CONTROL.mrid,
        der_id=DER,
        status=ResponseStatus.STARTED,
        lfdi=None,
        created_at=NOON,
        received_at=NOON,
    ),
    DerInfoRecord(party=PARTY, der_id=DER, kind=DerInfoKind.SETTINGS, document=b"<a>\x00</a>", changed_at=NOON),
    MirrorUsagePointRecord(
        party=PARTY, mrid=Mrid("F" * 32), der_id=DER, mup_id="ccccccccccccc", document=b"<m/>", changed_at=NOON
    ),
    ReadingRecord(party=PARTY, meter_reading=Mrid("1" * 32), reading=READING, received_at=NOON),
    SubscriptionRecord(
        party=PARTY,
        subscription_id="a",
        der_id=DER,
        resource="/edev",
        notification_uri="https://192.0.2.1:9443/ntfy",
        encoding=0,
        level="+S1",
        limit=255,
        created_at=NOON,
        renewed_at=NOON,
    ),
    NoticeRecord(party=PARTY, subscription_id="a", status=NoticeStatus.CHANGED, since=NOON, attempts=2, next_at=NOON),
    TariffRecord(
        party=PARTY,
        mrid=Mrid("2" * 32),
        description="day",
        currency=840,
        price_power_of_ten=-5,
        created_at=NOON,
        rate_component=Mrid("4" * 32),
        group=GROUP,
        flow=Flow.RECEIVED,
    ),
    PriceRecord(
        party=PARTY,
        tariff=Mrid("2" * 32),
        mrid=Mrid("3" * 32),
        start=NOON,
        duration_s=3600,
        price=-12,
        created_at=NOON,
        status=EventStatus.CANCELLED,
        status_at=NOON,
    ),
    AuditRecord(
        party=PARTY,
        sequence=1,
        time=NOON,
        principal="ada",
        verb="control",
        resource="control E",
        outcome="created",
        detail="{}",
        previous_sha256="0" * 64,
        sha256="1" * 64,
    ),
    FollowedProgramsRecord(
        party=PARTY,
        channel=CHANNEL,
        der_id=DER,
        programs=(Program(mrid=Mrid("A" * 32), primacy=100, controls=(CONTROL,), default=DEFAULT),),
        clock_offset_s=-0.25,
        seen_at=NOON,
    ),
    FollowedEventRecord(
        party=PARTY, channel=CHANNEL, der_id=DER, mrid=CONTROL.mrid, document=b"{}", ends_at=NOON + timedelta(hours=1)
    ),
    OutboxRecord(
        party=PARTY,
        channel=CHANNEL,
        der_id=DER,
        mrid=CONTROL.mrid,
        status=ResponseStatus.REJECTED_EXPIRED,
        lfdi=LFDI,
        created_at=NOON,
    ),
    BufferedReadingRecord(party=PARTY, channel=CHANNEL, sequence=7, reading=READING),
    AppliedRecord(party=PARTY, der_id=DER, explanation=b"[]", applied_at=NOON),
    KnownRecord(party=PARTY, name="reply_to/utility/E", value="/rsps/r/rsp"),
)


@pytest.fixture
def samples():
    return SAMPLES


@pytest.fixture
def audit():
    """Make audit records by sequence; the n-th lies n minutes after noon."""

    def make(sequence, *, minutes=None):
        time = NOON + timedelta(minutes=sequence if minutes is None else minutes)
        return AuditRecord(
            party=PARTY,
            sequence=sequence,
            time=time,
            principal="ada",
            verb="read",
            resource="",
            outcome="done",
            detail="{}",
            previous_sha256="",
            sha256="",
        )

    return make


@pytest.fixture
def database(tmp_path):
    database = Database(str(tmp_path / "node.db"))
    yield database
    database.close()


@pytest.fixture(params=["memory", "sqlite"])
def store(request):
    if request.param == "memory":
        yield MemoryStore()
    else:
        store = request.getfixturevalue("database").store("utility")
        yield store
        store.close()
