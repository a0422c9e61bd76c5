import pytest

from tierline.model import errors
from tierline.model.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    LinkError,
    PeerError,
    TierlineError,
    Unsupported,
)


@pytest.mark.parametrize("kind", [ConfigError, PeerError, LinkError, Unsupported, Forbidden, Conflict])
def test_every_error_stands_directly_under_the_root(kind):
    assert kind.__bases__ == (TierlineError,)
    assert str(kind("what was wrong")) == "what was wrong"


def test_the_tree_holds_no_other_error():
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert found == {
        "TierlineError",
        "ConfigError",
        "PeerError",
        "LinkError",
        "Unsupported",
        "Forbidden",
        "Conflict",
    }


def test_the_error_of_a_peer_names_where_the_fault_lies():
    error = PeerError("is in the past", path="DERControl/interval/start")
    assert str(error) == "DERControl/interval/start: is in the past"
    assert error.path == "DERControl/interval/start"


def test_the_error_of_a_peer_may_not_know_where():
    error = PeerError("is not HTTP")
    assert (str(error), error.path) == ("is not HTTP", "")
