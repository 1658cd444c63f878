"""Which segments infarcts take."""

from propagation.beating.infarcts import HEALTHY, TERRITORIES, adjacent, variant

SEED = (3, 1)


def test_neighbours_in_the_bulls_eye():
    assert {s for s in range(1, 18) if s != 1 and adjacent(1, s)} == {2, 6, 7}
    assert {s for s in range(1, 18) if s != 8 and adjacent(8, s)} == {2, 7, 9, 13, 14}
    assert {s for s in range(1, 18) if s != 16 and adjacent(16, s)} == {11, 12, 13, 15, 17}


def test_variants_are_drawn_once_and_for_all():
    assert variant(0, 5) == HEALTHY
    drawn = [variant(index, SEED) for index in range(1, 31)]
    assert drawn == [variant(index, list(SEED)) for index in range(1, 31)]
    assert len(set(drawn)) == 30 and drawn[0] != variant(1, (3, 2)) and drawn[0] != variant(1, (4, 1))
    for one in drawn:
        assert 1 <= len(one.segments) <= 5 and 0 <= one.residual <= 0.3 and len(set(one.segments)) == len(one.segments)
        assert any(set(one.segments) <= set(territory) for territory in TERRITORIES)
        reached = {one.segments[0]}
        for _ in one.segments:
            reached |= {s for s in one.segments if any(adjacent(s, other) for other in reached - {s})}
        assert reached == set(one.segments)
    assert {len(one.segments) for one in drawn} == {1, 2, 3, 4, 5}
