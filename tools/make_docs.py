"""Write the reference pages that follow from the tables of tierline, so that they cannot drift from the program.

    python tools/make_docs.py           write docs/reference/*.md and the generated part of README.md
    python tools/make_docs.py --check   write nothing; fail when a page is not current

A protocol is added by one line in SOURCES.
"""

import argparse
import ast
import importlib
import importlib.util
import re
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from tierline.model.defaults import DEFAULTS, Category, DefaultRow, Number, Profile
from tierline.model.functions import FUNCTIONS, FunctionRow, Kind, Merge, Quantity, Rule21Phase, Unit
from tierline.model.points import POINTS, Label, PointKind, PointRow, State
from tierline.model.profiles import NAMES, confirmable, default_set, to_apply
from tierline.model.telemetry import Phase
from tierline.node import config
from tierline.scenario import hierarchy, script

ROOT = Path(__file__).resolve().parents[1]
CSIP_TESTS = ROOT / "tests" / "csip"
BEGIN, END = "<!-- generated: support -->", "<!-- end -->"
NOTICE = "<!-- Written by tools/make_docs.py from the tables of the program; change those. -->"


def named(module: ModuleType) -> Mapping[str, str]:
    """Read a mapping that is a table of names already."""
    table: Mapping[str, str] = module.MAPPING
    return table


def readings(module: ModuleType) -> Mapping[str, str]:
    """Read the points that are mirrored: their unit of measure and phase."""
    return {
        row.point: f"ReadingType uom {row.uom}" + (f", phase {int(row.phase)}" if row.phase else "")
        for row in module.POINT_TYPES
    }


def sunspec(module: ModuleType) -> Mapping[str, str]:
    """Read the rows of SunSpec: the model's number and where in it the value stands."""
    found: dict[str, list[str]] = {}
    for table in (module.FUNCTIONS, module.MEASUREMENTS, module.NAMEPLATE, module.SETTINGS):
        for row in table:
            where = next((place for place in _places(row) if place), "Ctl" if row.name == "freq_droop" else "Crv")
            found.setdefault(row.name, []).append(f"{row.model_id}.{where}")
    for row in module.ALARMS:
        found.setdefault(row.name, []).append(f"bit {row.bit}" if row.name in found else f"701.Alrm bit {row.bit}")
    return {name: ", ".join(places) for name, places in found.items()}


def _places(row: Any) -> Iterator[str]:  # Any: rows of several classes, told apart by the fields they have
    yield getattr(row, "path", "")
    yield getattr(row, "displacement", "")
    part = getattr(row, "part", "")
    yield f"Crv.{part.rstrip('.')}" if part else ""


SOURCES: tuple[tuple[str, str, Callable[[ModuleType], Mapping[str, str]]], ...] = (
    ("IEEE 2030.5", "tierline.protocols.sep2.mapping.functions", named),
    ("IEEE 2030.5", "tierline.protocols.sep2.mapping.telemetry", readings),
    ("SunSpec Modbus", "tierline.protocols.sunspec.mapping", sunspec),
)
"""Protocol, a mapping module of it, and how that is read: one line each; a protocol may have several."""


def mappings() -> Mapping[str, Mapping[str, str]]:
    """Collect canonical name to the protocol's own name, for every protocol that is there."""
    found: dict[str, dict[str, str]] = {}
    for title, module, read in SOURCES:
        if _exists(module):
            found.setdefault(title, {}).update(read(importlib.import_module(module)))
    return found


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there
        return False


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(title: str, *parts: str) -> str:
    """Put a page together."""
    return "\n\n".join((f"# {title}", NOTICE, *parts)) + "\n"


def members(enumeration: type[Any]) -> str:
    """List an enumeration's values as they stand in the tables."""
    return ", ".join(f"`{member.value}`" for member in enumeration if member.value)


