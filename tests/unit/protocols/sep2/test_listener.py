from datetime import UTC, datetime

import pytest

from tierline.model.errors import ConfigError
from tierline.model.identity import ChannelId, Lfdi
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.listener import Notice, NoticeListener
from tierline.protocols.sep2.resources import DERControlList, Error, Notification, Reading, Time
from tierline.protocols.sep2.transport import Peer, Request

NOW = datetime(2026, 6, 18, 12, tzinfo=UTC)
UTILITY, AGGREGATOR = ChannelId("utility"), ChannelId("aggregator")
SERVER, OTHER = Lfdi("AA" * 20), Lfdi("BB" * 20)
BASE = "https://192.0.2.20:9443"


def notification(**more):
    given = {"subscribed_resource": "/derp/a/derc", "status": 0, "subscription_uri": "/edev/a/sub/b", **more}
    return render(Notification(**given))


def request(uri, body, lfdi=SERVER, method="POST", content_type="application/sep+xml"):
    return Request(
        method=method,
        path=uri.removeprefix(BASE),
        query="",
        headers={"content-type": content_type},
        body=body,
        peer=Peer(lfdi=lfdi, fingerprint="", address="192.0.2.1"),
    )


@pytest.fixture
def heard():
    return []


@pytest.fixture
def listener():
    return NoticeListener(BASE, "secret")


@pytest.fixture
def uri(listener, heard):
    return listener.register(UTILITY, SERVER, heard.append)


@pytest.fixture
def post(listener, uri):
    return lambda body, **more: listener.handle(request(uri, body, **more), NOW)


def test_a_notice_is_heard_and_answered_204(post, heard):
    assert post(notification(status=4)).status == 204
    assert heard == [Notice(channel=UTILITY, subscribed_resource="/derp/a/derc", status=4, body=b"")]


def test_the_resource_comes_with_its_notice_as_a_document(post, heard):
    resource = DERControlList(href="/derp/a/derc", all=0, results=0)
    assert post(notification(resource=resource)).status == 204
    assert parse(heard[0].body, DERControlList) == resource


def test_a_notice_of_readings_is_heard_as_any_other(post, heard):
    reading = Reading(href="/upt/a/mr/b/r", value=7)
    assert post(notification(subscribed_resource=reading.href, resource=reading)).status == 204
    assert parse(heard[0].body, Reading) == reading


def test_a_notice_of_what_is_not_spoken_here_is_heard_without_it(post, heard):
    time = Time(href="/x", current_time=0, dst_end_time=0, dst_offset=0, dst_start_time=0, quality=7, tz_offset=0)
    body = notification(subscribed_resource="/x", resource=time).replace(b'"Time"', b'"MessagingProgramList"')
    assert post(body).status == 204
    assert (heard[0].subscribed_resource, heard[0].body) == ("/x", b"")


@pytest.mark.parametrize("content_type", ["application/xml", "text/xml; charset=utf-8", "Application/SEP+XML"])
def test_xml_by_any_of_its_names_is_taken(post, content_type):
    assert post(notification(), content_type=content_type).status == 204


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Notification",
        b"<!DOCTYPE x><Notification/>",
        render(Time(current_time=0, dst_end_time=0, dst_offset=0, dst_start_time=0, quality=7, tz_offset=0)),
        notification().replace(b"<status>0</status>", b""),
        notification().replace(b"<status>0</status>", b"<status>none</status>"),
        notification().replace(
            b"<status>",
            b'<Resource xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="Notification"/><status>',
        ),
    ],
)
def test_what_is_no_notice_is_answered_400_with_an_error(post, heard, body):
    answer = post(body)
    assert answer.status == 400
    assert parse(answer.body, Error).reason_code == 0
    assert heard == []


def test_another_media_type_is_not_read(post, heard):
    assert post(notification(), content_type="application/json").status == 415
    assert post(notification(), content_type="").status == 415
    assert heard == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_only_posting_is_known(post, method):
    answer = post(b"", method=method)
    assert (answer.status, answer.allow) == (405, ("POST",))


