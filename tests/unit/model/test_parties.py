from dataclasses import FrozenInstanceError, replace

import pytest

from tierline.model.identity import ChannelId, PartyId
from tierline.model.parties import Authority, Channel, ChannelMode, Party, Principal, Role


def test_the_stronger_authority_is_the_lower_number():
    assert list(Authority) == sorted(Authority) == list(range(6))
    assert (
        Authority.PROTECTION
        < Authority.LOCAL_EMERGENCY
        < Authority.UTILITY
        < Authority.AGGREGATOR
        < Authority.OWNER
        < Authority.DEFAULT
    )


def test_roles_and_modes_are_the_words_of_the_configuration():
    assert list(Role) == ["operator", "viewer", "device", "aggregator", "upstream", "self"]
    assert list(ChannelMode) == ["single", "dual"]


@pytest.mark.parametrize(
    "value",
    [
        Principal(party=PartyId("utility"), role=Role.OPERATOR, name="ada"),
        Channel(id=ChannelId("north"), party=PartyId("utility"), authority=Authority.UTILITY, rank=1),
    ],
)
def test_who_acts_is_frozen_and_hashable(value):
    assert hash(value) == hash(replace(value))
    with pytest.raises(FrozenInstanceError):
        value.party = PartyId("eve")


def test_a_party_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Party(id=PartyId("utility"), name="The utility").name = "Eve"


def test_a_principal_without_a_certificate_has_no_lfdi():
    assert Principal(party=PartyId("utility"), role=Role.SELF, name="node").lfdi is None
