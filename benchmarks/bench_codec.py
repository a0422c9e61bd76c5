"""The IEEE 2030.5 codec against bare lxml, in CPU time and interleaved rounds; what counts are the ratios.

`parse` is compared with lxml making a tree of the same bytes and nothing else, `render` and `join` (of fragments kept from
before) with lxml building and serialising the same tree from texts that are already made.
"""

import statistics
import time
from collections.abc import Callable
from typing import Final

from lxml import etree

from tierline.model.identity import Lfdi, Sfdi, mrid
from tierline.protocols.sep2.codec import parse, render, render_fragment, render_list
from tierline.protocols.sep2.resources import (
    DateTimeInterval,
    DERControl,
    DERControlBase,
    DERControlList,
    EndDevice,
    EndDeviceList,
    EventStatus,
    Link,
    List,
    ListLink,
    MirrorMeterReading,
    MirrorReadingSet,
    Reading,
    ReadingType,
    Value,
)

ROUNDS: Final = 15
CALLS: Final = 40
_PARSER: Final = etree.XMLParser(collect_ids=False)

Node = tuple[str, dict[str, str], str | None, list["Node"]]


def controls(count: int = 20) -> DERControlList:
    items = tuple(
        DERControl(
            href=f"/derc/abcdefghijk{number:02d}",
            reply_to="/rsps/abcdefghijklm/rsp",
            response_required=3,
            mrid=mrid(number, 1),
            description="peak of the feeder",
            creation_time=1_700_000_000,
            event_status=EventStatus(current_status=0, date_time=1_700_000_000, potentially_superseded=False),
            interval=DateTimeInterval(duration=900, start=1_700_000_900 + 900 * number),
            randomize_start=60,
            der_control_base=DERControlBase(
                op_mod_connect=True, op_mod_max_lim_w=6000, op_mod_volt_var=Link(href="/dc/abcdefghijklm")
            ),
        )
        for number in range(count)
    )
    return DERControlList(href="/derp/abcdefghijklm/derc", all=count, results=count, items=items)


def devices(count: int = 50) -> EndDeviceList:
    items = tuple(
        EndDevice(
            href=(path := f"/edev/abcdefghijk{number:02d}"),
            der_list_link=ListLink(href=f"{path}/der", all=1),
            device_information_link=Link(href=f"{path}/di"),
            lfdi=Lfdi(f"{number:040X}"),
            log_event_list_link=ListLink(href=f"{path}/lel", all=0),
            sfdi=Sfdi(number),
            changed_time=1_700_000_000,
            enabled=True,
            function_set_assignments_list_link=ListLink(href=f"{path}/fsa", all=1),
            registration_link=Link(href=f"{path}/rg"),
        )
        for number in range(count)
    )
    return EndDeviceList(href="/edev", all=count, results=count, items=items)


def readings(count: int = 100) -> MirrorMeterReading:
    items = tuple(
        Reading(
            quality_flags=1,
            time_period=DateTimeInterval(duration=300, start=1_700_000_000 + 300 * number),
            value=4000 + number,
            local_id=number,
        )
        for number in range(count)
    )
    period = DateTimeInterval(duration=300 * count, start=1_700_000_000)
    return MirrorMeterReading(
        mrid=mrid(1, 1),
        mirror_reading_sets=(MirrorReadingSet(mrid=mrid(2, 1), time_period=period, readings=items),),
        reading_type=ReadingType(commodity=1, data_qualifier=2, flow_direction=19, kind=37, uom=38),
    )


def _outline(element: etree._Element) -> Node:
    attributes = {str(name): str(text) for name, text in element.items()}
    return str(element.tag), attributes, element.text, [_outline(child) for child in element]


def _build(node: Node, parent: etree._Element | None = None) -> etree._Element:
    tag, attributes, text, children = node
    if parent is None:
        element = etree.Element(tag, attributes, nsmap={None: "urn:ieee:std:2030.5:ns"})  # type: ignore[dict-item]  # lxml takes None, the stubs do not
    else:
        element = etree.SubElement(parent, tag, attributes)
    element.text = text
    for child in children:
        _build(child, element)
    return element


def _cpu_us(call: Callable[[], object]) -> float:
    start = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - start) / CALLS * 1e6


def _contestants(value: Value) -> dict[str, Callable[[], object]]:
    data = render(value)
    outline = _outline(etree.fromstring(data))
    calls: dict[str, Callable[[], object]] = {
        "lxml parse": lambda: etree.fromstring(data, _PARSER),
        "parse": lambda: parse(data),
        "lxml build": lambda: etree.tostring(_build(outline), xml_declaration=True, encoding="UTF-8"),
        "render": lambda: render(value),
    }
    if isinstance(value, List):
        list_type, total = type(value), value.all
        fragments = [render_fragment(item) for item in value.items]  # type: ignore[attr-defined]  # every list type has items
        calls["join"] = lambda: render_list(list_type, "/list", total, fragments)
    return calls


def measure(value: Value) -> dict[str, float]:
    """Give the median CPU microseconds of each contestant and the medians of the paired ratios."""
    calls = _contestants(value)
    rounds = [{name: _cpu_us(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    result = {name: statistics.median(one[name] for one in rounds) for name in calls}
    for ours, theirs in (("parse", "lxml parse"), ("render", "lxml build"), ("join", "lxml build")):
        if ours in calls:
            result[f"{ours} / {theirs}"] = statistics.median(one[ours] / one[theirs] for one in rounds)
    return result


def main() -> dict[str, dict[str, float]]:
    """Print the table and return it."""
    documents = {"20 controls": controls(), "50 devices": devices(), "100 readings": readings()}
    results = {name: measure(value) for name, value in documents.items()}
    names = list(results["20 controls"])
    print(f"{'CPU us, medians of ' + str(ROUNDS) + ' rounds':32}" + "".join(f"{name:>15}" for name in documents))
    for name in names:
        unit = "{:15.2f}" if "/" in name else "{:15.1f}"
        print(f"{name:32}" + "".join(unit.format(r[name]) if name in r else f"{'-':>15}" for r in results.values()))
    return results


if __name__ == "__main__":
    main()
