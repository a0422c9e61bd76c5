from tierline.sim.trace import Trace


def traced(*events, **options):
    trace = Trace(lambda: 1.5, **options)
    for who, what in events:
        trace.record(who, what)
    return trace


def test_the_digest_depends_on_every_event_and_on_their_order():
    one, other = ("a", "x"), ("b", "y")
    assert traced(one, other).digest == traced(one, other).digest
    assert len({traced(one, other).digest, traced(other, one).digest, traced(one).digest, traced().digest}) == 4


def test_the_last_events_are_kept_or_all_of_them():
    events = [("a", str(n)) for n in range(50)]
    assert len(traced(*events).events) == 40
    assert traced(*events, tail=None).events[0] == (1.5, "a", "0")
    assert traced(*events).length == 50


def test_a_trace_is_shown_one_event_a_line():
    assert str(traced(("a", "x"), ("b", "y"))) == "       1.500000  a: x\n       1.500000  b: y"


def test_a_watcher_sees_every_event():
    trace, seen = traced(), []
    trace.watch(lambda *event: seen.append(event))
    trace.record("a", "x")
    assert seen == [(1.5, "a", "x")]
