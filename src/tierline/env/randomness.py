"""Random numbers: from the operating system when they must not be guessed, from a seed when they must be repeated."""

from __future__ import annotations

import random


class SystemRandom:
    """Numbers nobody can guess, for ids, PINs, offsets and keys of a real node."""

    def __init__(self) -> None:
        self._source: random.Random = random.SystemRandom()

    def bits(self, n: int) -> int:
        """Draw `n` random bits: 0 <= result < 2**n."""
        return self._source.getrandbits(n)

    def below(self, n: int) -> int:
        """Draw a whole number 0 <= result < n."""
        if n < 1:
            raise ValueError(f"there is no whole number from 0 below {n}")
        # Own rejection sampling: the same numbers from one seed in every version of Python.
        width = (n - 1).bit_length()
        while (drawn := self._source.getrandbits(width)) >= n:
            pass
        return drawn

    def between(self, low: int, high: int) -> int:
        """Draw a whole number low <= result <= high."""
        if high < low:
            raise ValueError(f"there is no whole number between {low} and {high}")
        return low + self.below(high - low + 1)

    def fraction(self) -> float:
        """Draw a number 0 <= result < 1."""
        return self._source.random()


class SeededRandom(SystemRandom):
    """The same numbers for the same seed, in every process and under every PYTHONHASHSEED. Never for secrets."""

    def __init__(self, seed: int | str | bytes) -> None:
        # A str or bytes seed goes through SHA-512 inside `random`, never through hash().
        self._source = random.Random(seed)  # noqa: S311 - reproducible by intent
