"""Routes of groups."""

import pytest

from tierline.model.records import GroupRecord
from tierline.model.topology import Group, Tier
from tierline.operations.serving.fleet_programs import FleetPrograms
from tierline.operations.serving.topology import find_group


async def test_a_group_is_made_shown_renamed_and_deleted(api):
    made = await api.post("/groups", json={"name": "pilot"})
    assert made.status_code == 201
    group = made.json()
    assert (group["name"], group["tier"], group["members"], group["primacy"]) == ("pilot", "non_topology", 0, 140)
    assert (await api.get("/groups/pilot")).json() == group
    renamed = (await api.put("/groups/pilot", json={"name": "pilot 2"})).json()
    assert renamed == group | {"name": "pilot 2"}
    assert (await api.delete("/groups/pilot%202")).json() == renamed
    assert (await api.get("/groups/pilot%202")).status_code == 404
    assert (await api.delete("/groups/pilot%202")).status_code == 404


async def test_members_come_and_go(api):
    await api.post("/groups", json={"name": "pilot"})
    joined = (
        await api.post("/groups/pilot/members", json={"devices": ["pv-1", "pv-3"], "reason": "contract 7"})
    ).json()
    assert [(one["service_point"], one["cause"]) for one in joined["members"]] == [
        ("pv-1", "contract 7"),
        ("pv-3", "contract 7"),
    ]
    left = (await api.post("/groups/pilot/members/remove", json={"devices": ["pv-1"]})).json()
    assert left == (await api.get("/groups/pilot/members")).json()
    assert [one["service_point"] for one in left["members"]] == ["pv-3"]
    assert (await api.post("/groups/pilot/members", json={"devices": ["moon"]})).status_code == 404


async def test_a_group_of_a_party_holds_those_it_manages(api):
    new = {"devices": [{"lfdi": "E1" * 20, "managed_by": "sunny"}]}
    await api.post("/devices", json=new)
    group = (await api.post("/groups", json={"name": "sunny's", "party": "sunny"})).json()
    assert (group["element"], group["members"]) == ("party:sunny", 1)
    everybody = (await api.post("/groups", json={"name": "all", "everybody": True})).json()
    assert everybody["members"] == 5


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/groups", {"name": "feeder-1"}, 409),
        ("POST", "/groups", {"name": ""}, 422),
        ("PUT", "/groups/feeder-1", {"name": "mine"}, 422),
        ("DELETE", "/groups/feeder-1", None, 422),
        ("POST", "/groups/feeder-1/members", {"devices": ["pv-1"]}, 422),
    ],
)
async def test_what_cannot_be_is_refused(api, method, path, body, status):
    assert (await api.request(method, path, json=body)).status_code == status


async def test_groups_of_single_ders_of_a_fleet_are_listed_when_asked_for(api, serving, der):
    system = find_group(serving, "system").group.id
    await FleetPrograms(serving, system).make([der("pv-1").der_id], in_common=True)
    listed = (await api.get("/groups")).json()["groups"]
    assert all(group["parent"] != "two feeders" or group["tier"] != "non_topology" for group in listed)
    more = (await api.get("/groups", params={"of_fleets": True})).json()["groups"]
    assert len(more) == len(listed) + 1
    programs = (await api.get("/programs")).json()["programs"]
    assert len((await api.get("/programs", params={"of_fleets": True})).json()["programs"]) == len(programs) + 1


@pytest.mark.parametrize("of_fleets", [False, True])
async def test_groups_of_relayed_tariffs_are_not_listed_as_nobody_can_use_them(api, serving, clock, of_fleets):
    before = (await api.get("/groups", params={"of_fleets": of_fleets})).json()
    group = Group(id="relayed", tier=Tier.NON_TOPOLOGY, name="relayed tariff a1", element=f"tariff:{'A' * 32}")
    await serving.commit([GroupRecord(party=serving.party, group=group, created_at=clock.now())])
    assert (await api.get("/groups", params={"of_fleets": of_fleets})).json() == before
    assert (await api.get("/groups/relayed/members")).json()["members"] == []
    shown = await api.get("/groups/relayed")
    assert (shown.status_code, "there is no group" in shown.text) == (422, True)
