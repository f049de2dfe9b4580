"""The pairs of similar hashes are those of a comparison of all with all."""

import random
from itertools import combinations

from beam_prep.planning.duplicates import mirrored, mirrored_pairs, near_pairs


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


def test_mirrored_pairs_are_those_of_a_comparison_of_all_with_all():
    rng = random.Random(2)
    hashes: list[int] = []
    for number in range(40):
        # As X-rays are nearly symmetric, about half of the bits are set; the pairs lie on both sides of the half.
        bits = rng.sample(range(256), 124 + number % 9)
        for distance in (0, 3, 8, 9):
            value = sum(1 << bit for bit in bits) ^ sum(1 << bit for bit in rng.sample(range(256), distance))
            hashes.append(value if rng.random() < 0.5 else mirrored(value))
    rng.shuffle(hashes)
    pairs = list(combinations(range(len(hashes)), 2))
    near = {(one, other) for one, other in pairs if (hashes[one] ^ hashes[other]).bit_count() <= 8}
    turned = [(one, other, (hashes[one] ^ mirrored(hashes[other])).bit_count()) for one, other in pairs]
    expected = {each for each in turned if each[2] <= 8 and each[:2] not in near}
    assert len(expected) > 40
    direct = [(one, other) for one, other, _ in near_pairs(hashes)]
    found = mirrored_pairs(hashes)
    assert set(found) <= expected
    linked = groups(len(hashes), [*direct, *((one, other) for one, other, _ in found)])
    assert linked == groups(len(hashes), [*near, *(each[:2] for each in expected)])


def test_an_image_is_no_mirrored_copy_of_itself():
    symmetric = int("0000000011111111" * 16, 2)
    assert mirrored(symmetric) == symmetric
    assert mirrored_pairs([symmetric, 5]) == []
    assert mirrored_pairs([5, symmetric, mirrored(5)]) == [(0, 2, 0)]


def groups(num_images: int, pairs: list[tuple[int, int]]) -> set[frozenset[int]]:
    """Returns the groups of images that pairs link together."""
    group_of = {index: frozenset([index]) for index in range(num_images)}
    for pair in pairs:
        merged = group_of[pair[0]] | group_of[pair[1]]
        group_of.update(dict.fromkeys(merged, merged))
    return set(group_of.values())
