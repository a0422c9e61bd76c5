"""Routes of the node itself, the audit and the tokens."""

from dataclasses import replace

from tierline.model.records import AuditRecord


async def test_the_status_says_how_the_node_is(api, serving, der, clock, health):
    serving.last_seen[der("pv-1").der_id] = clock.now().timestamp()
    serving.last_seen[der("pv-2").der_id] = clock.now().timestamp() - 1300
    created = await api.post("/controls", json={"group": "sub-1", "setpoints": {"connect": False}, "duration_s": 60})
    found = (await api.get("/status")).json()
    assert (found["node"], found["level"], found["party"], found["grid"]) == ("utility", 4, "utility", "two feeders")
    assert (found["devices"], found["devices_seen"], found["speed"]) == (4, 1, 60)
    assert found["active_controls"] == [created.json()["control"]["mrid"]]
    assert (found["you"], found["role"], found["ready"]) == ("operator", "operator", True)
    clock.move(minutes=5)
    health.serving.trouble = "full"
    later = (await api.get("/status")).json()
    assert (later["active_controls"], later["ready"], later["unready"]) == ([], False, {"store": "full"})


async def test_the_audit_shows_who_did_what(api):
    await api.post("/devices/pv-1/disable")
    lines = (await api.get("/audit")).json()["lines"]
    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    assert (lines[-1]["principal"], lines[-1]["verb"], lines[-1]["outcome"]) == ("operator", "disable", "done")
    last = (await api.get("/audit", params={"limit": 1})).json()["lines"]
    assert last == lines[-1:]
    after = (await api.get("/audit", params={"after": 1, "limit": 1})).json()["lines"]
    assert after == lines[1:2]


async def test_the_audit_is_verified(api, serving):
    whole = (await api.get("/audit/verify")).json()
    assert (whole["whole"], whole["faults"]) == (True, [])
    assert whole["last_sha256"] == serving.audit_tail.sha256
    line = serving.store.load(AuditRecord)[0]
    await serving.store.commit([replace(line, principal="nobody")])
    broken = (await api.get("/audit/verify")).json()
    assert (broken["whole"], broken["faults"]) == (False, ["record 1 was changed"])


async def test_tokens_are_made_and_revoked(api):
    made = await api.post("/tokens", json={"name": "eve", "role": "operator"})
    assert made.status_code == 201
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    assert (await api.get("/status", headers=headers)).json()["you"] == "eve"
    listed = (await api.get("/tokens")).json()["tokens"]
    assert [(one["name"], one["role"]) for one in listed] == [("eve", "operator"), ("operator", "operator")]
    assert made.json()["token"] not in (await api.get("/tokens")).text
    assert (await api.delete("/tokens/eve")).json()["revoked_at"] == "2026-06-18T12:00:00Z"
    assert (await api.get("/status", headers=headers)).status_code == 401
    assert (await api.delete("/tokens/eve")).status_code == 404
    assert (await api.delete("/tokens/operator")).status_code == 409


async def test_a_token_is_for_operators_and_viewers_only(api):
    answer = await api.post("/tokens", json={"name": "eve", "role": "device"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        422,
        "a token is for operator or viewer, not for 'device'",
    )
