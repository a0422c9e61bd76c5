import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.operations.serving.destinations import Destination, Destinations, fault_of, plain_host

PUBLIC = "93.184.216.34"
PUBLIC_6 = "2606:2800:220:1:248:1893:25c8:1946"


class Names:
    """A resolver with a fixed answer, or one answer after the other."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    async def __call__(self, host):
        self.asked.append(host)
        found = self.answers.get(host.replace(".", "_"), ())
        if not found:
            raise LinkError(f"{host} cannot be looked up")
        return found.pop(0) if isinstance(found, list) else found


def judge(uri, *allow):
    return Destinations(frozenset(allow), Names()).judge(uri)


@pytest.mark.parametrize(
    ("uri", "host", "port", "path"),
    [
        (f"https://{PUBLIC}:8443/ntfy/abc", PUBLIC, 8443, "/ntfy/abc"),
        (f"https://{PUBLIC}", PUBLIC, 443, "/"),
        (f"HTTPS://{PUBLIC}:1/", PUBLIC, 1, "/"),
        (f"https://[{PUBLIC_6}]:65535/a/b?c=d&e=%20", PUBLIC_6, 65535, "/a/b?c=d&e=%20"),
        (f"https://[{PUBLIC_6.upper()}]/", PUBLIC_6, 443, "/"),
        ("https://Listener.Example.COM:9443/x@y", "listener.example.com", 9443, "/x@y"),
        ("https://agg_1.example.com/", "agg_1.example.com", 443, "/"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/"),
        ("https://1.2.3.4.example/", "1.2.3.4.example", 443, "/"),
    ],
)
def test_a_plain_uri_is_read(uri, host, port, path):
    assert judge(uri) == Destination(host=host, port=port, path=path)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://listener.example.com/",
        "ftp://listener.example.com/",
        "//listener.example.com/",
        "/ntfy",
        "listener.example.com",
        "https:listener.example.com",
        "https:///ntfy",
        "https://:443/",
        "https://listener.example.com:0/",
        "https://listener.example.com:65536/",
        "https://listener.example.com:/",
        "https://listener.example.com:+443/",
        "https://listener.example.com:4 43/",
        "https://listener.example.com/#part",
        "https://listener.example.com?q=1",
        "https://listener.example.com/a b",
        "https://listener.example.com/a\r\nX-Injected: 1",
        "https://listener.example.com/\\..",
        "https://listener.example.com\\@10.0.0.1/",
        "https://user@listener.example.com/",
        "https://user:password@listener.example.com/",
        "https://public.example@10.0.0.1/",
        "https://listener.example.com./",
        "https://.example.com/",
        "https://a..example.com/",
        "https://-a.example.com/",
        "https://a-.example.com/",
        "https://%6cocalhost/",
        "https://bücher.example/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://\u2460\u2461\u2466.0.0.1/",
        "https://127\u30020\u30020\u30021/",
        "https://[::1/",
        "https://::1/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[127.0.0.1]/",
        "https://[listener.example.com]/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://0x7f.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://127.0.0.01/",
        "https://127.0.0.1./",
        "https://1.1.1.1.1/",
        "https://256.256.256.256/",
        "https://10.0.0.1.0x0/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 130 + "example/",
        "https://listener.example.com/" + "a" * 1024,
    ],
)
def test_anything_that_could_be_read_in_two_ways_is_refused(uri):
    with pytest.raises(PeerError, match="Subscription/notificationURI"):
        judge(uri)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "carrier"),
        ("100.100.100.200", "cloud"),
        ("127.0.0.1", "this machine"),
        ("127.255.255.254", "this machine"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("169.254.169.254", "cloud"),
        ("169.254.1.1", "link-local"),
        ("168.63.129.16", "cloud"),
        ("192.0.0.192", "protocols"),
        ("198.18.0.1", "measurements"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("[::]", "unspecified"),
        ("[::1]", "this machine"),
        ("[0:0:0:0:0:0:0:1]", "this machine"),
        ("[fe80::1]", "link-local"),
        ("[fec0::1]", "not in use"),
        ("[fc00::1]", "private"),
        ("[fd00:ec2::254]", "cloud"),
        ("[ff02::1]", "multicast"),
        ("[2001:db8::1]", "documentation"),
        ("[2001::1]", "protocols"),
        ("[100::1]", "not in use"),
        ("[::127.0.0.1]", "not in use"),
        ("[::ffff:127.0.0.1]", "this machine"),
        ("[::ffff:7f00:1]", "127.0.0.1 in another form"),
        ("[::ffff:169.254.169.254]", "cloud"),
        ("[::ffff:0:127.0.0.1]", "not in use"),
        ("[64:ff9b::10.0.0.1]", "10.0.0.1 in another form, private"),
        ("[64:ff9b::a9fe:a9fe]", "cloud"),
        ("[64:ff9b:1::10.0.0.1]", "not in use"),
        ("[2002:a00:1::]", "10.0.0.1 in another form, private"),
        ("[2002:7f00:1::1]", "this machine"),
    ],
)
def test_an_address_that_is_not_public_is_refused(host, reason):
    with pytest.raises(Forbidden, match=reason):
        judge(f"https://{host}:8443/")


@pytest.mark.parametrize("host", ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]"])
def test_an_address_beside_those_is_not(host):
    assert judge(f"https://{host}:8443/").port == 8443


@pytest.mark.parametrize("host", ["[64:ff9b::8.8.8.8]", "[2002:808:808::1]", "[::ffff:8.8.8.8]"])
def test_a_public_address_in_another_form_is_public(host):
    judge(f"https://{host}/")


def test_what_the_operator_named_is_allowed_at_that_port_only():
    allow = [("127.0.0.1", 9443), ("0:0::1", 9443), ("169.254.169.254", 80)]
    assert judge("https://127.0.0.1:9443/", *allow).host == "127.0.0.1"
    assert judge("https://[::1]:9443/", *allow).host == "::1"
    assert judge("https://169.254.169.254:80/", *allow).port == 80
    with pytest.raises(Forbidden):
        judge("https://127.0.0.1:9444/", *allow)
    with pytest.raises(Forbidden):
        judge("https://[::ffff:127.0.0.1]:9443/", *allow)
    with pytest.raises(Forbidden):
        judge("https://127.0.0.2:9443/", *allow)


async def test_an_address_is_connected_to_without_asking_anybody():
    names = Names()
    destinations = Destinations(frozenset(), names)
    assert await destinations.addresses(destinations.judge(f"https://{PUBLIC}/")) == (PUBLIC,)
    assert names.asked == []


async def test_an_address_is_judged_again_before_it_is_used():
    with pytest.raises(Forbidden):
        await Destinations(frozenset(), Names()).addresses(Destination(host="10.0.0.1", port=443, path="/"))


async def test_a_name_gives_the_addresses_that_were_judged():
    destinations = Destinations(frozenset(), Names(agg_example=(PUBLIC, PUBLIC_6.upper())))
    assert await destinations.addresses(destinations.judge("https://agg.example/")) == (PUBLIC, PUBLIC_6)


@pytest.mark.parametrize(
    "hidden", ["10.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%eth0", "169.254.169.254", "nonsense"]
)
async def test_one_bad_address_makes_a_name_bad(hidden):
    destinations = Destinations(frozenset(), Names(agg_example=(PUBLIC, hidden)))
    with pytest.raises(Forbidden, match=r"agg\.example"):
        await destinations.addresses(destinations.judge("https://agg.example/"))


async def test_a_name_that_comes_to_stand_for_another_address_is_not_followed():
    destinations = Destinations(frozenset(), Names(agg_example=[(PUBLIC,), ("127.0.0.1",)]))
    destination = destinations.judge("https://agg.example/")
    assert await destinations.addresses(destination) == (PUBLIC,)
    with pytest.raises(Forbidden):
        await destinations.addresses(destination)


async def test_a_name_the_operator_named_may_be_private_but_not_what_no_listener_is_at():
    names = Names(agg_internal=[("10.0.0.7",), ("127.0.0.1",), ("169.254.169.254",), ("0.0.0.0",), ("224.0.0.1",)])
    destinations = Destinations(frozenset({("Agg.Internal", 9443)}), names)
    destination = destinations.judge("https://agg.internal:9443/")
    assert await destinations.addresses(destination) == ("10.0.0.7",)
    assert await destinations.addresses(destination) == ("127.0.0.1",)
    for _ in range(3):
        with pytest.raises(Forbidden):
            await destinations.addresses(destination)


async def test_a_name_of_an_address_the_operator_named_is_allowed():
    destinations = Destinations(frozenset({("127.0.0.1", 9443)}), Names(localhost=("127.0.0.1",)))
    assert await destinations.addresses(destinations.judge("https://localhost:9443/")) == ("127.0.0.1",)
    with pytest.raises(Forbidden):
        await destinations.addresses(Destination(host="localhost", port=9444, path="/"))


async def test_a_name_that_cannot_be_looked_up_is_a_fault_of_the_network():
    destinations = Destinations(frozenset(), Names())
    with pytest.raises(LinkError):
        await destinations.addresses(destinations.judge("https://agg.example/"))


def is_public(address):
    """Ask Python, which by its version knows or does not know of addresses inside others."""
    inner = address.version == 6 and (address.ipv4_mapped or address.sixtofour)
    return ((inner or address).is_global or address in NAT64) and not address.is_multicast


NAT64 = ipaddress.ip_network("64:ff9b::/96")


def spellings(address):
    """Write an IPv4 address in every way a library somewhere reads."""
    number = int(address)
    octets = number.to_bytes(4, "big")
    a, b, c, d = octets
    return [
        f"{a}.{b}.{c}.{d}",
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        ".".join(f"0{octet:o}" for octet in octets),
        ".".join(f"{octet:#x}" for octet in octets),
        ".".join(f"{octet:03d}" for octet in octets),
        f"{a}.{b}.{c}.{d}.",
        f"[::ffff:{a}.{b}.{c}.{d}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[::{a}.{b}.{c}.{d}]",
        f"[::ffff:0:{a}.{b}.{c}.{d}]",
        f"[64:ff9b::{a}.{b}.{c}.{d}]",
        f"[64:ff9b:1::{a}.{b}.{c}.{d}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
        f"[2001:0:{number >> 16:x}:{number & 0xFFFF:x}::1]",
        f"[::ffff:{a}.{b}.{c}.{d}%25lo]",
    ]


NOT_PUBLIC = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "0.0.0.0/8"]  # fmt: skip
hidden_addresses = st.sampled_from([ipaddress.ip_network(network) for network in NOT_PUBLIC]).flatmap(
    lambda network: st.integers(0, network.num_addresses - 1).map(lambda index: network[index])
)


@given(
    hidden_addresses.flatmap(lambda address: st.sampled_from(spellings(address))),
    st.sampled_from(["", "user@", "public.example:443@", "user:pw@"]),
    st.sampled_from(["", ":443", ":8443", ":0443"]),
)
def test_no_spelling_of_a_hidden_address_gets_through(host, user, port):
    with pytest.raises((PeerError, Forbidden)):
        judge(f"https://{user}{host}{port}/")


@given(st.from_regex(r"https://[0-9a-fA-FxX.:\[\]%@-]{1,24}(:[0-9]{1,5})?/", fullmatch=True))
@example("https://8.8.8.8/")
def test_what_is_taken_means_the_same_to_every_library(uri):
    try:
        host = judge(uri).host
    except (PeerError, Forbidden):
        return
    try:
        assert is_public(ipaddress.ip_address(host))
    except ValueError:
        with pytest.raises(OSError):  # noqa: PT011 - inet_aton says no more
            socket.inet_aton(host)  # a name is nothing that the C library reads as an address


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_only_what_python_holds_for_public_is_told(address):
    if fault_of(address) is None:
        assert is_public(address)


@given(st.ip_addresses())
def test_a_host_has_one_plain_form(address):
    assert plain_host(str(address).upper()) == plain_host(address.exploded) == str(address)
