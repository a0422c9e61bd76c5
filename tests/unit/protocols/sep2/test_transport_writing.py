import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.protocols.sep2.transport.limits import Limits, address_key
from tierline.protocols.sep2.transport.messages import Response
from tierline.protocols.sep2.transport.reading import ResponseReader
from tierline.protocols.sep2.transport.writing import request_bytes, response_bytes

EPOCH_S = 784_111_777  # the example of RFC 9110 5.6.7


def test_an_answer_states_its_length_date_and_type():
    assert response_bytes(Response(status=200, body=b"<a/>"), epoch_s=EPOCH_S) == (
        b"HTTP/1.1 200 OK\r\n"
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"Content-Type: application/sep+xml\r\n"
        b"Content-Length: 4\r\n"
        b"\r\n"
        b"<a/>"
    )


def test_created_has_a_location_and_an_empty_body_of_stated_length():
    data = response_bytes(Response(status=201, location="/mup/1"), epoch_s=EPOCH_S)
    assert data.endswith(b"\r\nContent-Length: 0\r\nLocation: /mup/1\r\n\r\n")


def test_no_content_has_no_length_as_rfc_9110_demands():
    assert b"Content-Length" not in response_bytes(Response(status=204), epoch_s=EPOCH_S)


def test_head_states_the_length_of_the_body_it_leaves_out():
    data = response_bytes(Response(status=200, body=b"<a/>"), epoch_s=EPOCH_S, head=True)
    assert data.endswith(b"Content-Length: 4\r\n\r\n")


def test_allow_other_headers_and_close_are_written():
    response = Response(status=405, allow=("GET", "HEAD"), headers=(("Retry-After", "9"),))
    data = response_bytes(response, epoch_s=EPOCH_S, close=True)
    assert data.endswith(b"Allow: GET, HEAD\r\nRetry-After: 9\r\nConnection: close\r\n\r\n")


def test_a_status_without_a_name_still_has_a_phrase():
    assert response_bytes(Response(status=299), epoch_s=EPOCH_S).startswith(b"HTTP/1.1 299 Status\r\n")


@pytest.mark.parametrize("value", ["/a\r\nX: y", "/a\nb", "/a\0"])
def test_a_header_cannot_be_split(value):
    with pytest.raises(ValueError, match="line break"):
        response_bytes(Response(status=201, location=value), epoch_s=EPOCH_S)
    with pytest.raises(ValueError, match="line break"):
        request_bytes("GET", value, "host", {}, b"")


@given(st.sampled_from([200, 201, 204, 301, 400, 404, 405, 500]), st.binary(max_size=200), st.booleans(), st.booleans())
def test_what_the_server_writes_the_client_reads(status, body, head, close):
    response = Response(status=status, body=body if status != 204 else b"")
    reader = ResponseReader(Limits(), head=head)
    reader.feed(response_bytes(response, epoch_s=EPOCH_S, head=head, close=close))
    assert reader.response.status == status
    assert reader.response.body == (b"" if head else response.body)
    assert reader.keep_alive != close


@pytest.mark.parametrize(("method", "stated"), [("GET", False), ("DELETE", False), ("PUT", True), ("POST", True)])
def test_a_request_that_can_have_a_body_states_its_length(method, stated):
    assert (b"Content-Length: 0\r\n" in request_bytes(method, "/", "host", {}, b"")) == stated


def test_httptools_is_the_version_the_reader_was_written_for():
    assert {"HttpParserCallbackError", "HttpParserUpgrade", "HttpParserInvalidMethodError"} <= set(dir(httptools))


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("local", "local"),
    ],
)
def test_connections_are_counted_by_address_or_subscriber_network(host, key):
    assert address_key(host) == key
