"""The pairs of similar hashes are those of a comparison of all with all."""

import random
from itertools import combinations

from beam_prep.planning.duplicates import near_pairs


def test_all_pairs_within_the_distance_are_found_and_no_other():
    rng = random.Random(0)
    hashes = [rng.getrandbits(256) for _ in range(60)]
    for distance in (1, 3, 6, 7, 20):
        for base in hashes[:20]:
            flipped = sum(1 << bit for bit in rng.sample(range(256), distance))
            hashes.append(base ^ flipped)
    expected = {
        (one, other, distance)
        for one, other in combinations(range(len(hashes)), 2)
        if (distance := (hashes[one] ^ hashes[other]).bit_count()) <= 6
    }
    assert {distance for _, _, distance in expected} >= {1, 3, 6}
    assert set(near_pairs(hashes, 6)) == expected


def test_equal_hashes_are_paired_with_the_first():
    assert near_pairs([5, 2**200 - 1, 5, 5]) == [(0, 2, 0), (0, 3, 0)]


def test_many_equal_hashes_cost_no_square_of_their_number():
    assert len(near_pairs([0] * 200_000)) == 199_999  # by squares, more than pytest's timeout


def test_thousands_of_almost_equal_images_are_linked_by_as_many_pairs():
    rng = random.Random(0)
    base = rng.getrandbits(256)
    hashes = {base ^ sum(1 << bit for bit in rng.sample(range(256), 4)) for _ in range(2000)}
    pairs = near_pairs(list(hashes))
    assert len(pairs) == len(hashes) - 1  # all pairs would be two million
    assert all(distance <= 8 for *_, distance in pairs)


def test_large_and_small_groups_are_those_of_a_comparison_of_all_with_all():
    rng = random.Random(1)
    for _ in range(10):
        hashes: list[int] = []
        for num_members in (1, 2, 5, 40):  # chains, so that the ends of a group are far apart
            value = rng.getrandbits(256)
            for _ in range(num_members):
                value ^= sum(1 << bit for bit in rng.sample(range(256), rng.randrange(9)))
                hashes.append(value)
        rng.shuffle(hashes)
        pairs = combinations(range(len(hashes)), 2)
        near = [(one, other) for one, other in pairs if (hashes[one] ^ hashes[other]).bit_count() <= 8]
        found = [(one, other) for one, other, _ in near_pairs(hashes)]
        assert set(found) <= set(near)
        assert groups(len(hashes), found) == groups(len(hashes), near)


def groups(num_images: int, pairs: list[tuple[int, int]]) -> set[frozenset[int]]:
    """Returns the groups of images that pairs link together."""
    group_of = {index: frozenset([index]) for index in range(num_images)}
    for pair in pairs:
        merged = group_of[pair[0]] | group_of[pair[1]]
        group_of.update(dict.fromkeys(merged, merged))
    return set(group_of.values())
