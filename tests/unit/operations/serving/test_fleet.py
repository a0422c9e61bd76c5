import json
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.engine.disaggregate import Policy
from tierline.engine.following.obey import OWNER
from tierline.engine.governor import Cap
from tierline.engine.serving_status import served_status
from tierline.model.capability import Firmness
from tierline.model.control import ControlGrant, EventStatus, Setpoints
from tierline.model.errors import LinkError, Unsupported
from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.model.records import AuditRecord, DerInfoKind
from tierline.model.telemetry import Quality
from tierline.operations.serving import groups, registry, telemetry
from tierline.operations.serving.audit import faults
from tierline.operations.serving.explain import acts_on
from tierline.operations.serving.fleet import Fleet, FleetRules
from tierline.operations.serving.limits import recall
from tierline.operations.serving.members import Members, Told
from tierline.operations.serving.offers import offer_of
from tierline.operations.serving.topology import find_group
from tierline.ports import Behind, Coming, Heeding, Southbound

MARKET, ISO = ChannelId("market"), PartyId("iso")
PARENT, OTHER = Mrid("A1" * 12 + "0000917C"), Mrid("B2" * 12 + "0000917C")
HOUR = timedelta(hours=1)
ALL = frozenset({"target_w", "fixed_w_pct", "max_lim_w_pct", "gen_lim_w", "connect"})


def read(_, document):
    """Documents of these tests are JSON."""
    said = json.loads(document)
    functions = said.pop("functions", None)
    return Told(
        values={name: Decimal(value) for name, value in said.items()},
        functions=None if functions is None else frozenset(functions),
    )


@pytest.fixture
def grant(clock):
    def make(functions=ALL, power_w=200_000, until=timedelta(days=1)):
        return ControlGrant(
            party=ISO, functions=frozenset(functions), power_w=Decimal(power_w), until=clock.now() + until
        )

    return make


@pytest.fixture
def make_fleet(serving, grant):
    def make(*, grants=None, policy=Policy.RATING, min_cell=2, of=serving, group="system", offers=None, **more):
        rules = FleetRules(
            group=group,
            grants=(grant(),) if grants is None else tuple(grants),
            parties={MARKET: ISO},
            policy=policy,
            min_cell=min_cell,
            **more,
        )
        me = Principal(party=of.party, role=Role.SELF, name="node")
        return Fleet(of, rules, Members(of, read, offer_of(of, offers or {})), me)

    return make


@pytest.fixture
def fleet(make_fleet):
    return make_fleet()


@pytest.fixture
def order(clock):
    """Let a fleet hold something because of one event of the market."""

    async def apply(fleet, *, mrid=PARENT, lasts=HOUR, channel=MARKET, **setpoints):
        until = None if lasts is None else clock.now() + lasts
        behind = {name: Behind(channel=channel, mrid=mrid, until=until) for name in setpoints}
        return await fleet.apply(Setpoints.of(setpoints), behind=behind)

    return apply


