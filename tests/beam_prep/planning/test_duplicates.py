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
