import pytest

from tierline.engine.access import Verb
from tierline.model.errors import Forbidden
from tierline.model.identity import DerId, Lfdi, PartyId
from tierline.model.parties import Principal, Role
from tierline.operations.serving import registry
from tierline.operations.serving.access import require, require_der


def who(role, *, party="utility", lfdi=None):
    return Principal(party=PartyId(party), role=role, name="someone", lfdi=lfdi)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.SELF])
def test_an_operator_and_the_node_itself_may_do_everything_to_the_node(role):
    for verb in Verb:
        require(who(role), verb, "anything")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVICE, Role.AGGREGATOR, Role.UPSTREAM])
def test_others_may_not_control_the_node_and_are_told_what_it_was_about(role):
    with pytest.raises(Forbidden, match=r"someone may not control .*\(group 7\)"):
        require(who(role), Verb.CONTROL, "group 7")


def test_a_device_stands_for_itself_alone(serving, der):
    lfdi = serving.lfdi_of[der("pv-1").der_id]
    device = who(Role.DEVICE, lfdi=lfdi)
    assert require_der(device, serving, Verb.REPORT, der("pv-1").der_id) == der("pv-1")
    for other in (der("pv-2").der_id, DerId("nobody")):
        with pytest.raises(Forbidden, match="does not stand for this device"):
            require_der(device, serving, Verb.REPORT, other)


async def test_a_disabled_device_stands_for_nobody(serving, der, operator):
    device = who(Role.DEVICE, lfdi=serving.lfdi_of[der("pv-1").der_id])
    await registry.enable(operator, serving, "pv-1", enabled=False)
    with pytest.raises(Forbidden):
        require_der(device, serving, Verb.REPORT, der("pv-1").der_id)


async def test_an_aggregator_stands_for_those_it_manages(serving, der, operator):
    new = registry.NewDevice(lfdi=None, managed_by=PartyId("pooler"))
    (managed,) = await registry.register(operator, serving, [new])
    pooler = who(Role.AGGREGATOR, party="pooler")
    assert require_der(pooler, serving, Verb.REPORT, managed.der_id) == managed
    with pytest.raises(Forbidden):
        require_der(pooler, serving, Verb.REPORT, der("pv-1").der_id)


async def test_an_aggregator_stands_for_its_own_entry_by_its_certificate(serving, operator):
    lfdi = Lfdi("AA" * 20)
    (own,) = await registry.register(operator, serving, [registry.NewDevice(lfdi=lfdi, aggregates=PartyId("pooler"))])
    assert require_der(who(Role.AGGREGATOR, party="pooler", lfdi=lfdi), serving, Verb.SUBSCRIBE, own.der_id) == own
    for other in (who(Role.AGGREGATOR, party="pooler", lfdi=Lfdi("AB" * 20)), who(Role.AGGREGATOR, party="pooler")):
        with pytest.raises(Forbidden):
            require_der(other, serving, Verb.SUBSCRIBE, own.der_id)


def test_an_operator_reports_for_no_device(serving, der, operator):
    with pytest.raises(Forbidden):
        require_der(operator, serving, Verb.REPORT, der("pv-1").der_id)


async def test_who_stands_for_a_device_may_still_not_control_it(serving, der):
    device = who(Role.DEVICE, lfdi=serving.lfdi_of[der("pv-1").der_id])
    with pytest.raises(Forbidden, match="may not control"):
        require_der(device, serving, Verb.CONTROL, der("pv-1").der_id)
