"""Finds near duplicates among images by their perceptual hashes. Standard library only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

# Of the 5,190 different training X-rays of the Kaggle set, the closest pair differs in 11 bits and the next in 12. When
# 209 of these X-rays were saved again at JPEG quality 60, 75 and 90 or resized to 180 to 512 px, one changed by 10 bits
# (at quality 60), the others by 8 at most.
MAX_DISTANCE = 8
HASH_BITS = 256


def near_pairs(hashes: Sequence[int], max_distance: int = MAX_DISTANCE) -> list[tuple[int, int, int]]:
    """Finds all pairs of hashes that differ in few bits, in about linear time up to millions of hashes.

    The bits are divided into d + 2 parts. Two hashes that differ in at most d bits agree completely in at least two
    parts, so only hashes that share two parts are compared. A part takes every (d + 2)th bit, so that it spans the
    image; neighbouring bits of X-rays are much alike. Sharing one of d + 1 parts would do too, but takes 21 times the
    comparisons.

    Args:
        hashes: perceptual hashes of `HASH_BITS` bits.
        max_distance: d, the largest number of bits in which a pair may differ.

    Returns:
        (index, index, distance) of each pair, the smaller index first, sorted. Equal hashes are paired with the first
        of them only.

    Source: Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, 2012.
    """
    equal: dict[int, list[int]] = defaultdict(list)
    for index, value in enumerate(hashes):
        equal[value].append(index)
    pairs = {(same[0], other, 0) for same in equal.values() for other in same[1:]}
    num_parts = max_distance + 2
    parts = [sum(1 << bit for bit in range(part, HASH_BITS, num_parts)) for part in range(num_parts)]
    for mask in (one | other for one, other in combinations(parts, 2)):
        # Nearly all hashes share their two parts with no other. No list is made for those: a million lists would keep
        # the garbage collector busy.
        seen: dict[int, int] = {}
        sharing: dict[int, list[int]] = {}
        for value in equal:
            other = seen.setdefault(value & mask, value)
            if other != value:
                sharing.setdefault(value & mask, [other]).append(value)
        for values in sharing.values():
            for one, other in combinations(values, 2):
                distance = (one ^ other).bit_count()
                if distance <= max_distance:
                    first, second = sorted((equal[one][0], equal[other][0]))
                    pairs.add((first, second, distance))
    return sorted(pairs)
