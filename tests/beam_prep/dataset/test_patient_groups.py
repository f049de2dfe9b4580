"""Patient groups: their hash, their rank and the links between them."""

from beam_prep.dataset.patient_groups import DEFAULT_SALT, LinkedGroups, hash_text, rank


def test_group_hash_hides_the_name_and_depends_on_the_salt():
    assert "person" not in hash_text("person1_virus", DEFAULT_SALT)
    assert hash_text("person1_virus", b"one") != hash_text("person1_virus", b"two")
    assert hash_text("person1_virus", b"x" * 200) != hash_text("person1_virus", b"x" * 201)
    assert len(hash_text("person1_virus", DEFAULT_SALT)) == 16


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
