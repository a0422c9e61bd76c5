import pytest

from tierline.engine.access import Grants, Resource, ResourceKind, Verb, may
from tierline.engine.verdict import ALLOW, Deny
from tierline.model.identity import DerId, GroupId, Mrid, PartyId
from tierline.model.parties import Principal, Role

MINE, OTHERS = DerId("mine"), DerId("others")
PROGRAM, FOREIGN = Mrid("AA"), Mrid("BB")
GROUP = GroupId("g1")
GRANTS = Grants(ders=frozenset({MINE}), programs=frozenset({PROGRAM}), groups=frozenset({GROUP}))

COMMON = Resource(kind=ResourceKind.COMMON)
MY_DER = Resource(kind=ResourceKind.DER, der_id=MINE)
OTHER_DER = Resource(kind=ResourceKind.DER, der_id=OTHERS)
MY_PROGRAM = Resource(kind=ResourceKind.PROGRAM, program=PROGRAM)
OTHER_PROGRAM = Resource(kind=ResourceKind.PROGRAM, program=FOREIGN)
MY_GROUP = Resource(kind=ResourceKind.GROUP, group=GROUP)
OTHER_GROUP = Resource(kind=ResourceKind.GROUP, group=GroupId("g2"))
NODE = Resource(kind=ResourceKind.NODE)
ALL = (COMMON, MY_DER, OTHER_DER, MY_PROGRAM, OTHER_PROGRAM, MY_GROUP, OTHER_GROUP, NODE)

LOOK = {Verb.READ, Verb.SUBSCRIBE}
ALLOWED = {
    Role.OPERATOR: {resource: set(Verb) for resource in ALL},
    Role.SELF: {resource: set(Verb) for resource in ALL},
    Role.VIEWER: dict.fromkeys(ALL, LOOK),
    Role.DEVICE: {COMMON: LOOK, MY_DER: LOOK | {Verb.REPORT, Verb.RESPOND}, MY_PROGRAM: LOOK},
    Role.AGGREGATOR: {
        COMMON: LOOK,
        MY_DER: LOOK | {Verb.REPORT, Verb.RESPOND, Verb.REGISTER},
        MY_PROGRAM: LOOK,
    },
    Role.UPSTREAM: {MY_GROUP: {Verb.CONTROL}},
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("resource", ALL, ids=lambda resource: f"{resource.kind}-{resource.der_id or resource.program}")
def test_each_role_may_do_what_the_table_says_and_nothing_else(role, resource):
    principal = Principal(party=PartyId("x"), role=role, name="it")
    allowed = {verb for verb in Verb if may(principal, verb, resource, GRANTS) == ALLOW}
    assert allowed == ALLOWED[role].get(resource, set())


def test_a_denial_says_who_may_not_do_what():
    device = Principal(party=PartyId("x"), role=Role.DEVICE, name="0F00")
    assert may(device, Verb.CONTROL, MY_DER, GRANTS) == Deny("device 0F00 may not control anything")
    assert may(device, Verb.READ, OTHER_DER, GRANTS) == Deny(
        "device 0F00 may not read this der: it is not in its scope"
    )


def test_a_resource_that_names_nothing_is_nobodys():
    device = Principal(party=PartyId("x"), role=Role.DEVICE, name="it")
    assert may(device, Verb.READ, Resource(kind=ResourceKind.DER), Grants()) != ALLOW
