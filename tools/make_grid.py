"""Make src/tierline/scenario/data/oberrhein.json from the network `mv_oberrhein` of pandapower.

Needs pandapower, which tierline itself does not: `python tools/make_grid.py` in an environment that has it.
The file keeps the network as it is built, at its peak load and full PV rating; scenarios scale it.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from tierline.model.topology import (
    Feeder,
    Grid,
    Line,
    Load,
    Node,
    ServicePoint,
    Source,
    Switch,
    SwitchKind,
    Transformer,
)

TARGET = Path(__file__).parents[1] / "src/tierline/scenario/data/oberrhein.json"


def number(value: float, digits: int = 6) -> Decimal:
    """Round to so many decimals and drop trailing zeros, so that the file stays small."""
    text = f"{value:.{digits}f}"
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def bus(index: object) -> str:
    return f"bus_{index:03d}"


def line(index: object) -> str:
    return f"line_{index:03d}"


def make_grid() -> Grid:
    import pandapower
    from pandapower.networks import mv_oberrhein

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = mv_oberrhein(scenario="generation")  # taps in neutral position; loads and PV are taken unscaled
    places = {index: json.loads(geo)["coordinates"] for index, geo in net.bus.geo.items()}
    assert set(net.switch.et) == {"l"}
    assert net.bus.in_service.all()
    assert net.line.in_service.all()
    assert set(net.line.parallel) == {1}
    lower = {row.lv_bus: f"trafo_{index}" for index, row in net.trafo.iterrows()}
    heads = net.switch[net.switch.type == "CB"]
    return Grid(
        name="oberrhein",
        source=f"pandapower {pandapower.__version__}, network mv_oberrhein: a generic German 20 kV network",
        licence=(
            "BSD-3-Clause; Copyright (c) 2016-2026 University of Kassel, Fraunhofer Institute for Energy Economics "
            "and Energy System Technology (IEE) Kassel, and individual contributors; text in LICENSE-pandapower.txt"
        ),
        nodes=tuple(
            Node(id=bus(i), kv=number(r.vn_kv), x=number(places[i][0]), y=number(places[i][1]))
            for i, r in net.bus.sort_index().iterrows()
        ),
        lines=tuple(
            Line(
                id=line(i),
                from_node=bus(r.from_bus),
                to_node=bus(r.to_bus),
                length_km=number(r.length_km),
                r_ohm_per_km=number(r.r_ohm_per_km),
                x_ohm_per_km=number(r.x_ohm_per_km),
                c_nf_per_km=number(r.c_nf_per_km),
                i_max_a=number(r.max_i_ka * 1000, 3),
            )
            for i, r in net.line.sort_index().iterrows()
        ),
        transformers=tuple(
            Transformer(
                id=f"trafo_{i}",
                hv_node=bus(r.hv_bus),
                lv_node=bus(r.lv_bus),
                sn_mva=number(r.sn_mva),
                hv_kv=number(r.vn_hv_kv),
                lv_kv=number(r.vn_lv_kv),
                vk_percent=number(r.vk_percent),
                vkr_percent=number(r.vkr_percent),
                pfe_kw=number(r.pfe_kw),
                i0_percent=number(r.i0_percent),
                shift_degree=number(r.shift_degree),
                tap_position=int(r.tap_pos),
                tap_neutral=int(r.tap_neutral),
                tap_min=int(r.tap_min),
                tap_max=int(r.tap_max),
                tap_step_percent=number(r.tap_step_percent),
            )
            for i, r in net.trafo.sort_index().iterrows()
        ),
        switches=tuple(
            Switch(
                id=int(i),
                node=bus(r.bus),
                element=line(r.element),
                kind=SwitchKind.BREAKER if r.type == "CB" else SwitchKind.SECTIONALISER if r.closed else SwitchKind.TIE,
                closed=bool(r.closed),
                normally_open=not r.closed,
            )
            for i, r in net.switch.sort_index().iterrows()
        ),
        sources=tuple(
            Source(id=f"source_{i}", node=bus(r.bus), u_pu=number(r.vm_pu))
            for i, r in net.ext_grid.sort_index().iterrows()
        ),
        loads=tuple(
            Load(
                id=f"load_{i:03d}",
                node=bus(r.bus),
                p_w=number(r.p_mw * 1e6, 1),
                q_var=number(r.p_mw * 1e6 * math.tan(math.acos(0.98)), 1),  # the network's own cos phi
            )
            for i, r in net.load.sort_index().iterrows()
        ),
        service_points=tuple(
            ServicePoint(id=f"pv_{i:03d}", node=bus(r.bus), p_w=number(r.p_mw * 1e6, 1))
            for i, r in net.sgen.sort_index().iterrows()
        ),
        feeders=tuple(
            Feeder(
                id=f"feeder-{number_}",
                transformer=lower[head.bus],
                node=bus(head.bus),
                branch=line(head.element),
                breaker=int(index),
            )
            for number_, (index, head) in enumerate(heads.sort_values(["bus", "element"]).iterrows(), start=1)
        ),
    )


if __name__ == "__main__":
    grid = make_grid()
    TARGET.write_text(grid.to_json(), encoding="utf-8")
    assert Grid.from_json(TARGET.read_text(encoding="utf-8")) == grid
    print(f"{TARGET}: {len(grid.nodes)} nodes, {TARGET.stat().st_size} bytes")