@pytest.fixture
def describe(serving, der):
    async def put(point, kind=DerInfoKind.CAPABILITY, **said):
        device = der(point)
        lfdi = serving.lfdi_of[device.der_id]
        who = Principal(party=serving.party, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
        await telemetry.put_info(who, serving, device.der_id, kind, json.dumps(said).encode())

    return put


@pytest.fixture
def shown(serving, der, clock):
    """Give what a DER is shown as active by derived controls, by function."""

    def now_at(point):
        found = {}
        for served in serving.programs_for(der(point).der_id):
            siblings = [record.control for record in served.controls.values()]
            for control in siblings:
                is_over = control.interval.end <= clock.now()
                if not is_over and served_status(control, siblings, clock.now()) is EventStatus.ACTIVE:
                    found |= dict(control.setpoints)
        return found

    return now_at


def why(back):
    """Say why something was refused; nothing of what was is reported as held."""
    assert not back.refused.keys() & back.setpoints.keys()
    return "; ".join(dict.fromkeys(refusal.reason for refusal in back.refused.values()))


def controls(serving):
    return [
        record.control
        for served in serving.programs.values()
        for record in served.controls.values()
        if record.control.provenance.derived_from is not None
    ]


def test_a_fleet_is_a_device(fleet):
    southbound: Southbound = fleet
    assert isinstance(southbound, Heeding)


async def test_a_fleet_is_what_its_members_are_together(fleet, describe):
    await describe("pv-1", rtg_max_w=12_000, rtg_max_va=13_000)
    await describe("pv-1", DerInfoKind.SETTINGS, set_max_w=11_000)
    await describe("pv-2", rtg_max_w=20_000, rtg_max_va=21_000, rtg_max_charge_rate_w=5000)
    facts = await fleet.discover()
    assert facts.nameplate["rtg_max_w"] == 12_000 + 20_000 + 30_000 + 40_000
    assert facts.settings["set_max_w"] == 11_000 + 20_000 + 30_000 + 40_000
    assert facts.nameplate["rtg_max_va"] == 34_000
    assert facts.settings["set_max_charge_rate_w"] == 5000
    assert "rtg_max_wh" not in facts.nameplate
    assert facts.functions == ALL
    assert not facts.carries_ramp_time


async def test_a_fleet_can_do_what_was_granted_and_nothing_else(make_fleet, grant):
    assert (await make_fleet(grants=[]).discover()).functions == frozenset()
    over = grant(until=timedelta(0))
    assert (await make_fleet(grants=[over]).discover()).functions == frozenset()
    granted = grant({"target_w", "volt_var", "no_such_function"})
    assert (await make_fleet(grants=[granted]).discover()).functions == {"target_w"}


async def test_a_fleet_of_nobody_can_do_nothing(make_fleet, serving, operator):
    await groups.create_group(operator, serving, "empty")
    assert (await make_fleet(group="empty").discover()).functions == frozenset()


async def test_a_group_that_is_missing_is_made_of_everybody(make_fleet, serving):
    facts = await make_fleet(group="all of them").discover()
    record = find_group(serving, "all of them")
    assert len(serving.members_of[record.group.id]) == 4
    assert facts.settings["set_max_w"] == 100_000


async def test_a_percentage_is_one_control_for_all(fleet, order, serving, shown, clock):
    held = await order(fleet, max_lim_w_pct=Decimal(60))
    assert (held.setpoints, held.writes) == (Setpoints.of({"max_lim_w_pct": Decimal(60)}), 1)
    (control,) = controls(serving)
    assert control.mrid[:16] == PARENT[:16]
    assert control.mrid != PARENT
    assert control.mrid.endswith(f"{serving.pen:08X}")
    assert control.provenance.derived_from == PARENT
    assert (control.provenance.party, control.provenance.channel) == (ISO, MARKET)
    assert control.interval.end == clock.now() + HOUR
    for point in ("pv-1", "pv-2", "pv-3", "pv-4"):
        assert shown(point) == {"max_lim_w_pct": 60}


async def test_a_total_is_one_control_for_each_that_nobody_else_is_shown(fleet, order, serving, shown):
    await order(fleet, target_w=Decimal(50_000))
    assert [shown(f"pv-{number}") for number in (1, 2, 3, 4)] == [
        {"target_w": 5000},
        {"target_w": 10_000},
        {"target_w": 15_000},
        {"target_w": 20_000},
    ]
    assert len(controls(serving)) == 4
    assert all(control.mrid[:16] == PARENT[:16] for control in controls(serving))


async def test_programs_of_members_are_made_once(fleet, order, serving):
    await order(fleet, target_w=Decimal(50_000))
    programs, known = set(serving.programs), set(serving.groups)
    await order(fleet, mrid=OTHER, target_w=Decimal(60_000))
    assert (set(serving.programs), set(serving.groups)) == (programs, known)


async def test_what_is_held_already_is_not_written_again(fleet, order, serving, make_fleet, restarted):
    await order(fleet, target_w=Decimal(50_000), connect=True)
    before = controls(serving)
    assert (await order(fleet, target_w=Decimal(50_000), connect=True)).writes == 0
    again = restarted()
    reborn = make_fleet(of=again)
    assert (await order(reborn, target_w=Decimal(50_000), connect=True)).writes == 0
    assert sorted(control.mrid for control in controls(again)) == sorted(control.mrid for control in before)


async def test_a_new_value_supersedes_the_old_one_by_its_creation_time(fleet, order, serving, shown, clock):
    await order(fleet, max_lim_w_pct=Decimal(60))
    await order(fleet, mrid=OTHER, max_lim_w_pct=Decimal(40))
    assert shown("pv-1") == {"max_lim_w_pct": 40}
    old, new = sorted(controls(serving), key=lambda control: control.creation_time)
    assert new.creation_time > old.creation_time
    assert old.status is EventStatus.SCHEDULED, "it is superseded, not cancelled"
    assert served_status(old, [old, new], clock.now()) is EventStatus.SUPERSEDED


async def test_what_is_released_is_cancelled(fleet, order, serving, shown):
    await order(fleet, target_w=Decimal(50_000), connect=True)
    await order(fleet, connect=True)
    assert shown("pv-1") == {"connect": True}
    await order(fleet)
    assert shown("pv-1") == {}
    assert {control.status for control in controls(serving)} == {EventStatus.CANCELLED}
    assert faults(serving.store.load(AuditRecord)) == []


async def test_functions_of_two_events_are_two_controls(fleet, serving, clock):
    until = clock.now() + HOUR
    behind = {
        "max_lim_w_pct": Behind(channel=MARKET, mrid=PARENT, until=until),
        "target_w": Behind(channel=MARKET, mrid=OTHER, until=until + HOUR),
    }
    await fleet.apply(Setpoints.of({"max_lim_w_pct": Decimal(80), "target_w": Decimal(8000)}), behind=behind)
    by_parent = {control.provenance.derived_from: control.interval.end for control in controls(serving)}
    assert by_parent == {PARENT: until, OTHER: until + HOUR}


async def test_an_audit_record_tells_parent_grant_and_what_was_made(fleet, order, serving):
    await order(fleet, target_w=Decimal(120_000 - 50_000))
    line = serving.audit_tail
    detail = json.loads(line.detail)
    assert (line.principal, line.party, line.verb, line.outcome) == (MARKET, ISO, "control", "derived")
    assert detail["parent"] == PARENT
    assert detail["grant"]["power_w"] == "200000"
    assert sorted(detail["derived"]) == sorted(control.mrid for control in controls(serving))
    assert len(detail["unmeasured"]) == 4


async def test_it_can_be_said_of_each_derived_control_who_is_behind_it(fleet, order, serving):
    await order(fleet, target_w=Decimal(50_000))
    await order(fleet)
    for control in controls(serving):
        made, gone = acts_on(serving, serving.control(control.mrid))
        assert (made.verb, made.principal, made.party) == ("control", MARKET, ISO)
        assert made.reason == f"derived from {PARENT}"
        assert (gone.verb, gone.principal) == ("cancel", "node")


# --- grants -----------------------------------------------------------------------------------------------------------


async def test_without_a_grant_nothing_is_issued(make_fleet, order, serving, grant):
    fleet = make_fleet(grants=[grant({"max_lim_w_pct"})])
    assert "iso was not granted target_w" in why(await order(fleet, target_w=Decimal(50_000)))
    assert controls(serving) == []
    line = serving.audit_tail
    assert (line.principal, line.outcome) == (MARKET, "refused")


async def test_a_refusal_is_written_down_once(make_fleet, order, serving):
    fleet = make_fleet(grants=[])
    for _ in range(3):
        assert why(await order(fleet, target_w=Decimal(50_000)))
    refused = [line for line in serving.store.load(AuditRecord) if line.outcome == "refused"]
    assert len(refused) == 1


async def test_nobody_moves_more_than_was_granted(make_fleet, order, serving, grant, measure):
    fleet = make_fleet(grants=[grant(power_w=20_000)])
    for number, watts in ((1, 8000), (2, 16_000), (3, 24_000)):
        await measure(f"pv-{number}", "w", watts)
    # 48 kW are measured, pv-4 may do anything from 0 to 40 kW.
    assert "would move up to 28000 W; iso was granted 20000 W" in why(await order(fleet, target_w=Decimal(60_000)))
    assert "would move up to" in why(await order(fleet, max_lim_w_pct=Decimal(50)))
    assert controls(serving) == []
    await order(fleet, target_w=Decimal(68_000))


async def test_a_grant_that_ends_takes_its_controls_with_it(make_fleet, order, serving, grant, clock, shown):
    fleet = make_fleet(grants=[grant(until=timedelta(minutes=10))])
    await order(fleet, max_lim_w_pct=Decimal(60))
    await order(fleet, max_lim_w_pct=Decimal(60), connect=True, lasts=None)
    assert max(control.interval.end for control in controls(serving)) == clock.now() + timedelta(minutes=10)
    clock.move(minutes=10)
    await fleet.discover()
    await fleet.measure()
    assert fleet.changed().functions == frozenset()
    assert fleet.changed() is None
    await fleet.measure()
    assert fleet.changed() is not None, "until it is decided again"
    assert shown("pv-1") == {}


async def test_a_refused_target_releases_what_nobody_wants_any_more(fleet, order, serving, shown, clock):
    await order(fleet, max_lim_w_pct=Decimal(60), connect=True)
    until = clock.now() + HOUR
    behind = {
        "connect": Behind(channel=MARKET, mrid=PARENT, until=until),
        "target_w": Behind(channel=MARKET, mrid=OTHER, until=until),
    }
    back = await fleet.apply(Setpoints.of({"connect": True, "target_w": Decimal(900_000)}), behind=behind)
    assert (dict(back.setpoints), set(back.refused)) == ({"connect": True}, {"target_w"})
    assert shown("pv-1") == {"connect": True}


async def test_one_event_that_is_refused_keeps_no_other_from_being_handed_on(fleet, serving, shown, clock):
    until = clock.now() + HOUR
    behind = {
        "max_lim_w_pct": Behind(channel=MARKET, mrid=PARENT, until=until),
        "connect": Behind(channel=MARKET, mrid=OTHER, until=until),
        "target_w": Behind(channel=MARKET, mrid=OTHER, until=until),
        "energize": Behind(channel=OWNER, mrid=Mrid("C3" * 16), until=until),
    }
    target = {"max_lim_w_pct": Decimal(60), "connect": True, "target_w": Decimal(900_000), "energize": True}
    back = await fleet.apply(Setpoints.of(target), behind=behind)
    assert (set(back.setpoints), set(back.refused)) == ({"max_lim_w_pct", "energize"}, {"connect", "target_w"})
    assert {refusal.firmness for refusal in back.refused.values()} == {Firmness.NEVER}
    assert shown("pv-1") == {"max_lim_w_pct": 60, "energize": True}
    parents = [json.loads(r.detail)["parents"] for r in serving.store.load(AuditRecord) if r.outcome == "refused"]
    assert parents == [[OTHER]]


async def test_what_the_governor_holds_back_may_be_another_time(make_fleet, order, serving, shown):
    serving.budget = (Cap(name="hour", window=timedelta(hours=1), power_w=Decimal(60_000)),)
    fleet = make_fleet()
    back = await order(fleet, target_w=Decimal(30_000))
    assert back.refused["target_w"].firmness is Firmness.DECLINED
    assert shown("pv-1") == {}


async def test_beside_a_refused_target_only_what_is_still_granted_goes_on(make_fleet, order, shown, grant, clock):
    grants = [grant({"connect"}, until=timedelta(minutes=10)), grant({"max_lim_w_pct"})]
    fleet = make_fleet(grants=grants)
    await order(fleet, max_lim_w_pct=Decimal(60), connect=True)
    clock.move(minutes=10)
    until = clock.now() + timedelta(minutes=50)
    stands = Behind(channel=MARKET, mrid=PARENT, until=until)
    target = Setpoints.of({"max_lim_w_pct": Decimal(60), "connect": True, "target_w": Decimal(1)})
    assert "not granted connect, target_w" in why(await fleet.apply(target, behind=dict.fromkeys(target, stands)))
    assert shown("pv-1") == {"max_lim_w_pct": 60}


async def test_who_joins_while_a_total_is_held_gets_its_share_with_the_next_target(
    make_fleet, order, serving, operator, der, shown
):
    await groups.create_group(operator, serving, "pilot")
    pilot = find_group(serving, "pilot").group.id
    ders = [der(f"pv-{number}").der_id for number in (1, 2, 3)]
    await groups.add_members(operator, serving, pilot, ders[:2])
    fleet = make_fleet(group="pilot")
    await order(fleet, target_w=Decimal(15_000))
    await groups.add_members(operator, serving, pilot, ders[2:])
    await order(fleet, target_w=Decimal(15_000), connect=True)
    assert [shown(f"pv-{number}")["target_w"] for number in (1, 2, 3)] == [2500, 5000, 7500]


async def test_who_has_not_said_what_it_is_rated_for_is_told_nothing_until_it_does(
    make_fleet, order, serving, operator, der, shown, describe
):
    serving.grid = None
    await groups.create_group(operator, serving, "all", everybody=True)
    for point in ("pv-1", "pv-2"):
        await describe(point, rtg_max_w=10_000)
    fleet = make_fleet(group="all")
    await order(fleet, target_w=Decimal(9000))
    assert [shown(f"pv-{number}") for number in (1, 2, 3)] == [{"target_w": 4500}, {"target_w": 4500}, {}]
    await describe("pv-3", rtg_max_w=10_000)
    await fleet.measure()
    assert [shown(f"pv-{number}")["target_w"] for number in (1, 2, 3)] == [3000, 3000, 3000]


async def test_the_fleet_of_a_party_is_of_those_it_manages(make_fleet, serving, operator):
    new = registry.NewDevice(lfdi=Lfdi("EE" * 20), service_point="pv-1", managed_by=PartyId("sunny"))
    await registry.register(operator, serving, [new])
    facts = await make_fleet(group="party:sunny").discover()
    assert facts.settings["set_max_w"] == 10_000
    assert (await make_fleet(group="sunny").discover()).serial == facts.serial


async def test_what_stands_behind_nothing_is_refused(fleet, serving):
    assert "nobody is known who wants connect" in why(await fleet.apply(Setpoints.of({"connect": True})))
    stands = Behind(channel=ChannelId("moon"), mrid=PARENT)
    assert "channel moon is that of no party" in why(
        await fleet.apply(Setpoints.of({"connect": True}), behind={"connect": stands})
    )
    assert "cannot carry out volt_var" in why(
        await fleet.apply(Setpoints.of({"volt_var": True}), behind={"volt_var": stands})
    )
    with pytest.raises(Unsupported, match="ramp time"):
        await fleet.apply(Setpoints(), ramp_time_s=Decimal(5))
    assert controls(serving) == []


async def test_the_owner_needs_no_grant(make_fleet, order, shown):
    fleet = make_fleet(grants=[])
    await order(fleet, channel=OWNER, mrid=Mrid(""), lasts=None, max_lim_w_pct=Decimal(90))
    assert shown("pv-1") == {"max_lim_w_pct": 90}


async def test_the_governor_holds_for_a_market_too(make_fleet, order, serving):
    serving.budget = (Cap(name="hour", window=timedelta(hours=1), power_w=Decimal(60_000)),)
    fleet = make_fleet()
    assert "refused by the governor: hour" in why(await order(fleet, target_w=Decimal(30_000)))
    await order(fleet, target_w=Decimal(50_000))
    serving.granted.clear()
    recall(serving)
    assert [(past.principal, past.power_w) for past in serving.granted] == [(MARKET, 50_000)]


# --- values -----------------------------------------------------------------------------------------------------------


async def test_a_member_is_told_in_the_words_it_knows(fleet, order, describe, shown):
    await describe("pv-1", functions=["fixed_w_pct", "max_lim_w_pct"])
    await describe("pv-2", functions=["max_lim_w_pct"])
    await describe("pv-3", functions=["target_w", "fixed_w_pct"])
    await order(fleet, target_w=Decimal(33_333))
    assert shown("pv-1") == {"fixed_w_pct": Decimal("33.3")}
    assert shown("pv-2") == {"max_lim_w_pct": Decimal("33.3")}
    assert shown("pv-3") == {"target_w": 9990}
    assert shown("pv-4") == {"target_w": 13_330}


async def test_who_cannot_be_told_gets_no_share(fleet, order, describe, shown):
    await describe("pv-1", functions=["connect"])
    await order(fleet, target_w=Decimal(45_000))
    assert shown("pv-1") == {}
    assert shown("pv-2") == {"target_w": 10_000}


async def test_a_percentage_of_the_fleet_is_a_total(make_fleet, order, shown, measure, describe):
    fleet = make_fleet(policy=Policy.AVAILABLE)
    await measure("pv-1", "w", 1000)
    await describe("pv-1", DerInfoKind.AVAILABILITY, stat_w_avail=1000)
    await order(fleet, fixed_w_pct=Decimal(50))
    assert shown("pv-1") == {"target_w": 540}
    assert shown("pv-2") == {"target_w": 10_980}


async def test_a_negative_total_goes_to_those_that_absorb(fleet, order, shown, describe):
    await describe("pv-1", rtg_max_w=10_000, rtg_max_charge_rate_w=8000, functions=["fixed_w_pct"])
    await order(fleet, target_w=Decimal(-4000))
    assert shown("pv-1") == {"fixed_w_pct": -50}
    assert shown("pv-2") == {"target_w": 0}


async def test_by_price_the_cheapest_generate_first_and_those_that_ask_the_same_by_rating(make_fleet, order, shown):
    offers = {"system": Decimal("0.20"), "pv-3": Decimal("0.05"), "pv-1": Decimal("0.30")}
    await order(make_fleet(policy=Policy.PRICE, offers=offers), target_w=Decimal(60_000))
    assert [shown(f"pv-{number}")["target_w"] for number in (1, 2, 3, 4)] == [0, 10_000, 30_000, 20_000]


async def test_by_price_a_total_is_refused_while_a_member_has_made_no_offer(make_fleet, order, serving):
    fleet = make_fleet(policy=Policy.PRICE, offers={f"pv-{number}": Decimal(1) for number in (1, 2, 3)})
    assert "pv-4 made none" in why(await order(fleet, target_w=Decimal(50_000)))
    assert controls(serving) == []
    refused = [record for record in serving.store.load(AuditRecord) if record.outcome == "refused"]
    assert "pv-4 made none" in refused[-1].detail
    await order(fleet, max_lim_w_pct=Decimal(50))
    assert len(controls(serving)) == 1, "a percentage is the same for all, whatever they ask"


async def test_a_limit_in_watts_is_shared_out_in_percent(fleet, order, shown):
    await order(fleet, gen_lim_w=Decimal(50_000))
    assert [shown(f"pv-{number}") for number in (1, 4)] == [{"max_lim_w_pct": 50}] * 2


async def test_of_two_limits_the_tighter_one_is_told(make_fleet, order, shown):
    fleet = make_fleet(policy=Policy.EQUAL)
    await order(fleet, gen_lim_w=Decimal(60_000), max_lim_w_pct=Decimal(70))
    assert shown("pv-1") == {"max_lim_w_pct": 70}
    assert shown("pv-4") == {"max_lim_w_pct": Decimal("41.66")}


async def test_a_share_never_exceeds_a_limit_told_beside_it(fleet, order, shown, describe):
    await describe("pv-1", functions=["max_lim_w_pct"])
    await order(fleet, gen_lim_w=Decimal(20_000), target_w=Decimal(50_000))
    assert shown("pv-1") == {"max_lim_w_pct": 20}
    assert shown("pv-2") == {"max_lim_w_pct": 20, "target_w": 10_000}


# --- time -------------------------------------------------------------------------------------------------------------


async def test_a_control_of_unknown_end_is_renewed_before_its_end(fleet, order, shown, clock, serving):
    await order(fleet, max_lim_w_pct=Decimal(60), lasts=None)
    for _ in range(60):
        clock.move(minutes=1)
        await fleet.measure()
        (live,) = [
            control
            for control in controls(serving)
            if served_status(control, controls(serving), clock.now()) is EventStatus.ACTIVE
            and control.interval.end > clock.now()
        ]
        assert live.interval.end - clock.now() >= timedelta(minutes=10), "who comes every 10 minutes sees the next one"
    assert 3 <= len(controls(serving)) <= 6


async def test_when_another_event_wants_the_same_its_end_counts(fleet, order, clock, serving, shown):
    await order(fleet, max_lim_w_pct=Decimal(60))
    clock.move(minutes=59)
    stands = Behind(channel=MARKET, mrid=OTHER, until=clock.now() + HOUR)
    fleet.heed({"max_lim_w_pct": stands, "connect": stands})
    await fleet.measure()
    (new,) = [control for control in controls(serving) if control.provenance.derived_from == OTHER]
    assert new.interval.end == clock.now() + HOUR
    assert new.mrid[:16] == OTHER[:16]
    assert shown("pv-1") == {"max_lim_w_pct": 60}


async def test_a_parent_that_is_over_gets_no_new_control(fleet, order, clock, serving):
    await order(fleet, max_lim_w_pct=Decimal(60))
    clock.move(hours=1)
    await fleet.measure()
    assert len(controls(serving)) == 1


async def test_derived_controls_are_forgotten_after_a_day(fleet, order, clock, serving, respond):
    await order(fleet, max_lim_w_pct=Decimal(60))
    (control,) = controls(serving)
    await respond("pv-1", control.mrid, ResponseStatus.RECEIVED)
    await order(fleet)
    clock.move(hours=26)
    await fleet.measure()
    assert len(controls(serving)) == 1, "nothing is in force: nobody looks"
    fleet_of_tomorrow = Setpoints.of({"connect": True})
    stands = Behind(channel=OWNER, mrid=Mrid(""))
    await fleet.apply(fleet_of_tomorrow, behind={"connect": stands})
    assert control.mrid not in {known.mrid for known in controls(serving)}
    assert control.mrid not in serving.responses


@pytest.fixture
def coming(clock):
    """Give an event of the market that begins in some minutes."""

    def make(minutes=10, *, mrid=OTHER, lasts=30, **setpoints):
        starts_at = clock.now() + timedelta(minutes=minutes)
        return Coming(
            channel=MARKET,
            mrid=mrid,
            setpoints=Setpoints.of(setpoints),
            starts_at=starts_at,
            ends_at=starts_at + timedelta(minutes=lasts),
        )

    return make


async def test_what_comes_is_told_before_it_begins_and_not_again(fleet, order, coming, clock, shown, serving):
    await order(fleet, target_w=Decimal(50_000), lasts=timedelta(minutes=10))
    one = coming(target_w=Decimal(30_000))
    fleet.heed({}, [one])
    await fleet.measure()
    ahead = [control for control in controls(serving) if control.provenance.derived_from == OTHER]
    assert len(ahead) == 4
    assert {(control.interval.start, control.interval.end) for control in ahead} == {(one.starts_at, one.ends_at)}
    assert {served_status(control, [control], clock.now()) for control in ahead} == {EventStatus.SCHEDULED}
    assert shown("pv-1") == {"target_w": 5000}
    before = len(controls(serving))
    clock.move(minutes=10)
    fleet.heed({}, [])
    await fleet.measure()
    assert (await order(fleet, mrid=OTHER, target_w=Decimal(30_000), lasts=timedelta(minutes=30))).writes == 0
    assert len(controls(serving)) == before
    assert shown("pv-1") == {"target_w": 3000}


async def test_what_comes_no_more_is_taken_back(fleet, coming, serving):
    fleet.heed({}, [coming(max_lim_w_pct=Decimal(50))])
    await fleet.measure()
    assert [control.status for control in controls(serving)] == [EventStatus.SCHEDULED]
    fleet.heed({}, [])
    await fleet.measure()
    assert [control.status for control in controls(serving)] == [EventStatus.CANCELLED]
    commits = serving.commits
    await fleet.measure()
    assert serving.commits == commits


async def test_what_begins_and_is_refused_is_taken_back(make_fleet, order, coming, clock, serving, grant, measure):
    fleet = make_fleet(grants=[grant(power_w=70_000)])
    fleet.heed({}, [coming(target_w=Decimal(50_000))])
    await fleet.measure()
    assert len(controls(serving)) == 4
    clock.move(minutes=10)
    for number, watts in ((1, -9000), (2, -19_000), (3, -29_000)):
        await measure(f"pv-{number}", "w", watts)
    assert "would move up to" in why(
        await order(fleet, mrid=OTHER, target_w=Decimal(50_000), lasts=timedelta(minutes=30))
    )
    assert {control.status for control in controls(serving)} == {EventStatus.CANCELLED}


async def test_what_is_not_granted_or_far_away_or_not_alone_is_not_told_ahead(
    make_fleet, order, coming, serving, grant
):
    fleet = make_fleet(grants=[grant({"target_w", "max_lim_w_pct", "gen_lim_w", "fixed_w_pct"})])
    await order(fleet, max_lim_w_pct=Decimal(50), lasts=timedelta(minutes=11))
    before = len(controls(serving))
    for what in (
        [coming(connect=False)],
        [coming(30, target_w=Decimal(1))],
        [coming(gen_lim_w=Decimal(1))],
        [coming(target_w=Decimal(1)), coming(15, mrid=Mrid("C3" * 16), fixed_w_pct=Decimal(1))],
    ):
        fleet.heed({}, what)
        await fleet.measure()
        assert len(controls(serving)) == before, what


async def test_what_is_told_ahead_counts_for_the_governor_once(fleet, order, coming, clock, serving):
    serving.budget = (Cap(name="hour", window=timedelta(hours=1), power_w=Decimal(60_000)),)
    fleet.heed({}, [coming(target_w=Decimal(50_000))])
    for _ in range(3):
        await fleet.measure()
    assert [past.power_w for past in serving.granted] == [50_000]
    clock.move(minutes=10)
    await order(fleet, mrid=OTHER, target_w=Decimal(50_000), lasts=timedelta(minutes=30))
    assert [past.power_w for past in serving.granted] == [50_000]
    serving.granted.clear()
    recall(serving)
    assert [past.power_w for past in serving.granted] == [50_000]
    fleet.heed({}, [coming(mrid=Mrid("C3" * 16), minutes=31, target_w=Decimal(20_000))])
    clock.move(minutes=15)
    before = len(controls(serving))
    await fleet.measure()
    assert len(controls(serving)) == before, "the governor has no more to give"


async def test_what_begins_after_its_grant_is_not_told_ahead(make_fleet, coming, grant, serving):
    fleet = make_fleet(grants=[grant(until=timedelta(minutes=10))])
    fleet.heed({}, [coming(10, target_w=Decimal(50_000))])
    await fleet.measure()
    assert controls(serving) == []


async def test_what_comes_to_those_who_join_is_shared_with_them(make_fleet, serving, operator, der, coming):
    await groups.create_group(operator, serving, "pilot")
    pilot = find_group(serving, "pilot").group.id
    ders = [der(f"pv-{number}").der_id for number in (1, 2, 3)]
    await groups.add_members(operator, serving, pilot, ders[:2])
    fleet = make_fleet(group="pilot")
    one = coming(target_w=Decimal(15_000))
    fleet.heed({}, [one])
    await fleet.measure()
    await groups.add_members(operator, serving, pilot, ders[2:])
    await fleet.measure()
    newest = {}
    for control in sorted(controls(serving), key=lambda control: control.creation_time):
        newest[control.mrid] = control.setpoints["target_w"]
    assert sorted(newest.values())[-5:] == [2500, 5000, 5000, 7500, 10_000]


# --- who comes and goes -----------------------------------------------------------------------------------------------


async def test_who_leaves_is_released_and_its_share_goes_to_the_others(
    make_fleet, order, serving, operator, der, shown
):
    await groups.create_group(operator, serving, "pilot")
    pilot = find_group(serving, "pilot").group.id
    ders = [der(f"pv-{number}").der_id for number in (1, 2, 3)]
    await groups.add_members(operator, serving, pilot, ders)
    fleet = make_fleet(group="pilot")
    await fleet.discover()
    await order(fleet, target_w=Decimal(30_000))
    await groups.remove_members(operator, serving, pilot, ders[2:])
    await fleet.measure()
    assert fleet.changed().settings["set_max_w"] == 30_000
    assert [shown(f"pv-{number}") for number in (1, 2, 3)] == [{"target_w": 10_000}, {"target_w": 20_000}, {}]
    await groups.add_members(operator, serving, pilot, ders[2:])
    await fleet.measure()
    assert [shown(f"pv-{number}")["target_w"] for number in (1, 2, 3)] == [5000, 10_000, 15_000]


async def test_who_is_shut_out_is_no_member(fleet, serving, operator):
    await registry.enable(operator, serving, "pv-4", enabled=False)
    assert (await fleet.discover()).settings["set_max_w"] == 60_000


# --- upwards ----------------------------------------------------------------------------------------------------------


async def test_a_sum_is_told_once_enough_are_measured(fleet, measure):
    assert await fleet.measure() == ([], [])
    await measure("pv-1", "w", 5000)
    assert await fleet.measure() == ([], []), "one of four is nobody's business"
    await measure("pv-2", "w", 10_000)
    await measure("pv-2", "var", -300)
    # The other two are taken to do for their rating what those measured do.
    assert await fleet.measure() == ([("w", 0, 50_000, 0)], [])
    assert fleet.quality_of("w") == Quality.VALID | Quality.DERIVED | Quality.ESTIMATED_LINEAR
    await measure("pv-1", "var", 100)
    assert (await fleet.measure())[0][1] == ("var", 0, -200, 0)
    assert fleet.quality_of("var") == Quality.DERIVED | Quality.QUESTIONABLE


async def test_a_sum_of_all_is_valid(fleet, measure, serving, operator):
    await registry.enable(operator, serving, "pv-4", enabled=False)
    for number in (1, 2, 3):
        await measure(f"pv-{number}", "w", 1000)
    assert (await fleet.measure())[0] == [("w", 0, 3000, 0)]
    assert fleet.quality_of("w") == Quality.VALID | Quality.DERIVED


async def test_what_could_be_generated_is_told_when_all_that_are_heard_say_it(fleet, measure, describe):
    for number in (1, 2):
        await measure(f"pv-{number}", "w", 1000)
    await describe("pv-1", DerInfoKind.AVAILABILITY, stat_w_avail=4000)
    assert "stat_w_avail" not in {point for point, *_ in (await fleet.measure())[0]}
    await describe("pv-2", DerInfoKind.AVAILABILITY, stat_w_avail=5000)
    assert ("stat_w_avail", 0, 9000, 0) in (await fleet.measure())[0]


async def test_a_sum_of_few_is_in_question(make_fleet, measure):
    fleet = make_fleet(min_cell=1)
    await measure("pv-1", "w", 1000)
    assert (await fleet.measure())[0] == [("w", 0, 10_000, 0)]
    assert fleet.quality_of("w") == Quality.DERIVED | Quality.QUESTIONABLE


async def test_nothing_is_told_to_whom_nothing_is_granted(make_fleet, measure):
    fleet = make_fleet(grants=[])
    for number in (1, 2, 3):
        await measure(f"pv-{number}", "w", 1000)
    assert await fleet.measure() == ([], [])


async def test_an_old_measurement_counts_no_more(fleet, measure, clock):
    for number in (1, 2, 3):
        await measure(f"pv-{number}", "w", 1000)
    clock.move(minutes=16)
    assert await fleet.measure() == ([], [])


async def test_the_shares_are_corrected_when_the_sum_misses_the_target(fleet, order, measure, clock, shown, serving):
    await order(fleet, target_w=Decimal(50_000))
    follows = {1: Decimal(0), 2: Decimal("0.5"), 3: Decimal(1)}
    watts = {1: Decimal(2000), 2: Decimal(0), 3: Decimal(0)}
    for _ in range(20):
        clock.move(minutes=15)
        await order(fleet, target_w=Decimal(50_000), lasts=timedelta(hours=9))
        for number, part in follows.items():
            watts[number] += part * (shown(f"pv-{number}")["target_w"] - watts[number])
            await measure(f"pv-{number}", "w", round(watts[number]))
        await fleet.measure()
    told = shown("pv-4")["target_w"]
    assert abs(sum(watts.values()) + told - 50_000) <= 500
    outcomes = [line.outcome for line in serving.store.load(AuditRecord)]
    assert "corrected" in outcomes


async def test_no_correction_comes_before_what_the_last_one_did_can_be_seen(fleet, order, measure, clock, shown):
    await order(fleet, target_w=Decimal(50_000))
    await measure("pv-1", "w", 0)
    before = shown("pv-2")
    clock.move(minutes=14)
    await fleet.measure()
    assert shown("pv-2") == before
    await measure("pv-1", "w", 0)
    clock.move(minutes=1)
    await fleet.measure()
    assert shown("pv-2")["target_w"] > before["target_w"]


async def test_what_was_measured_before_all_could_follow_corrects_nothing_however_late(
    fleet, order, measure, clock, shown
):
    await order(fleet, target_w=Decimal(50_000))
    before = shown("pv-2")
    clock.move(minutes=10)
    await measure("pv-1", "w", 0)  # just before its power must have settled
    clock.move(minutes=4)
    await fleet.measure()
    assert shown("pv-2") == before


async def test_a_full_disk_changes_nothing_and_is_tried_again(fleet, order, serving, full_disk, shown):
    await order(fleet, max_lim_w_pct=Decimal(60))
    store = serving.store
    full_disk()
    with pytest.raises(LinkError):
        await order(fleet, mrid=OTHER, max_lim_w_pct=Decimal(40))
    assert shown("pv-1") == {"max_lim_w_pct": 60}
    serving.store = store
    assert (await order(fleet, mrid=OTHER, max_lim_w_pct=Decimal(40))).writes == 1


async def test_what_could_not_be_written_is_held_against_the_governor_when_it_is_tried_again(
    fleet, order, serving, full_disk
):
    serving.budget = (Cap(name="hour", window=timedelta(hours=1), power_w=Decimal(60_000)),)
    store = serving.store
    full_disk()
    with pytest.raises(LinkError):
        await order(fleet, target_w=Decimal(50_000))
    assert serving.granted == []
    serving.store = store
    await order(fleet, target_w=Decimal(50_000))
    assert [past.power_w for past in serving.granted] == [50_000]


async def test_closing_leaves_the_members_as_they_are(fleet, order, shown):
    await order(fleet, max_lim_w_pct=Decimal(60))
    await fleet.close()
    assert shown("pv-1") == {"max_lim_w_pct": 60}
