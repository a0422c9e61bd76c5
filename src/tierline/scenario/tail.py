"""Files of JSON lines that others are writing: what is new is read, a line that is not complete yet is left for later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_MOST: Final = 4 * 1024 * 1024
"""Bytes of one look."""


class Tail:
    """One file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:  # Any: whatever JSON holds
        """Give the objects that were added; lines that are no JSON objects are left out, a missing file is empty."""
        return [found for line in self._lines() if (found := _object(line)) is not None]

    def _lines(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read(_MOST)
        except FileNotFoundError:
            return []
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def all(self) -> list[dict[str, Any]]:  # Any: as above
        """Give the objects of the whole rest of the file."""
        found: list[dict[str, Any]] = []
        while lines := self._lines():
            found += [each for line in lines if (each := _object(line)) is not None]
        return found


def _object(line: bytes) -> dict[str, Any] | None:  # Any: as above
    if not line.startswith(b"{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
