"""Routes of the network."""

TIE = {"closed": {"2": False, "3": True}}
"""Opens the second half of feeder-2 and feeds it from feeder-1."""


async def test_the_grid_shows_who_hangs_where(api):
    found = (await api.get("/grid")).json()
    assert (found["name"], found["nodes"], found["service_points"]) == ("two feeders", 6, 4)
    assert [(one["id"], one["members"], one["rating_w"]) for one in found["feeders"]] == [
        ("feeder-1", 2, 30_000),
        ("feeder-2", 2, 70_000),
    ]
    assert found["switches"] == (await api.get("/switches")).json()["switches"]


async def test_a_switching_preview_moves_nobody(api, serving):
    found = (await api.post("/switches/preview", json=TIE)).json()
    assert found["done"] is False
    (move,) = found["moves"]
    assert (move["service_point"], move["leaves"], move["joins"]) == ("pv-4", ["feeder-2"], ["feeder-1"])
    assert not serving.switches[3]


async def test_a_switching_preview_shows_which_events_are_left_and_joined(api):
    for group, value in (("feeder-1", 50), ("feeder-2", 40), ("system", 90)):
        body = {"group": group, "setpoints": {"max_lim_w_pct": value}, "duration_s": 900}
        await api.post("/controls", json=body)
    gone = (
        await api.post("/controls", json={"group": "feeder-2", "setpoints": {"connect": False}, "duration_s": 60})
    ).json()
    await api.post(f"/controls/{gone['control']['mrid']}/cancel", json={})
    found = (await api.post("/switches/preview", json=TIE)).json()["events"]
    touched = {one["group"]: (one["leave"], one["join"], one["setpoints"]) for one in found}
    assert touched == {
        "feeder-2": (1, 0, {"max_lim_w_pct": 40}),
        "feeder-1": (0, 1, {"max_lim_w_pct": 50}),
    }


async def test_confirmed_switching_moves_members_and_controls(api):
    await api.post("/controls", json={"group": "feeder-1", "setpoints": {"connect": False}, "duration_s": 900})
    found = (await api.post("/switches", json=TIE)).json()
    assert found["done"] is True
    assert [one["service_point"] for one in found["moves"]] == ["pv-4"]
    assert (await api.get("/groups/feeder-1/members")).json()["members"][-1][
        "cause"
    ] == "switch 2 opened, switch 3 closed"
    assert (await api.get("/controls")).json()["controls"][0]["members"] == 3
    stands = {one["id"]: one["closed"] for one in (await api.get("/switches")).json()["switches"]}
    assert stands == {1: True, 2: False, 3: True}
    again = await api.post("/switches", json=TIE)
    assert again.status_code == 409


async def test_a_switch_that_is_not_there_is_refused(api):
    for path in ("/switches", "/switches/preview"):
        answer = await api.post(path, json={"closed": {"99": True}})
        assert answer.status_code == 422
        assert "no switch 99" in answer.json()["error"]["message"]


async def test_a_node_without_a_grid_says_so(api, serving):
    serving.grid = None
    assert (await api.get("/switches")).json() == {"switches": []}
    for method, path in (("GET", "/grid"), ("POST", "/switches"), ("POST", "/switches/preview")):
        answer = await api.request(method, path, json=None if method == "GET" else TIE)
        assert answer.status_code == 422
        assert "no grid" in answer.json()["error"]["message"]
    assert (await api.get("/status")).json()["grid"] is None