def number(value: Number) -> str:
    """Write a value."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value.normalize():f}"


def span(low: Decimal | None, high: Decimal | None) -> str:
    """Write a range, open ends left out."""
    if low is None and high is None:
        return ""
    return f"{'' if low is None else number(low)} .. {'' if high is None else number(high)}".strip()


def unit_of(row: FunctionRow) -> str:
    """Write the unit; of a curve those of x and y."""
    return f"x: {row.x_unit.value}, y: {row.unit.value}" if row.x_unit is not Unit.NONE else row.unit.value


def rule21(row: FunctionRow) -> str:
    """Write the phase and number of Rule 21."""
    if row.phase is Rule21Phase.COMMON:
        return ""
    return f"{row.phase.value} / {row.phase1 if row.phase1 is not None else row.phase3}"


def key_of(row: FunctionRow | PointRow) -> str:
    """Write the 61850 name and the one of Ed.2 where it differs."""
    key = f"`{row.key}`" if row.key else ""
    if row.key_ed2:
        key += f" → `{row.key_ed2}`"
    uncertain = isinstance(row, FunctionRow) and row.key_uncertain and row.key
    return f"{key} (uncertain)" if uncertain else key


def functions_page() -> str:
    """Write docs/reference/functions.md."""
    rows = FUNCTIONS.values()
    return page(
        "Functions",
        "What can be commanded. A function is a row of `tierline.model.functions`; each protocol says in its own mapping "
        "which rows it carries ([mapping](mapping.md)). Generation and injection are positive, absorption negative.",
        f"{len(rows)} functions.",
        "## What they are",
        table(
            ("function", "kind", "value", "unit", "valid", "what it does"),
            (
                (
                    f"`{row.name}`",
                    row.kind.value,
                    row.value.value.replace("_", " "),
                    unit_of(row),
                    span(row.low, row.high),
                    row.description,
                )
                for row in rows
            ),
        ),
        "## How channels are merged, and where the functions come from",
        f"Between channels, controls merge by quantity, not by function: {members(Quantity)}. How: {members(Merge)}; the last "
        "means that no channel commands it. Rule 21 gives phase / number. 61850 names are those of the IEEE 1547.1 tables, "
        "then the one of IEC 61850-7-420 Ed.2 where it is known to differ.",
        table(
            ("function", "quantity", "merge", "bounds", "Rule 21", "IEC 61850-7-420", "IEEE 1547-2018"),
            (
                (
                    f"`{row.name}`",
                    row.quantity.value,
                    row.merge.value,
                    "" if row.bound is None else row.bound.value,
                    rule21(row),
                    key_of(row),
                    row.clause,
                )
                for row in rows
            ),
        ),
    )


def points_page() -> str:
    """Write docs/reference/points.md."""
    states: dict[str, State] = {row.state.__name__: row.state for row in POINTS.values() if row.state is not None}
    parts: list[str] = []
    for kind in PointKind:
        parts.append(f"## {kind.value.capitalize()}")
        parts.append(
            table(
                ("point", "type", "unit", "phase", "label", "IEC 61850-7-420", "what it is"),
                (
                    (
                        f"`{row.name}`",
                        row.value.value if row.state is None else row.state.__name__,
                        row.unit.value,
                        "" if row.phase is Phase.NONE else row.phase.name,
                        row.label.value,
                        key_of(row),
                        row.description,
                    )
                    for row in POINTS.values()
                    if row.kind is kind
                ),
            )
        )
    for name, state in sorted(states.items()):
        parts.append(f"### {name}")
        parts.append(table(("number", "name"), ((str(member.value), f"`{member.name}`") for member in state)))
    return page(
        "Points",
        "What a DER measures, is rated for, is set to and says of its state: the rows of `tierline.model.points`. The label says "
        f"who may see a value: {members(Label)}.",
        *parts,
    )


def _categories(row: DefaultRow) -> str:
    return (
        "all" if row.categories == frozenset(Category) else ", ".join(c.value for c in Category if c in row.categories)
    )


def _kept(profile: Profile) -> str:
    """Say what a profile puts into a device, for a device of categories B and III."""
    defaults = default_set(profile)
    kept = to_apply(defaults)
    waiting = confirmable(profile, Category.B, Category.III)
    name = next(name for name, named in NAMES.items() if named is profile)
    return (
        f'With `profile = "{name}"` under `[follow]`, a device of categories B and III keeps {_list(kept)}; '
        f"{_list(waiting)} wait{'' if len(waiting) > 1 else 's'} for an operator's `confirmed`. The others are off by default, "
        "or no source says that they are on."
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"


def defaults_page() -> str:
    """Write docs/reference/defaults.md."""
    parts: list[str] = []
    for profile in Profile:
        parts += [f"## {profile.value}", _kept(profile)]
        parts.append(
            table(
                (
                    "function",
                    "parameter",
                    "category",
                    "default",
                    "range",
                    "unit",
                    "clause",
                    "verified",
                    "source",
                    "note",
                ),
                (
                    (
                        f"`{row.function}`",
                        row.parameter and f"`{row.parameter}`",
                        _categories(row),
                        number(row.value),
                        span(row.low, row.high),
                        row.unit.value,
                        row.clause,
                        "yes" if row.verified else "**no**",
                        row.source,
                        row.note,
                    )
                    for row in DEFAULTS
                    if row.profile is profile
                ),
            )
        )
    unverified = sum(not row.verified for row in DEFAULTS)
    return page(
        "Defaults and ranges",
        "The rows of `tierline.model.defaults`: A and B are the categories of normal operation, I, II and III those of abnormal "
        "operation (IEEE 1547-2018). Trip settings are pairs of a level and the time after which it must (or may) trip. A node keeps "
        "the defaults of one profile in its device when it is told to ([configuration](configuration.md), `[follow]`); else they "
        "are for reading only.",
        f"{len(DEFAULTS)} rows, {unverified} of them not verified: recalled, or a model's own value. Such a value is never written "
        "to a device without an operator's confirmation.",
        *parts,
    )


def mapping_page(found: Mapping[str, Mapping[str, str]]) -> str:
    """Write docs/reference/mapping.md."""

    def rows(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
        for name in names:
            yield f"`{name}`", *(f"`{names_of[name]}`" if name in names_of else "" for names_of in found.values())

    strangers = sorted(
        {name for names_of in found.values() for name in names_of if name not in FUNCTIONS and name not in POINTS}
    )
    parts = [
        "## Functions",
        table(("function", *found), rows(FUNCTIONS)),
        "## Points",
        table(("point", *found), rows(POINTS)),
    ]
    if strangers:
        parts += ["## Names without a row", table(("name", *found), rows(strangers))]
    return page(
        "Mapping",
        "What each protocol calls a function or point. An empty cell: this protocol does not carry it here.",
        *parts,
    )


def configuration_page() -> str:
    """Write docs/reference/configuration.md: every table and key of a node's file, from the models that read it."""
    return page(
        "Configuration",
        "A node is one [TOML](https://toml.io) file; examples and advice are in [operating](../operating.md). What is not listed here is "
        "refused by name. Relative paths count from the folder of the file, `tierline run --check FILE…` checks without "
        "running, and `--show-config` shows what a file comes to, defaults included.",
        *_file_tables(config.NodeConfig.model_json_schema(), _meanings(Path(config.__file__))),
    )


