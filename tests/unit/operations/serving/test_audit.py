from dataclasses import replace
from datetime import timedelta

import pytest

from tierline.model.records import AuditRecord
from tierline.operations.serving import audit
from tierline.operations.serving.audit import ORIGIN, entry, faults


@pytest.fixture
async def chain(serving, operator):
    for number in range(9):
        await serving.commit([entry(operator, serving, "read", f"thing {number}", "done", {"n": number})])
    return serving.store.load(AuditRecord)


def test_a_chain_begins_at_the_origin_and_is_whole(chain):
    assert chain[0].previous_sha256 == ORIGIN
    assert [record.sequence for record in chain] == list(range(1, len(chain) + 1))
    assert len(chain) > 10, "so that numbers of two digits are among them"
    assert faults(chain) == []


def test_no_chain_is_whole():
    assert faults([]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"principal": "eve"},
        {"verb": "write"},
        {"resource": "other"},
        {"outcome": "refused"},
        {"detail": "{}"},
        {"party": "other"},
    ],
)
def test_a_changed_field_is_found(chain, change):
    chain[2] = replace(chain[2], **change)
    assert faults(chain) == ["record 3 was changed"]


def test_a_changed_time_is_found(chain):
    chain[2] = replace(chain[2], time=chain[1].time.replace(year=2000))
    assert faults(chain) == ["record 3 was changed"]


def test_a_record_changed_and_sealed_anew_breaks_the_next(chain, operator, serving):
    serving.audit_tail = chain[1]
    chain[2] = entry(operator, serving, "read", "something else", "done", {})
    assert faults(chain) == ["record 4 does not follow the one before it"]


def test_a_missing_record_is_found(chain):
    del chain[2]
    assert faults(chain) == [
        "record 3 is missing: 4 stands in its place",
        "record 4 does not follow the one before it",
    ]


def test_exchanged_records_are_found(chain):
    chain[1], chain[2] = chain[2], chain[1]
    assert faults(chain)


async def test_the_chain_goes_on_after_a_restart(serving, operator, chain, restarted):
    again = restarted()
    await again.commit([entry(operator, again, "read", "more", "done", {})])
    assert faults(again.store.load(AuditRecord)) == []


async def test_several_links_of_one_commit_follow_each_other(serving, operator):
    first = entry(operator, serving, "relay", "one", "done", {})
    second = entry(operator, serving, "relay", "two", "done", {}, after=first)
    await serving.commit([first, second])
    assert serving.audit_tail == second
    assert faults(serving.store.load(AuditRecord)) == []


@pytest.mark.parametrize("page", [1, 2, 3, 4, 5_000])
async def test_all_lines_from_a_time_on_are_read_once_whatever_the_page(serving, operator, clock, monkeypatch, page):
    """Several are of one instant, and those of the last instant of a page go on in the next one."""
    monkeypatch.setattr(audit, "_PAGE", page)
    clock.move(seconds=1)
    start = clock.now()
    for number in range(12):
        await serving.commit([entry(operator, serving, "read", "thing", "done", {})])
        clock.move(seconds=number % 4 == 3)
    lines = serving.store.load(AuditRecord)
    assert [*audit.lines_since(serving.store, start)] == lines[-12:]
    assert [*audit.lines_since(serving.store, start + timedelta(seconds=1))] == lines[-8:]
    assert [*audit.lines_since(serving.store, clock.now())] == []
