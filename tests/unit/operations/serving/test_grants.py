from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tierline.model.control import ControlGrant
from tierline.model.identity import PartyId
from tierline.operations.serving.grants import functions_granted, grant_for, principal_of

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
ISO, OTHER = PartyId("iso"), PartyId("other")


def grant(*functions, party=ISO, power_w=1000, hours=1):
    return ControlGrant(
        party=party, functions=frozenset(functions), power_w=Decimal(power_w), until=NOON + timedelta(hours=hours)
    )


def test_a_grant_is_of_one_party_for_some_functions_and_ends():
    grants = [grant("target_w"), grant("connect", party=OTHER)]
    assert grant_for(grants, ISO, "target_w", NOON) is grants[0]
    assert grant_for(grants, ISO, "connect", NOON) is None
    assert grant_for(grants, OTHER, "target_w", NOON) is None
    assert grant_for(grants, ISO, "target_w", NOON + timedelta(hours=1)) is None
    assert functions_granted(grants, NOON) == {"target_w", "connect"}
    assert functions_granted(grants, NOON + timedelta(hours=1)) == frozenset()


def test_of_several_grants_the_one_that_allows_most_counts():
    grants = [grant("target_w"), grant("target_w", power_w=5000), grant("target_w", power_w=9000, hours=0)]
    assert grant_for(grants, ISO, "target_w", NOON) is grants[1]


def test_a_server_above_acts_as_itself():
    principal = principal_of("market", ISO)
    assert (principal.party, principal.role, principal.name) == (ISO, "upstream", "market")
