"""Piecewise linear curves, one per unit, evaluated for the whole fleet in a handful of array operations.

The rule: a curve is set point by point through `adopt`, which precomputes the slopes; evaluation never divides.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_POINTS: Final = 10
"""The most points a curve may have; SunSpec models 705 and 706 leave the number to the device."""


class Curves:
    """One curve y(x) for each of n units; constant beyond its ends."""

    __slots__ = ("_filled", "n_points", "slope", "x", "y")

    def __init__(self, n: int, points: Sequence[tuple[float, float]]) -> None:
        self.x: NDArray[np.float64] = np.zeros((MAX_POINTS, n))
        """Abscissae in rising order, the last one repeated; shape (MAX_POINTS, n). Read only: use `adopt`."""
        self.y: NDArray[np.float64] = np.zeros((MAX_POINTS, n))
        """Ordinates, the last one repeated; shape (MAX_POINTS, n). Read only: use `adopt`."""
        self.slope: NDArray[np.float64] = np.zeros((MAX_POINTS - 1, n))
        """dy/dx of each segment, 0 where points coincide; shape (MAX_POINTS - 1, n)."""
        self.n_points: NDArray[np.int64] = np.zeros(n, dtype=np.int64)
        """Points in use per unit; shape (n,)."""
        self._filled = 0
        self.adopt(slice(None), points)

    def adopt(self, unit: int | slice | NDArray[np.int64], points: Sequence[tuple[float, float]]) -> None:
        """Give one unit, or several, a new curve.

        Raises: ConfigError for fewer than 2 or more than MAX_POINTS points, falling x, or a vertical step.
        """
        if not 2 <= len(points) <= MAX_POINTS:
            raise ConfigError(f"a curve has 2 to {MAX_POINTS} points, not {len(points)}")
        for (x0, y0), (x1, y1) in pairwise(points):
            if x1 < x0 or (x1 == x0 and y1 != y0):
                raise ConfigError(f"a curve runs from left to right without a step: ({x0}, {y0}) then ({x1}, {y1})")
        if not np.isfinite(points).all():
            raise ConfigError(f"a curve has finite points only, not {points}")
        padded = np.array([*points, *[points[-1]] * (MAX_POINTS - len(points))], dtype=np.float64)
        run, rise = np.diff(padded, axis=0).T
        self.x.T[unit] = padded[:, 0]
        self.y.T[unit] = padded[:, 1]
        self.slope.T[unit] = np.divide(rise, run, out=np.zeros_like(rise), where=run > 0)
        self.n_points[unit] = len(points)
        self._filled = int(self.n_points.max())

    def points(self, unit: int) -> tuple[tuple[float, float], ...]:
        """Return the curve of one unit as it was adopted."""
        used = int(self.n_points[unit])
        return tuple(zip(self.x[:used, unit].tolist(), self.y[:used, unit].tolist(), strict=True))

    def at(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return y for each unit's own x; shapes (n,)."""
        segments = self._filled - 1
        found: NDArray[np.float64] = self.y[0].copy()
        for k in range(segments):
            part = np.maximum(x, self.x[k])
            np.minimum(part, self.x[k + 1], out=part)
            part -= self.x[k]
            part *= self.slope[k]
            found += part
        return found
