import pytest

from tierline.model.errors import ConfigError
from tierline.node.uplink import address_of


@pytest.mark.parametrize(
    ("server", "found"),
    [
        ("https://192.0.2.1:8443/dcap", ("192.0.2.1", 8443, "/dcap")),
        ("https://[2001:db8::1]:8443/api/dcap", ("2001:db8::1", 8443, "/api/dcap")),
        ("https://utility.example", ("utility.example", 443, "/dcap")),
    ],
)
def test_an_address_is_taken_apart(server, found):
    assert address_of(server) == found


@pytest.mark.parametrize(
    "server",
    ["http://192.0.2.1/dcap", "192.0.2.1:8443", "https://", "https://h:99999/", "https://h/dcap?a=1", "https://h/#x"],
)
def test_an_address_that_is_none_is_refused_with_an_example(server):
    with pytest.raises(ConfigError, match=r"for example https://192\.0\.2\.1:8443/dcap"):
        address_of(server)