def test_another_server_is_told_that_nothing_is_here(post, heard):
    for method in ("POST", "GET"):
        assert post(notification(), lfdi=OTHER, method=method).status == 404
    assert heard == []


@pytest.mark.parametrize("path", ["/", "/ntfy", "/ntfy/", "/ntfy/x", "/other"])
def test_elsewhere_there_is_nothing(listener, uri, path):
    assert listener.handle(request(path, notification()), NOW).status == 404


def test_each_link_has_its_own_path_which_survives_a_restart(listener, uri, heard):
    others = [
        listener.register(AGGREGATOR, SERVER, heard.append),
        listener.register(UTILITY, OTHER, heard.append),
        listener.register(UTILITY, None, heard.append),
    ]
    assert len({uri, *others}) == 4
    assert NoticeListener(BASE, "secret").register(UTILITY, SERVER, heard.append) == uri
    assert NoticeListener(BASE, "another").register(UTILITY, SERVER, heard.append) != uri


def test_a_path_cannot_be_guessed(uri):
    token = uri.removeprefix(f"{BASE}/ntfy/")
    assert len(token) == 32  # 160 bits
    assert "utility" not in token


def test_all_who_wait_hear_and_nobody_twice(listener, uri, post, heard):
    second = []
    assert listener.register(UTILITY, SERVER, second.append) == uri
    assert listener.register(UTILITY, SERVER, second.append) == uri
    post(notification())
    assert len(heard) == len(second) == 1


def test_without_an_lfdi_any_server_is_heard(listener, heard):
    open_to_all = listener.register(AGGREGATOR, None, heard.append)
    for lfdi in (SERVER, OTHER):
        assert listener.handle(request(open_to_all, notification(), lfdi=lfdi), NOW).status == 204
    assert [notice.channel for notice in heard] == [AGGREGATOR, AGGREGATOR]


def test_the_listener_knows_whom_it_waits_for(listener, heard):
    assert not listener.knows(SERVER)
    listener.register(UTILITY, SERVER, heard.append)
    assert listener.knows(SERVER)
    assert not listener.knows(OTHER)
    listener.register(UTILITY, None, heard.append)
    assert listener.knows(OTHER)


@pytest.mark.parametrize(
    ("base", "begins"),
    [
        ("https://192.0.2.20:9443/", "https://192.0.2.20:9443/ntfy/"),
        ("https://[2001:db8::1]:9443", "https://[2001:db8::1]:9443/ntfy/"),
        ("https://agg.example/up/north/", "https://agg.example/up/north/ntfy/"),
    ],
)
def test_the_uri_may_have_a_path(base, begins, heard):
    listener = NoticeListener(base, "secret")
    uri = listener.register(UTILITY, SERVER, heard.append)
    assert uri.startswith(begins)
    path = "/" + uri.split("/", 3)[3]
    assert listener.handle(request(path, notification()), NOW).status == 204


@pytest.mark.parametrize(
    "base",
    [
        "http://agg.example",
        "agg.example:9443",
        "https://",
        "https://user@agg.example",
        "https://agg.example/?q",
        "https://agg.example/#f",
        "https://agg.example/a b",
        "https://agg.example:0",
        "https://agg.example:x",
        "https://[::1",
    ],
)
def test_a_uri_that_servers_cannot_use_is_refused_with_an_example(base):
    with pytest.raises(ConfigError, match=r"\[listener\] uri: .* for example https://192\.0\.2\.20:8443"):
        NoticeListener(base, "secret")


def test_a_notice_says_where_something_has_moved_to():
    heard = []
    listener = NoticeListener(BASE, "secret")
    uri = listener.register(UTILITY, SERVER, heard.append)
    listener.handle(request(uri, notification(status=2, new_resource_uri="/derp/b/derc")), NOW)
    listener.handle(request(uri, notification(status=2)), NOW)
    assert [(notice.status, notice.new_resource_uri) for notice in heard] == [(2, "/derp/b/derc"), (2, "")]
