"""What the sun gives to each unit at a time of the scenario's day, and what the loads take.

Measured hours are interpolated between their middles. The array model is that of PVWatts: tilted-plane irradiance, cell
temperature, a rated direct-current power, fixed losses. Times are seconds since midnight, local standard time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tierline.plant.service import Floats

FORMAT: Final = "tierline-weather-1"
"""The name and edition of the weather file format; another edition is refused."""

DAY_S: Final = 86_400.0

# PVWatts version 5 (Dobos, NREL/TP-6A20-62641): premium module, standard losses, nominal inverter efficiency.
_PER_KELVIN: Final = -0.0035
_KEPT: Final = (1 - 0.14) * 0.96
_ALBEDO: Final = 0.2
# Nominal operating cell temperature: 45 degrees C at 800 W/m2 and 20 degrees C.
_KELVIN_PER_W_M2: Final = (45.0 - 20.0) / 800.0

_MIDDLES_S: Final = (np.arange(24) + 0.5) * 3600.0
"""TMY3 stamps an hour with its end; the mean belongs to its middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """24 hours of one day; entry k is the mean from k to k + 1 o'clock."""

    month: int
    day: int
    about: str
    """What kind of day it is."""
    ghi_w_m2: tuple[float, ...]
    """Global horizontal irradiance."""
    dni_w_m2: tuple[float, ...]
    """Direct normal irradiance."""
    dhi_w_m2: tuple[float, ...]
    """Diffuse horizontal irradiance."""
    temperature_c: tuple[float, ...]
    """Air temperature."""

    @property
    def number(self) -> int:
        """Day of a year without a leap day, 1 .. 365."""
        return sum((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[: self.month - 1]) + self.day


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Days of one place."""

    place: str
    source: str
    licence: str
    latitude: float
    """Degrees north."""
    longitude: float
    """Degrees east."""
    utc_offset_h: float
    """Local standard time minus UTC [h]."""
    days: Mapping[str, Day]

    @staticmethod
    def from_json(text: str) -> Weather:
        """Read a weather file.

        Raises: ConfigError naming what is missing, unknown or of the wrong length.
        """
        return _read(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """Irradiance, temperature and where the sun stands."""

    ghi_w_m2: float
    dni_w_m2: float
    dhi_w_m2: float
    temperature_c: float
    sun: NDArray[np.float64]
    """Unit vector towards the sun: east, north, up; shape (3,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """The photovoltaic arrays behind the units."""

    dc_w: Floats
    """Rated direct-current power at 1000 W/m2 and 25 degrees C [W]; shape (n,)."""
    normal: NDArray[np.float64]
    """Unit vectors of the planes: east, north, up; shape (n, 3)."""

    @classmethod
    def varied(cls, w_max_w: Floats, draws: NDArray[np.float64], *, dc_ac_ratio: float) -> Arrays:
        """Return arrays that differ by roof: tilt 10 .. 30 degrees, azimuth 150 .. 210 degrees, +-5 % of size.

        Units: draws in [0, 1), shape (3, n); dc_ac_ratio of rated direct-current to alternating-current power.
        """
        tilt, azimuth = np.radians(10.0 + 20.0 * draws[0]), np.radians(150.0 + 60.0 * draws[1])
        flat = np.sin(tilt)
        return cls(
            dc_w=w_max_w * dc_ac_ratio * (0.95 + 0.1 * draws[2]),
            normal=np.stack([flat * np.sin(azimuth), flat * np.cos(azimuth), np.cos(tilt)], axis=1),
        )


def sky(weather: Weather, day: str, now_s: float) -> Sky:
    """Return the sky over the place at a time of that day; later days repeat it.

    Raises: ConfigError for a day the file does not have.
    """
    hours = weather.days.get(day)
    if hours is None:
        raise ConfigError(f"weather of {weather.place} has no day {day!r}; it has {', '.join(weather.days)}")
    return Sky(
        ghi_w_m2=_between(now_s, hours.ghi_w_m2),
        dni_w_m2=_between(now_s, hours.dni_w_m2),
        dhi_w_m2=_between(now_s, hours.dhi_w_m2),
        temperature_c=_between(now_s, hours.temperature_c),
        sun=_sun(weather, hours.number, now_s),
    )


def available_w(now: Sky, arrays: Arrays) -> Floats:
    """Return the power each unit could deliver [W], before its inverter limits it; shape (n,)."""
    up = arrays.normal[:, 2]
    risen = now.sun[2] > 0
    direct = np.maximum(arrays.normal @ now.sun, 0.0) * (now.dni_w_m2 * risen)
    plane = direct + (0.5 * now.dhi_w_m2) * (1.0 + up) + (0.5 * _ALBEDO * now.ghi_w_m2) * (1.0 - up)
    cell_c = now.temperature_c + _KELVIN_PER_W_M2 * plane
    found: Floats = arrays.dc_w * (plane / 1000.0) * (1.0 + _PER_KELVIN * (cell_c - 25.0)) * _KEPT
    return found


def load_share(profile: Sequence[float], now_s: float) -> float:
    """Return the share of their peak that the loads take; `profile` holds the means of 24 hours."""
    return _between(now_s, profile)


def _between(now_s: float, hours: Sequence[float]) -> float:
    return float(np.interp(now_s % DAY_S, _MIDDLES_S, hours, period=DAY_S))


def _sun(weather: Weather, number: int, now_s: float) -> NDArray[np.float64]:
    """Return where the sun stands: declination after Cooper (1969), equation of time after Spencer's short form."""
    declination = math.radians(23.45) * math.sin(2 * math.pi * (284 + number) / 365)
    b = 2 * math.pi * (number - 81) / 364
    equation_min = 9.87 * math.sin(2 * b) - 7.53 * math.cos(b) - 1.5 * math.sin(b)
    solar_h = now_s % DAY_S / 3600 + (4 * (weather.longitude - 15 * weather.utc_offset_h) + equation_min) / 60
    hour_angle = math.radians(15 * (solar_h - 12))
    latitude = math.radians(weather.latitude)
    return np.array(
        [
            -math.cos(declination) * math.sin(hour_angle),
            math.cos(latitude) * math.sin(declination)
            - math.sin(latitude) * math.cos(declination) * math.cos(hour_angle),
            math.sin(latitude) * math.sin(declination)
            + math.cos(latitude) * math.cos(declination) * math.cos(hour_angle),
        ]
    )


_HEAD: Final = {
    "place": str,
    "source": str,
    "licence": str,
    "latitude": float,
    "longitude": float,
    "utc_offset_h": float,
}
_HOURS: Final = ("ghi_w_m2", "dni_w_m2", "dhi_w_m2", "temperature_c")


def _read(text: str) -> Weather:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"weather file: not JSON: {error}") from error
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise ConfigError(f'weather file: key "format" must be "{FORMAT}"')
    _exact_keys(data, {*_HEAD, "days"}, "weather file")
    for key, kind in _HEAD.items():
        if not isinstance(data[key], kind if kind is str else (int, float)):
            raise ConfigError(f"weather file: {key} must be a {'text' if kind is str else 'number'}, not {data[key]!r}")
    if not isinstance(data["days"], dict) or not data["days"]:
        raise ConfigError("weather file: days must be an object with at least one day")
    days = {key: _read_day(row, f"weather file: day {key!r}") for key, row in data.pop("days").items()}
    return Weather(**data, days=days)


def _read_day(row: object, where: str) -> Day:
    if not isinstance(row, dict):
        raise ConfigError(f"{where} must be an object")
    _exact_keys(row, {"month", "day", "about", *_HOURS}, where)
    for key in _HOURS:
        hours = row[key]
        if not isinstance(hours, list) or len(hours) != 24 or not all(isinstance(x, int | float) for x in hours):
            raise ConfigError(f"{where}: {key} must be 24 numbers")
        row[key] = tuple(float(x) for x in hours)
    if row["month"] not in range(1, 13) or row["day"] not in range(1, 32):
        raise ConfigError(f"{where}: month {row['month']!r} and day {row['day']!r} are no date")
    return Day(**row)


def _exact_keys(data: dict[str, Any], keys: set[str], where: str) -> None:  # Any: JSON values before they are checked
    if missing := sorted(keys - set(data)):
        raise ConfigError(f"{where}: key {missing[0]!r} is missing")
    if unknown := sorted(set(data) - keys):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}")
