import pytest

from tierline.env import SeededRandom, SystemRandom


@pytest.fixture(params=[SystemRandom, lambda: SeededRandom(1)])
def source(request):
    return request.param()


def test_draws_stay_in_their_bounds(source):
    assert {source.below(3) for _ in range(200)} == {0, 1, 2}
    assert {source.between(-1, 1) for _ in range(200)} == {-1, 0, 1}
    assert all(0 <= source.bits(8) < 256 for _ in range(200))
    assert all(0 <= source.fraction() < 1 for _ in range(200))


def test_a_single_choice_is_no_choice(source):
    assert source.below(1) == 0
    assert source.between(7, 7) == 7


def test_an_empty_range_is_refused(source):
    with pytest.raises(ValueError, match="below 0"):
        source.below(0)
    with pytest.raises(ValueError, match="between 2 and 1"):
        source.between(2, 1)


def test_a_seed_gives_these_numbers_for_ever():
    one = SeededRandom("der-07")
    assert [one.below(1000) for _ in range(5)] == [466, 371, 400, 965, 750]
    assert SeededRandom(7).bits(64) == SeededRandom(7).bits(64)
    assert SeededRandom(7).bits(64) != SeededRandom(8).bits(64)


def test_the_system_is_not_seeded():
    assert SystemRandom().bits(128) != SystemRandom().bits(128)
