import json
from datetime import UTC, datetime

import pytest

from tierline.model.identity import DerId, Lfdi, Mrid, PartyId
from tierline.model.records import AuditRecord, IdentityRecord, ReadingRecord
from tierline.model.telemetry import Reading
from tierline.scenario.evidence import Steps, devices_of, write_evidence
from tierline.storage.sqlite import Database

NOW = datetime(2026, 6, 30, 16, tzinfo=UTC)
PARTY = PartyId("utility")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
async def folder(plan, tmp_path):
    plan.database(plan.head).parent.mkdir(exist_ok=True)
    plan.journal.write_text('{"kind":"start","t":1}\n')
    plan.replay.write_text('{"kind":"start","t":1}\n')
    heard = {"event": "response_received", "t": 5.5, "lfdi": "A", "peer": "B", "mrid": "M", "status": 1, "created_t": 5}
    log = [heard, {"event": "ready"}, {**heard, "created_t": None, "status": 2}]
    plan.log("utility").write_text("".join(json.dumps(line) + "\n" for line in log))
    gateway = plan.gateways[0]
    entries = [{"function": "max_lim_w_pct", "channel": "utility", "binding": True}]
    explained = {"event": "explained", "t": 7.5, "lfdi": gateway.lfdi, "entries": entries}
    plan.log(gateway.process).write_text(json.dumps(explained) + "\n")
    sent = plan.folder / gateway.process / f"{gateway.name}.sent.jsonl"
    sent.parent.mkdir(exist_ok=True)
    sent.write_text(json.dumps({"t": 8.5, "peer": "F", "what": "PUT /x", "body": "<a/>"}) + "\n")
    database = Database(str(plan.database(plan.head)))
    store = database.store("utility")
    der, lfdi = DerId("0123456789abc"), Lfdi("A" * 40)
    readings = [
        ReadingRecord(
            party=PARTY, meter_reading=Mrid("0" * 32), received_at=NOW.replace(second=received),
            reading=Reading(der_id=der, point="w", value=12, power_of_ten=2, time=NOW.replace(second=taken)),
        )
        for received, taken in ((30, 10), (20, 5), (20, 4))
    ]  # fmt: skip
    audit = AuditRecord(
        party=PARTY, sequence=1, time=NOW, principal="olive", verb="create", resource="control", outcome="done",
        detail='{"a":1}', previous_sha256="0" * 64, sha256="1" * 64,
    )  # fmt: skip
    identity = IdentityRecord(party=PARTY, der_id=der, lfdi=lfdi, valid_from=NOW)
    await store.commit([*readings, audit, identity])
    database.close()
    steps = Steps()
    steps.note("ready", NOW)
    steps.note("cut", NOW, check="", lfdis=["A"])
    out = tmp_path / "evidence"
    out.mkdir()
    (out / "verdict.json").write_text("of an earlier run")
    write_evidence(out, plan, steps, {"devices": devices_of(plan, 1)})
    return out


def test_all_files_are_there_and_no_verdict(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "audit.jsonl", "canaries.json", "explanations.jsonl", "journal.jsonl", "logs", "manifest.json",
        "messages.jsonl", "readings.jsonl", "replay.jsonl", "responses.jsonl", "steps.jsonl",
    ]  # fmt: skip


def test_responses_are_those_of_the_log(folder):
    first, second = lines(folder / "responses.jsonl")
    assert first == {"t": 5.5, "lfdi": "A", "peer": "B", "mrid": "M", "status": 1, "created_t": 5}
    assert second["created_t"] == 5.5


def test_readings_stand_in_the_order_they_were_stored_and_are_scaled(folder):
    found = lines(folder / "readings.jsonl")
    assert [line["t"] - NOW.timestamp() for line in found] == [4, 5, 10]
    assert found[0] == {
        "received_t": NOW.timestamp() + 20, "lfdi": "A" * 40, "point": "w", "t": NOW.timestamp() + 4, "duration_s": 0,
        "value": 1200.0,
    }  # fmt: skip


def test_the_audit_keeps_the_very_text_that_was_hashed(folder):
    (line,) = lines(folder / "audit.jsonl")
    assert line["detail"] == '{"a":1}'
    assert line["time"] == NOW.isoformat()


def test_steps_leave_out_a_check_that_is_none(folder):
    assert lines(folder / "steps.jsonl") == [
        {"kind": "ready", "t": NOW.timestamp()},
        {"kind": "cut", "t": NOW.timestamp(), "lfdis": ["A"]},
    ]


def test_devices_are_listed_with_what_they_are_rated(folder):
    devices = json.loads((folder / "manifest.json").read_text())["devices"]
    assert len(devices) == 8
    assert devices[0]["service_point"] == "pv_000"
    assert devices[0]["rating_w"] == 122_150
    assert devices[0]["unit"] == 1


def test_explanations_say_who_speaks(folder, plan):
    (line,) = lines(folder / "explanations.jsonl")
    assert (line["t"], line["lfdi"]) == (7.5, plan.gateways[0].lfdi)
    assert line["entries"][0]["party"] == "utility"


def test_messages_say_who_sent_them_to_whom(folder, plan):
    assert lines(folder / "messages.jsonl") == [
        {"node": plan.gateways[0].name, "party": "owners", "t": 8.5, "peer": "F", "what": "PUT /x", "body": "<a/>"}
    ]


def test_canaries_say_who_may_hold_them(folder):
    found = {one["text"]: one["may"] for one in json.loads((folder / "canaries.json").read_text())}
    assert found["feeder-3"] == found["pv_000"] == ["utility", "owners"]
    assert found["canary-reason-of-utility"] == ["utility"]
