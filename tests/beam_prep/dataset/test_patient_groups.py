"""Patient groups: their hash, their rank and the links between them."""

import random
from collections import Counter

from beam_prep.dataset.patient_groups import EVERY_IMAGE, PUBLIC_SALT, LinkedGroups, Salt, divide_by_label, rank


def test_group_hash_hides_the_name_and_depends_on_the_salt():
    assert "person" not in PUBLIC_SALT.hash("person1_virus")
    assert Salt(b"one").hash("person1_virus") != Salt(b"two").hash("person1_virus")
    assert Salt(b"x" * 200).hash("person1_virus") != Salt(b"x" * 201).hash("person1_virus")
    assert len(PUBLIC_SALT.hash("person1_virus")) == 16


def test_a_secret_salt_hides_ranks_and_is_not_shown():
    secret = Salt(b"a secret of the site")
    assert PUBLIC_SALT.rank("person1_virus") == rank("person1_virus") == 0xF33CBF60396ABFF5
    assert secret.rank("person1_virus") not in (rank("person1_virus"), int(secret.hash("person1_virus"), 16))
    assert "secret of the site" not in repr(secret)


def test_ranks_are_uniform():
    ranks = [rank(f"person{n}_virus") / 2**64 for n in range(2000)]
    assert abs(sum(r < 0.2 for r in ranks) / 2000 - 0.2) < 0.03


def test_groups_are_linked_through_others():
    groups = LinkedGroups("abcdef")
    groups.link("a", "b")
    groups.link("c", "d")
    groups.link("b", "c")
    assert len({groups.find(group) for group in "abcd"}) == 1
    assert groups.find("e") != groups.find("f") != groups.find("a")


def test_each_part_holds_every_label_in_proportion_however_rare():
    rng = random.Random(0)
    rates = {"Effusion": 0.3, "Mass": 0.05, "Hernia": 0.02}
    counts = {}
    for number in range(500):
        images = [[label for label, share in rates.items() if rng.random() < share] for _ in range(1 + number % 4)]
        counts[f"p{number}"] = Counter([EVERY_IMAGE] * len(images) + [label for image in images for label in image])
    shares = [0.7, 0.2, 0.1]
    parts = divide_by_label(counts, {group: rank(group) for group in counts}, shares)
    for label in (EVERY_IMAGE, *rates):
        total = sum(of_group[label] for of_group in counts.values())
        for part, share in enumerate(shares):
            held = sum(of_group[label] for group, of_group in counts.items() if parts[group] == part)
            assert abs(held - share * total) <= 2, (label, part)
    mixed = dict(rng.sample(list(counts.items()), len(counts)))
    assert divide_by_label(mixed, {group: rank(group) for group in counts}, shares) == parts
