from decimal import Decimal

from tierline.model.records import DerInfoKind
from tierline.operations.serving.members import Told
from tierline.ports import DeviceFacts
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.mapping.described import lacking, read_told
from tierline.protocols.sep2.mapping.description import write_availability, write_capability, write_settings

FACTS = DeviceFacts(
    manufacturer="tests",
    model="x",
    serial="1",
    version="1",
    nameplate={"rtg_max_w": Decimal(12_345), "rtg_max_var_neg": Decimal(-5000), "rtg_max_wh": Decimal(1_000_000)},
    settings={"set_max_w": Decimal(11_000)},
    functions=frozenset({"target_w", "max_lim_w_pct"}),
)


def test_what_was_written_is_read_by_the_same_names():
    told = read_told(DerInfoKind.CAPABILITY, render(write_capability(FACTS)))
    assert told.values == FACTS.nameplate
    assert told.functions == FACTS.functions
    told = read_told(DerInfoKind.SETTINGS, render(write_settings(FACTS, 0)))
    assert told.values["set_max_w"] == 11_000
    assert told.functions == FACTS.functions
    told = read_told(DerInfoKind.AVAILABILITY, render(write_availability({"stat_w_avail": Decimal(900)}, 0)))
    assert told == Told(values={"stat_w_avail": Decimal(900)})


def test_settings_that_do_not_say_what_is_enabled_say_nothing_of_functions():
    document = render(write_settings(FACTS, 0))
    start, end = document.index(b"<modesEnabled>"), document.index(b"</modesEnabled>") + len(b"</modesEnabled>")
    assert read_told(DerInfoKind.SETTINGS, document[:start] + document[end:]).functions is None


def test_what_cannot_be_read_or_tells_no_quantity_tells_nothing():
    assert read_told(DerInfoKind.CAPABILITY, b"<Time/>") == Told()
    assert read_told(DerInfoKind.STATUS, b"") == Told()


def test_what_a_capability_does_not_name_is_lacking_where_it_could_have_been_named():
    document = render(write_capability(FACTS))
    assert lacking(document, ["target_w", "connect", "volt_var", "es_delay_s"]) == ("connect", "volt_var")
    assert lacking(b"", ["connect"]) == ()
