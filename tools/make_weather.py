"""Make src/tierline/scenario/data/greensboro.json: a few days out of the TMY3 year that pvlib ships.

Needs pvlib, for its data file only: `python tools/make_weather.py` in an environment that has it.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src/tierline/scenario/data/greensboro.json"
FILE = "723170TYA.CSV"
DAYS = {
    "june-sunny": ("06/30", "the June day with the most sun"),
    "june-cloudy": ("06/04", "a June day of middling sun, with passing clouds"),
    "june-dull": ("06/16", "the darkest June day"),
    "january-sunny": ("01/29", "the January day with the most direct sun"),
}
COLUMNS = {
    "ghi_w_m2": "GHI (W/m^2)",
    "dni_w_m2": "DNI (W/m^2)",
    "dhi_w_m2": "DHI (W/m^2)",
    "temperature_c": "Dry-bulb (C)",
}


def make_weather() -> dict[str, object]:
    import pvlib

    path = Path(pvlib.__file__).parent / "data" / FILE
    with path.open(newline="", encoding="ascii") as file:
        station, name, state, offset, latitude, longitude, _ = next(reader := csv.reader(file))
        header = next(reader)
        rows = [dict(zip(header, row, strict=True)) for row in reader]
    days = {}
    for key, (date, about) in DAYS.items():
        hours = [row for row in rows if row["Date (MM/DD/YYYY)"].startswith(date)]
        assert len(hours) == 24
        columns = {to: [json.loads(row[column].lstrip("+")) for row in hours] for to, column in COLUMNS.items()}
        days[key] = {"month": int(date[:2]), "day": int(date[3:]), "about": about, **columns}
    return {
        "format": "tierline-weather-1",
        "place": f"{name.title()}, {state}",
        "source": (
            f"Typical Meteorological Year 3, station {station}, National Solar Radiation Data Base (NREL); "
            f"file {FILE} as shipped with pvlib {pvlib.__version__}"
        ),
        "licence": "data of the United States government, not under copyright there; pvlib: BSD-3-Clause",
        "latitude": float(latitude),
        "longitude": float(longitude),
        "utc_offset_h": float(offset),
        "days": days,
    }


if __name__ == "__main__":
    weather = make_weather()
    days = weather.pop("days")
    head = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in weather.items())
    body = ",\n".join(
        f"{json.dumps(k)}: {{\n" + ",\n".join(f" {json.dumps(a)}: {json.dumps(b)}" for a, b in day.items()) + "}"
        for k, day in days.items()
    )
    TARGET.write_text("{\n" + head + ',\n"days": {\n' + body + "}\n}\n", encoding="utf-8")
    print(f"{TARGET}: {len(days)} days, {TARGET.stat().st_size} bytes")
