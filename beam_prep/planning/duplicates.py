"""Finds near duplicates among images by their perceptual hashes. Standard library only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

from beam_prep.dataset.patient_groups import LinkedGroups

# Of the 5,190 different training X-rays of the Kaggle set, the closest pair differs in 11 bits and the next in 12. When
# 209 of these X-rays were saved again at JPEG quality 60, 75 and 90 or resized to 180 to 512 px, one changed by 10 bits
# (at quality 60), the others by 8 at most.
MAX_DISTANCE = 8
HASH_BITS = 256
ROW_BITS = 16
"""The number of bits in a row of a perceptual hash."""
MAX_LISTED = 20
"""The largest group of images that look the same of which all pairs are listed."""


def near_pairs(hashes: Sequence[int], max_distance: int = MAX_DISTANCE) -> list[tuple[int, int, int]]:
    """Finds pairs of hashes that differ in few bits, in about linear time up to millions of hashes.

    The bits are divided into d + 2 parts. Two hashes that differ in at most d bits agree completely in at least two
    parts, so only hashes that share two parts are compared. A part takes every (d + 2)th bit, so that it spans the
    image; neighbouring bits of X-rays are much alike. Sharing one of d + 1 parts would do too, but takes 21 times the
    comparisons.

    Args:
        hashes: perceptual hashes of `HASH_BITS` bits.
        max_distance: d, the largest number of bits in which a pair may differ.

    Returns:
        (index, index, distance) of each pair, the smaller index first, sorted. Equal hashes are paired with the first
        of them only. Of a group of more than `MAX_LISTED` different hashes, which pairs link together, only as many
        pairs are listed as link them all: a series of thousands of almost equal images has millions of pairs.

    Source: Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, 2012.
    """
    first_of: dict[int, int] = {}
    pairs = [
        (first, index, 0) for index, one in enumerate(hashes) if (first := first_of.setdefault(one, index)) != index
    ]
    for links in _linked(first_of, max_distance):
        members = {value for link in links for value in link}
        for one, other in combinations(members, 2) if len(members) <= MAX_LISTED else links:
            distance = (one ^ other).bit_count()
            if distance <= max_distance:
                first, second = sorted((first_of[one], first_of[other]))
                pairs.append((first, second, distance))
    return sorted(pairs)


def mirrored_pairs(hashes: Sequence[int], max_distance: int = MAX_DISTANCE) -> list[tuple[int, int, int]]:
    """Finds pairs of images of which one looks like the mirror image of the other.

    Args:
        hashes: perceptual hashes of `HASH_BITS` bits.
        max_distance: the largest number of bits in which one hash may differ from the other one's mirror image.

    Returns:
        (index, index, distance) of each pair, the smaller index first, sorted; without the pairs that are near as they
        are. Large groups have only some of their pairs, which with those of `near_pairs` link them, see there.
    """
    # A hash with b bits has a mirror image with 256 - b. Where both hashes of a pair are turned so that they have half
    # of the bits or more, they stay as near as they were: only those with about half of the bits are needed both ways.
    turned: list[int] = []
    owners: list[int] = []
    for index, one in enumerate(hashes):
        needed = [value for value in (one, mirrored(one)) if 2 * value.bit_count() >= HASH_BITS - max_distance]
        turned += needed
        owners += [index] * len(needed)
    found: dict[tuple[int, int], int] = {}
    for place, other_place, _ in near_pairs(turned, max_distance):
        first, second = sorted((owners[place], owners[other_place]))
        if first != second and (hashes[first] ^ hashes[second]).bit_count() > max_distance:
            found[first, second] = (hashes[first] ^ mirrored(hashes[second])).bit_count()
    return sorted((first, second, distance) for (first, second), distance in found.items())


def mirrored(perceptual_hash: int) -> int:
    """Returns the hash of the mirror image of an image with a hash, but for neighbouring cells that are equally bright.

    The right neighbour of a cell is its left one there, so that each row is reversed and each bit is inverted.
    """
    bits = format(~perceptual_hash & (1 << HASH_BITS) - 1, f"0{HASH_BITS}b")
    return int("".join(bits[row : row + ROW_BITS][::-1] for row in range(0, HASH_BITS, ROW_BITS)), 2)


def _linked(values: Collection[int], max_distance: int) -> Iterator[list[tuple[int, int]]]:
    """Yields the links that hold each group of near hashes together, one fewer than the group has hashes.

    Args:
        values: different hashes.
        max_distance: the largest number of bits in which two linked hashes differ.
    """
    num_parts = max_distance + 2
    parts = [sum(1 << bit for bit in range(part, HASH_BITS, num_parts)) for part in range(num_parts)]
    linked = LinkedGroups(values)
    links: list[tuple[int, int]] = []
    for mask in (one | other for one, other in combinations(parts, 2)):
        # Nearly all hashes share their two parts with no other. No list is made for those: a million lists would keep
        # the garbage collector busy.
        seen: dict[int, int] = {}
        sharing: dict[int, list[int]] = {}
        for value in values:
            other = seen.setdefault(value & mask, value)
            if other != value:
                sharing.setdefault(value & mask, [other]).append(value)
        for shared in sharing.values():
            clusters: list[list[int]] = []  # the hashes that share the parts, those of a group together
            for value in shared:
                apart, joined = [], [value]
                for cluster in clusters:
                    is_joined = linked.find(value) == linked.find(cluster[0])
                    if not is_joined and (link := _link(value, cluster, max_distance)):
                        linked.link(*link)
                        links.append(link)
                        is_joined = True
                    if is_joined:
                        cluster += joined
                        joined = cluster
                    else:
                        apart.append(cluster)
                clusters = [*apart, joined]
    groups: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for link in links:
        groups[linked.find(link[0])].append(link)
    yield from groups.values()


def _link(value: int, others: Sequence[int], max_distance: int) -> tuple[int, int] | None:
    """Returns the first of some hashes that is near to a hash, with that hash; None if there is none."""
    return next(((other, value) for other in others if (value ^ other).bit_count() <= max_distance), None)
