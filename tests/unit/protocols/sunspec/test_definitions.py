import pytest

from tierline.model.errors import Unsupported
from tierline.protocols.sunspec.definitions import PointType, model_definition


def test_a_model_is_read_as_it_is_published():
    group = model_definition(705).group
    assert group.name == "DERVoltVar"
    point = next(point for point in group.points if point.name == "Ena")
    assert (point.type, point.size, point.is_writable, point.symbols) == (
        PointType.ENUM16,
        1,
        True,
        {"DISABLED": 0, "ENABLED": 1},
    )
    assert group.points[0].constant == 705
    assert group.groups[0].count == "NCrv"


def test_static_points_and_units_are_known():
    points = {point.name: point for point in model_definition(702).group.points}
    assert points["WMaxRtg"].is_static
    assert points["WMaxRtg"].units == "W"
    assert not points["WMax"].is_static


def test_a_model_that_is_not_published_is_refused():
    with pytest.raises(Unsupported, match="model 999"):
        model_definition(999)
