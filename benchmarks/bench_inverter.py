"""How much faster one DER step of our fleet is than one of OpenDER, measured in interleaved rounds.

Run: python benchmarks/bench_inverter.py [units]
"""

from __future__ import annotations

import logging
import statistics
import sys
import time

import numpy as np
import opender

from tierline.plant.inverter import Fleet, Nameplate, step


def ratio_to_opender(units: int = 10_000, rounds: int = 7, seconds: float = 0.2) -> tuple[float, float, float]:
    """Return (OpenDER time / our time, our seconds, their seconds) per DER step; medians over interleaved rounds."""
    logging.disable(logging.WARNING)
    opender.DER.t_s = 1.0
    other = opender.DER_PV(NP_V_DC=1000, QV_MODE_ENABLE=True, AP_LIMIT_ENABLE=True, AP_LIMIT=0.8)
    fleet = Fleet.of(Nameplate.of(np.full(units, 100e3)))
    fleet.settings.vv_ena[:] = True
    fleet.settings.w_max_lim_pct_ena[:] = True
    fleet.settings.w_max_lim_pct[:] = 80.0
    v = np.linspace(0.95, 1.07, units)
    sun = np.full(units, 90e3)

    def ours() -> None:
        step(fleet, v, 60.0, sun, 1.0)

    def theirs() -> None:
        other.update_der_input(v_pu=1.05, f=60.0, p_dc_kw=90.0)
        other.run()

    def per_call(function) -> float:
        calls, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            function()
            calls += 1
        return spent / calls

    per_call(ours), per_call(theirs)
    pairs = [(per_call(ours) / units, per_call(theirs)) for _ in range(rounds)]
    mine, other_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    return statistics.median(b / a for a, b in pairs), mine, other_s


def main() -> dict[str, dict[str, float]]:
    """Print the table and return it."""
    results = {}
    for n in [int(a) for a in sys.argv[1:]] or [153, 1_000, 10_000]:
        ratio, mine, other_s = ratio_to_opender(n)
        print(f"{n:6d} units: {mine * 1e6:.4f} us per DER step, OpenDER {other_s * 1e6:.1f} us, ratio {ratio:,.0f}")
        results[f"{n} units"] = {"us per DER step": mine * 1e6, "OpenDER, us": other_s * 1e6, "ratio": ratio}
    return results


if __name__ == "__main__":
    main()
