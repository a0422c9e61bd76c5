"""The first order lag behind every open loop response time of IEEE 1547."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tierline.plant.service import Floats


def lag(now: Floats, before: Floats, out: Floats, response_s: Floats, dt_s: float) -> Floats:
    """Return a first order lag of which 90 % show after the response time (bilinear, 2.3 time constants = 90 %).

    Units: `now` and `before` are the input of this step and the last, `out` the last output; shapes (n,). A response
    time below 1.15 dt_s acts at once.
    """
    double_tau = response_s * (1.0 / 1.15)
    np.maximum(double_tau, dt_s, out=double_tau)  # faster than the step the bilinear form would swing
    total = double_tau + dt_s
    found = now + before
    found *= dt_s
    double_tau -= dt_s
    double_tau *= out
    found += double_tau
    found /= total
    np.copyto(found, now, where=response_s < 1.15 * dt_s)
    return found
