import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.errors import PeerError
from tierline.protocols.sunspec import modbus
from tierline.protocols.sunspec.modbus import (
    Client,
    ExceptionCode,
    Function,
    ModbusFault,
    Read,
    Refused,
    Registers,
    Server,
    Write,
    Written,
    reply_to,
)

READ = Read(unit=1, address=40000, count=2)
WRITE = Write(unit=1, address=40200, data=b"\0\1\0\2")
SINGLE = Write(unit=1, address=40200, data=b"\0\1", function=Function.WRITE_SINGLE)


def asked(request) -> tuple[Client, modbus.Received]:
    client = Client()
    (received,) = Server().receive(client.send(request))
    return client, received


@pytest.mark.parametrize(
    "request_", [READ, WRITE, SINGLE, Read(unit=9, address=0, count=125, function=Function.READ_INPUT)]
)
def test_a_request_arrives_as_it_was_sent(request_):
    _, received = asked(request_)
    assert received.request == request_


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (READ, Registers(data=b"SunS")),
        (WRITE, Written(count=2)),
        (SINGLE, Written(count=1)),
        (READ, Refused(code=2)),
        (WRITE, Refused(code=4)),
    ],
)
def test_a_reply_arrives_as_it_was_sent(request_, reply):
    client, received = asked(request_)
    assert client.receive(reply_to(received, reply)) == reply
    assert client.is_usable


@given(cuts=st.sets(st.integers(1, 12)))
def test_a_reply_may_arrive_in_any_pieces(cuts):
    client, received = asked(READ)
    data = reply_to(received, Registers(data=b"SunS"))
    edges = [0, *sorted(cuts), len(data)]
    replies = [client.receive(data[start:end]) for start, end in itertools.pairwise(edges)]
    assert replies[:-1] == [None] * len(cuts)
    assert replies[-1] == Registers(data=b"SunS")


def test_a_second_request_waits_for_the_first():
    client, _ = asked(READ)
    with pytest.raises(RuntimeError):
        client.send(READ)


def test_transactions_are_numbered_and_wrap():
    client = Client()
    client._transaction = 0xFFFF
    assert client.send(READ)[:2] == b"\0\0"


@pytest.mark.parametrize(
    "request_",
    [
        Read(unit=1, address=0, count=0),
        Read(unit=1, address=0, count=126),
        Read(unit=1, address=65535, count=2),
        Read(unit=256, address=0, count=1),
        Read(unit=1, address=-1, count=1),
        Read(unit=1, address=0, count=1, function=Function.WRITE_SINGLE),
        Write(unit=1, address=0, data=b""),
        Write(unit=1, address=0, data=b"\0"),
        Write(unit=1, address=0, data=bytes(248)),
        Write(unit=1, address=0, data=bytes(4), function=Function.WRITE_SINGLE),
    ],
)
def test_a_request_outside_the_protocols_limits_is_our_own_mistake(request_):
    with pytest.raises(ValueError, match="registers"):
        Client().send(request_)


GOOD = struct.pack(">HHHBBB", 1, 0, 7, 1, 3, 4) + b"SunS"


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (b"\0\2" + GOOD[2:], "transaction 2"),
        (b"\0\1\0\7" + GOOD[4:], "protocol identifier 7"),
        (b"\0\1\0\0\0\1\1", "length 1"),
        (b"\0\1\0\0\1\0\1", "length 256"),
        (b"\0\1\0\0\0\2\1\3", "2 registers were asked for"),
        (GOOD[:6] + b"\2" + GOOD[7:], "unit 2"),
        (GOOD[:7] + b"\4" + GOOD[8:], "function 4"),
        (GOOD[:8] + b"\6" + GOOD[9:], "2 registers were asked for"),
        (struct.pack(">HHHBBB", 1, 0, 5, 1, 3, 2) + b"Su", "2 registers were asked for"),
        (struct.pack(">HHHBB", 1, 0, 2, 1, 0x83), "exception response has 2 bytes"),
        (struct.pack(">HHHBBBB", 1, 0, 4, 1, 0x83, 2, 2), "exception response has 2 bytes"),
        (b"this is not modbus", "protocol identifier"),
    ],
)
def test_a_malformed_reply_is_the_peers_fault_and_ends_the_connection(reply, complaint):
    client, _ = asked(READ)
    with pytest.raises(PeerError, match=complaint):
        client.receive(reply)
    assert not client.is_usable
    with pytest.raises(RuntimeError):
        client.send(READ)


