"""What the device of a node that serves refuses, in its audit."""

import json

from structlog.testing import capture_logs

from tierline.model.errors import LinkError
from tierline.model.identity import ChannelId, DerId, Mrid
from tierline.model.programs import Response, ResponseStatus
from tierline.model.records import AuditRecord
from tierline.node.refused import RefusedEvents
from tierline.operations.serving import audit


def response(clock):
    return Response(
        mrid=Mrid("AB"),
        der_id=DerId("d"),
        lfdi=None,
        status=ResponseStatus.REJECTED_PARAMETER,
        created_at=clock.now(),
        channel=ChannelId("market"),
    )


async def test_a_refused_event_stands_in_the_audit_with_why(serving, operator, clock):
    await RefusedEvents(serving, operator).write(response(clock), "it has no such register")
    record = serving.store.load(AuditRecord)[-1]
    assert (record.principal, record.verb, record.resource, record.outcome) == ("ada", "control", "event AB", "refused")
    assert json.loads(record.detail) == {"channel": "market", "status": 252, "why": "it has no such register"}
    assert audit.faults(serving.store.load(AuditRecord)) == []


async def test_a_store_that_refuses_leaves_it_to_the_log(serving, operator, clock, monkeypatch):
    async def refuse(*_):
        raise LinkError("full")

    monkeypatch.setattr(type(serving), "commit", refuse)
    with capture_logs() as logs:
        await RefusedEvents(serving, operator).write(response(clock), "no")
    assert [(line["event"], line["mrid"], line["why"]) for line in logs] == [("refusal_not_in_audit", "AB", "full")]