def scenarios_page() -> str:
    """Write docs/reference/scenarios.md: every table and key of a scenario file, from the models that read it."""
    meanings = {**_meanings(Path(script.__file__)), **_meanings(Path(hierarchy.__file__))}
    return page(
        "Scenario files",
        "Every table and key of a scenario's file; what they are for is in [scenarios](../scenarios.md). `hierarchy` may also be the name of "
        'levels that come with tierline, before all tables: `hierarchy = "five"`.',
        *_file_tables(script.Script.model_json_schema(), meanings),
    )


def _file_tables(schema: Mapping[str, Any], meanings: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Write each table of a TOML file with its keys."""
    for header, name, note in _tables(schema):
        part = schema["$defs"][name]
        needed = part.get("required", ())
        yield f"## `{header}`"
        yield f"{part['description']}{note}"
        yield table(
            ("key", "value", "default", "meaning"),
            (
                (
                    f"`{key}`",
                    _value(row, schema),
                    "**required**" if key in needed else _default(row),
                    meanings.get((name, key), ""),
                )
                for key, row in part["properties"].items()
                if not _is_table(row)
            ),
        )


def _tables(schema: Mapping[str, Any], name: str = "", prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Walk the tables of the file: header, name of the model, and what the header does not say."""
    owner = schema["$defs"][name] if name else schema
    for key, row in owner["properties"].items():
        if key == "folder" or not _is_table(row):  # the folder is where the file is, not a key
            continue
        inner = _reference(row) or _reference(row["items"])
        many = row.get("type") == "array"
        path = f"{prefix}{key}"
        note = (
            " May stand several times."
            if many
            else " Required."
            if key in owner.get("required", ()) and not name
            else ""
        )
        if any(not _is_table(value) for value in schema["$defs"][inner]["properties"].values()):
            yield f"[[{path}]]" if many else f"[{path}]", inner, note
        yield from _tables(schema, inner, f"{path}.")


def _reference(row: Mapping[str, Any]) -> str:
    """Name the model that a row refers to, alone or as an alternative to nothing."""
    found = [part["$ref"].rsplit("/", 1)[1] for part in (row, *row.get("anyOf", ())) if "$ref" in part]
    return found[0] if found else ""


_VALUES = {"Address", "ChannelMode"}
"""Models that are written as one value."""


def _is_table(row: Mapping[str, Any]) -> bool:
    inner = _reference(row) or _reference(row.get("items", {}))
    return bool(inner) and inner not in _VALUES


def _value(row: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Say in words what may stand as a value."""
    if "anyOf" in row:
        return _value(next(part for part in row["anyOf"] if part.get("type") != "null"), schema)
    if inner := _reference(row):
        return "`host:port`" if inner == "Address" else _value(schema["$defs"][inner], schema)
    if "enum" in row or "const" in row:
        return " or ".join(f'`"{value}"`' for value in row.get("enum", [row.get("const")]))
    if row["type"] == "object":
        inner = row["additionalProperties"]
        return f"table of {_value(inner, schema) if isinstance(inner, dict) else 'values'} by name"
    if row["type"] == "array":
        return f"list of {_value(row['items'], schema)}" + (", at least one" if row.get("minItems") else "")
    word = {"path": "path", "date-time": "time with zone"}.get(row.get("format", "")) or {
        "integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`",
    }[row["type"]]  # fmt: skip
    if "pattern" in row:
        return "name of up to 64 letters, digits, `.`, `_`, `-`"
    low, high = row.get("minimum"), row.get("maximum")
    if "exclusiveMinimum" in row:
        return f"{word} above {row['exclusiveMinimum']}" + ("" if high is None else f", at most {high}")
    if low is None and high is None:
        return word
    return f"{word}, {low} or more" if high is None else f"{word}, {low} .. {high}"


def _default(row: Mapping[str, Any]) -> str:
    found = row.get("default")
    match found:
        case None | []:
            return "none"
        case bool():
            return f"`{str(found).lower()}`"
        case {"host": host, "port": port}:
            return f'`"{host}:{port}"`'
        case str():
            return f'`"{found}"`'
    return f"`{found}`"


def _meanings(source: Path) -> Mapping[tuple[str, str], str]:
    """Read the string below each field of each class."""
    found = {}
    for owner in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(owner, ast.ClassDef):
            for field, after in zip(owner.body, owner.body[1:], strict=False):
                match field, after:
                    case ast.AnnAssign(target=ast.Name(id=key), value=given), ast.Expr(
                        value=ast.Constant(value=str(text))
                    ):
                        found[owner.name, _alias(given) or key] = " ".join(text.split())
    return found


def _alias(given: ast.expr | None) -> str:
    """Give the name under which a field stands in a file, where that is a word of Python; else nothing."""
    match given:
        case ast.Call(keywords=[ast.keyword(arg="alias", value=ast.Constant(value=str(name))), *_]):
            return name
    return ""


def support_fragment(found: Mapping[str, Mapping[str, str]]) -> str:
    """Write the table of functions by protocol that stands in README.md and docs/reference/support.md."""
    commanded = [row for row in FUNCTIONS.values() if row.kind not in {Kind.SERVICE, Kind.AUTONOMOUS}]
    counts = (f"{sum(row.name in names_of for row in commanded)} of {len(commanded)}" for names_of in found.values())
    return table(
        ("function", "Rule 21", *found),
        (
            *(
                (f"`{row.name}`", rule21(row), *("yes" if row.name in names_of else "-" for names_of in found.values()))
                for row in commanded
            ),
            ("**together**", "", *counts),
        ),
    )


_ROW_TEST = re.compile(r"test_([a-z]+)_(\d{3})_(?:([a-g])_)?(server|der|agg)_\w+")
_CSIP_SIDES = {"server": "server", "der": "DER client", "agg": "aggregator"}


def csip_page() -> str:
    """Write docs/reference/csip.md: the conformance rows and the tests that hold them, by the tests' own names."""
    catalogue = runpy.run_path(str(CSIP_TESTS / "rows.py"))
    held = _row_tests(CSIP_TESTS)
    rows, missing, counts = [], [], dict.fromkeys(_CSIP_SIDES, 0)
    for row, about, der, aggregator, reason in catalogue["ROWS"]:
        # what holds all the rows of a number, whatever its letter, stands at the first
        found = held.pop(row, []) + (held.pop(row.split()[0], []) if " " in row else [])
        by_side = {side: [link for of, link in found if of == side] for side in _CSIP_SIDES}
        for side, links in by_side.items():
            counts[side] += bool(links)
        why = [reason] if reason else []
        if not reason:
            wanted = {"der": der, "agg": aggregator}
            open_ = [side for side, must in wanted.items() if must == "M" and not by_side[side]]
            why = [catalogue["ONE_SIDE"].get((row, side), catalogue["NOT_YET"][side]) for side in open_]
            why = why or ([] if found else [catalogue["NOT_YET"]["der"]])
        if why:
            missing.append((row, about, "; ".join(why)))
        if found:
            rows.append((row, about, der, aggregator, *("<br>".join(links) for links in by_side.values())))
    if held:
        raise SystemExit(f"tests of rows that tests/csip/rows.py does not list: {sorted(held)}")
    said = ", ".join(f"{counts[side]} with the {name} under test" for side, name in _CSIP_SIDES.items())
    return page(
        "CSIP conformance rows",
        "The rows of the SunSpec CSIP conformance tests, in our own words, and the tests that hold them. In each test one side is "
        "tierline, composed from its configuration, and the other is a scripted server or client that shares no code with it; "
        "between them are sockets and mutual TLS. M: mandatory for a DER client or an aggregator. `make test` runs all of them and "
        "fails when one fails, so what is listed here passes. It is our reading of the rows, not a certificate: see the "
        "[conformance section](../../README.md#conformance).",
        f"Rows held: {said}.",
        "## Held",
        table(("row", "about", "DER", "aggregator", *(f"{name} under test" for name in _CSIP_SIDES.values())), rows),
        "## Not held, or not on every side",
        table(("row", "about", "why"), missing),
    )


def _row_tests(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Find the tests by the row in their names: side, and a link to where it stands."""
    found: dict[str, list[tuple[str, str]]] = {}
    for file in sorted(folder.glob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := _ROW_TEST.fullmatch(node.name)):
                row = f"{match[1].upper()}-{match[2]}" + (f" {match[3].upper()}" if match[3] else "")
                link = f"[`{file.name}::{node.name}`](../../tests/csip/{file.name})"
                found.setdefault(row, []).append((match[4], link))
    return found


def pages() -> dict[Path, str]:
    """Make every page, by path."""
    found = mappings()
    support = support_fragment(found)
    reference = ROOT / "docs" / "reference"
    made = {
        reference / "functions.md": functions_page(),
        reference / "points.md": points_page(),
        reference / "defaults.md": defaults_page(),
        reference / "mapping.md": mapping_page(found),
        reference / "configuration.md": configuration_page(),
        reference / "csip.md": csip_page(),
        reference / "scenarios.md": scenarios_page(),
        reference / "support.md": page(
            "What works",
            "Functions by protocol, from the mappings of the program. Rule 21 gives phase / number.",
            support,
        ),
    }
    readme = ROOT / "README.md"
    if readme.exists() and BEGIN in (text := readme.read_text(encoding="utf-8")):
        before, rest = text.split(BEGIN, 1)
        _, after = rest.split(END, 1)
        made[readme] = f"{before}{BEGIN}\n\n{support}\n\n{END}{after}"
    return made


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is not current")
    check = parser.parse_args().check
    stale = [
        (path, text) for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        print(f"{'not current' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale and check:
        print("run: python tools/make_docs.py")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
