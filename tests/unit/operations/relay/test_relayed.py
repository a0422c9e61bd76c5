from tierline.model.identity import ChannelId, DerId, Lfdi, PartyId
from tierline.model.records import DerInfoKind, KnownRecord
from tierline.operations.relay.relayed import Relayed, digest_of
from tierline.storage.memory import MemoryStore

PARTY = PartyId("substation")
LFDI, DER = Lfdi("01" * 20), DerId("abcdefghijklm")
AWAY = DerId("nopqrstuvwxyz")


async def test_what_is_remembered_of_a_channel_is_found_again_and_nothing_of_another(clock):
    store = MemoryStore()
    one, other = Relayed(channel=ChannelId("a")), Relayed(channel=ChannelId("a.b"))
    await store.commit(
        [
            one.member_record(PARTY, LFDI, DER),
            one.refused_record(PARTY, "control C of P", "why"),
            one.member_record(PARTY, Lfdi("03" * 20), AWAY),
            one.handed_record(PARTY, (DER, DerInfoKind.STATUS), "d"),
            one.elsewhere_record(PARTY, AWAY),
            other.elsewhere_record(PARTY, DER),
            other.member_record(PARTY, Lfdi("02" * 20), DerId("x")),
            other.refused_record(PARTY, "else", "why"),
            KnownRecord(party=PARTY, name="reply_to/a/M", value="/r"),
            KnownRecord(party=PARTY, name="other", value="/a/"),
        ]
    )
    found = Relayed.load(store, ChannelId("a"), "take")
    assert found.enrol == "take"
    assert found.members == {LFDI: DER, Lfdi("03" * 20): AWAY}
    assert found.ders == {DER, AWAY}
    assert found.elsewhere == {AWAY}
    assert (found.lfdi_of(DER), found.lfdi_of(DerId("x"))) == (LFDI, None)
    assert found.refused == {"control C of P": "why"}
    assert found.handed_on == {(DER, DerInfoKind.STATUS): "d"}


def test_who_is_no_member_any_more_is_forgotten_with_what_it_said():
    relayed = Relayed(channel=ChannelId("a"), members={LFDI: DER}, handed_on={(DER, DerInfoKind.STATUS): "d"})
    assert [record.name for record in relayed.forgotten_records(PARTY, {LFDI: DER})] == [
        f"member/a/{LFDI}",
        f"info/a/{DER}/ders",
    ]
    relayed.take_members({})
    assert (relayed.members, relayed.handed_on, set(relayed.ders)) == ({}, {}, set())


def test_documents_are_told_apart():
    assert digest_of(b"a") != digest_of(b"b")
    assert digest_of(b"a") == digest_of(b"a")
