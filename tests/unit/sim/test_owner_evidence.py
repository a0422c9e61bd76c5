from datetime import UTC, datetime

from tierline.model.control import Setpoints
from tierline.model.identity import ChannelId, PartyId, der_id
from tierline.model.programs import Program, ResponseStatus
from tierline.model.records import FollowedProgramsRecord, OutboxRecord
from tierline.sim.owner_evidence import OwnerAsked, OwnerEvidence

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OF = {"party": PartyId("owner"), "der_id": der_id(1)}


def program(name):
    return Program(mrid=name, primacy=0, controls=(), default=None)


def said(name, channel="owner"):
    return FollowedProgramsRecord(
        **OF, channel=ChannelId(channel), clock_offset_s=0.0, programs=(program(name),), seen_at=NOW
    )


def spoken(*names):
    book = OwnerEvidence(asked=[OwnerAsked(at_s=0.0, clock_s=0.0, setpoints=Setpoints())])
    for at_s, name in enumerate(names):
        book.take(float(at_s), float(at_s), (program(name),))
    return book


def test_what_the_owner_said_is_durable_when_his_channel_is_kept_with_it():
    book = spoken("A", "B")
    book.keep([said("B", channel="utility"), said("A")])
    assert [take.is_durable for take in book.takes] == [True, False]


def test_a_new_life_knows_nothing_of_what_was_not_durable():
    book = spoken("A", "B")
    book.keep([said("A")])
    book.begin()
    assert [take.programs[0].mrid for take in book.takes] == ["A"]


def test_responses_to_the_owner_are_noted_and_those_that_had_not_arrived():
    def answer(channel, status, posted_at):
        return OutboxRecord(
            **OF, lfdi=None, channel=channel, mrid="M", status=status, created_at=NOW, posted_at=posted_at
        )

    book = spoken()
    book.keep([answer("owner", ResponseStatus.RECEIVED, NOW), answer("utility", ResponseStatus.RECEIVED, None)])
    book.keep([answer("owner", ResponseStatus.STARTED, None)])
    assert book.answered == [("M", ResponseStatus.RECEIVED), ("M", ResponseStatus.STARTED)]
    assert book.waiting == ["M"]
