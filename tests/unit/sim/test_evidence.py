from dataclasses import replace
from datetime import UTC, datetime

from tierline.engine.following.obey import Persist
from tierline.model.control import Setpoints
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.programs import ResponseStatus
from tierline.model.records import OutboxRecord
from tierline.operations.following.outbox import as_response
from tierline.sim.evidence import DerEvidence, Inverter, Refusal, Shown, Take, Window, second
from tierline.sim.loop import START
from tierline.sim.owner_evidence import OwnerAsked, OwnerEvidence


def der():
    inverter = Inverter(
        name="der",
        functions=frozenset(),
        held=Setpoints(),
        random=None,
        carries_ramp_time=True,
        calm_from_s=0.0,
    )
    return DerEvidence(name="der", lfdi=Lfdi("0" * 40), inverter=inverter, supersede_code="14")


def take(at_s):
    shown = Shown(deeds=0, server_s=at_s, deeds_after=0, server_after_s=at_s)
    return Take(at_s=at_s, server_s=at_s, offset_s=0.5, programs=(), shown=shown)


def persist():
    return Persist(sequence=1, put=(object(),), delete=(), responses=())


def test_seconds_count_from_the_beginning_of_all_simulations():
    assert second(START) == 0.0
    assert second(datetime(2026, 1, 1, 0, 1, tzinfo=UTC)) == 60.0


def test_a_walk_is_durable_once_what_came_of_it_was_kept():
    watched, effect = der(), persist()
    watched.take(take(1.0))
    watched.ask(effect)
    watched.take(take(2.0))
    watched.keep(effect.put)
    assert [one.is_durable for one in watched.takes] == [True, False]


def test_what_the_owner_refused_counts_once_it_is_durable():
    watched, effect = der(), persist()
    watched.opt_out(Refusal(at_s=1.0, mrid=Mrid("A")))
    watched.ask(effect)
    watched.opt_out(Refusal(at_s=2.0, mrid=Mrid("B")))
    watched.keep(effect.put)
    watched.begin(5.0, None)
    assert [(one.mrid, one.is_durable) for one in watched.refusals] == [("A", True)]


def test_a_new_life_forgets_the_walks_that_were_not_durable():
    watched = der()
    watched.take(take(1.0))
    watched.begin(5.0, None)
    assert watched.takes == []
    assert watched.offsets == [(1.0, 0.5), (5.0, None)]


def test_a_refused_write_opens_a_window_until_it_is_taken():
    watched, effect = der(), persist()
    watched.ask(effect)
    watched.refuse(1.0, effect.put)
    watched.refuse(2.0, effect.put)
    watched.accept(4.0, effect.put)
    watched.accept(5.0, effect.put)
    assert watched.full == [Window(from_s=1.0, until_s=4.0)]


def test_a_refused_write_that_nobody_repeats_ends_with_the_life():
    watched, effect = der(), persist()
    watched.ask(effect)
    watched.refuse(1.0, effect.put)
    watched.begin(9.0, 0.0)
    assert watched.full == [Window(from_s=1.0, until_s=9.0)]


def test_what_the_machine_did_not_ask_for_opens_no_window():
    watched = der()
    watched.refuse(1.0, (object(),))
    assert watched.refused_since_s == {}


def test_a_response_may_be_sent_again_until_it_is_struck_out():
    watched = der()
    waiting = OutboxRecord(
        party=PartyId("owner"),
        channel=ChannelId("utility"),
        der_id=DerId("der"),
        mrid=Mrid("0" * 32),
        status=ResponseStatus.RECEIVED,
        lfdi=watched.lfdi,
        created_at=START,
    )
    response = as_response(waiting)
    watched.keep([waiting])
    watched.posts.send(response)
    watched.posts.send(response)
    assert watched.posts.again == []
    watched.keep([replace(waiting, posted_at=START)])
    watched.posts.send(response)
    watched.posts.send(replace(response, status=ResponseStatus.STARTED))
    assert watched.posts.again == [response]


def test_what_was_kept_is_known_although_a_response_to_the_owner_was_noted_to_have_arrived():
    asked = OutboxRecord(
        party=PartyId("owner"),
        channel=ChannelId("owner"),
        der_id=DerId("0" * 32),
        mrid=Mrid("1" * 32),
        status=ResponseStatus.RECEIVED,
        lfdi=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    watched = der()
    watched.take(take(1.0))
    watched.ask(Persist(sequence=1, put=(asked,), delete=(), responses=()))
    watched.keep([replace(asked, posted_at=asked.created_at)])
    assert [one.is_durable for one in watched.takes] == [True]


def test_what_the_owner_says_is_kept_and_forgotten_with_the_rest():
    watched = der()
    watched.owner = OwnerEvidence(asked=[OwnerAsked(at_s=0.0, clock_s=0.0, setpoints=Setpoints())])
    watched.owner.take(1.0, 1.0, ())
    watched.begin(5.0, None)
    assert watched.owner.takes == []