def test_the_reply_to_a_write_must_repeat_address_and_count():
    client, _ = asked(WRITE)
    with pytest.raises(PeerError, match="repeats address and count"):
        client.receive(struct.pack(">HHHBBHH", 1, 0, 6, 1, 16, 40200, 1))


def test_a_stray_byte_behind_a_reply_spoils_the_connection_not_the_reply():
    client, received = asked(READ)
    assert client.receive(reply_to(received, Registers(data=b"SunS")) + b"\0") == Registers(data=b"SunS")
    assert not client.is_usable


def test_bytes_without_a_request_are_the_peers_fault():
    client = Client()
    with pytest.raises(PeerError, match="without a request"):
        client.receive(b"\0")


@given(data=st.binary(max_size=300))
def test_no_bytes_break_the_client_in_another_way(data):
    client, _ = asked(READ)
    try:
        reply = client.receive(data)
    except PeerError:
        return
    assert reply is None or isinstance(reply, Registers | Refused)


@given(data=st.binary(max_size=600))
def test_no_bytes_break_the_server_in_another_way(data):
    server = Server()
    try:
        for received in server.receive(data):
            reply_to(received, Refused(code=1))
    except PeerError:
        return


@given(pdu=st.binary(min_size=1, max_size=253))
def test_every_frame_is_a_request_or_answered_with_an_exception(pdu):
    frame = struct.pack(">HHHB", 7, 0, len(pdu) + 1, 1) + pdu
    (received,) = Server().receive(frame)
    assert isinstance(received.request, Read | Write | ExceptionCode)
    answer = reply_to(received, Refused(code=1))
    assert answer[7] == pdu[0] | 0x80


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (b"\x2b", ExceptionCode.ILLEGAL_FUNCTION),
        (b"\x03", ExceptionCode.ILLEGAL_DATA_VALUE),
        (b"\x03\0\0\0\0", ExceptionCode.ILLEGAL_DATA_VALUE),
        (b"\x03\0\0\0\x7e", ExceptionCode.ILLEGAL_DATA_VALUE),
        (b"\x03\0\0\0\1\0", ExceptionCode.ILLEGAL_DATA_VALUE),
        (b"\x03\xff\xff\0\2", ExceptionCode.ILLEGAL_DATA_ADDRESS),
        (b"\x06\0\0\0\1\0", ExceptionCode.ILLEGAL_DATA_VALUE),
        (b"\x10\0\0\0\1", ExceptionCode.ILLEGAL_DATA_VALUE),
        (b"\x10\0\0\0\1\2\0", ExceptionCode.ILLEGAL_DATA_VALUE),
        (b"\x10\0\0\0\1\4\0\1", ExceptionCode.ILLEGAL_DATA_VALUE),
        (b"\x10\0\0\0\x7c\xf8" + bytes(246), ExceptionCode.ILLEGAL_DATA_VALUE),
    ],
)
def test_a_wrong_request_is_answered_with_its_exception(pdu, code):
    (received,) = Server().receive(struct.pack(">HHHB", 7, 0, len(pdu) + 1, 1) + pdu)
    assert received.request is code


def test_a_length_larger_than_the_bytes_leaves_the_server_mid_frame():
    server = Server()
    assert list(server.receive(b"\0\1\0\0\0\xfe\1\3\0\0")) == []
    assert server.is_mid_frame


@pytest.mark.parametrize("data", [b"\0\1\0\1", b"\0\1\0\0\0\1\1", b"\0\1\0\0\xff\xff\1"])
def test_bytes_that_are_not_modbus_end_the_servers_connection(data):
    with pytest.raises(PeerError):
        list(Server().receive(data))


def test_two_requests_in_one_piece_are_both_answered():
    first, second = Client().send(READ), Client().send(WRITE)
    assert [received.request for received in Server().receive(first + second)] == [READ, WRITE]


def test_a_fault_names_its_code():
    assert str(ModbusFault(2)) == "Modbus exception 2 illegal data address"
    assert str(ModbusFault(99)) == "Modbus exception 99 (not in the standard)"
