"""The counts of the domains, and how far they tell the class."""

import pytest
from prepared_images import image

from beam_prep.planning.domains import count_domains, cramers_v, describe_domains, tell_class
from beam_prep.planning.splits import Fractions, assign


def counts(**by_domain: tuple[int, int]) -> dict:
    """Returns the counts of domains, all in train, by their numbers of NORMAL and PNEUMONIA."""
    return {
        domain: {"train": {"NORMAL": normal, "PNEUMONIA": pneumonia}}
        for domain, (normal, pneumonia) in by_domain.items()
    }


def test_images_are_counted_by_domain_split_and_class():
    splits = {"train": [image("a", 0, domain="x"), image("b", 0, label=1)], "val": [image("c", 0, domain="x")]}
    counted = count_domains(splits)
    assert list(counted) == ["x", ""], "images without a domain come last"
    assert counted["x"]["train"] == counted["x"]["val"] == {"NORMAL": 1, "PNEUMONIA": 0}
    assert count_domains({"train": [image("a", 0)]}) == {}, "a dataset without domains has no counts"


@pytest.mark.parametrize(
    ("domains", "association"),
    [
        (counts(a=(10, 0), b=(0, 5), c=(7, 0)), 1.0),
        (counts(a=(10, 20), b=(5, 10)), 0.0),
        # chi2 of [[30, 10], [20, 40]] is 16.667, as scipy.stats.chi2_contingency (correction=False) has it
        (counts(a=(30, 10), b=(20, 40)), (16.6667 / 100) ** 0.5),
        (counts(a=(10, 5)), None),
        (counts(a=(10, 0), b=(5, 0)), None),
    ],
)
def test_cramers_v(domains, association):
    assert cramers_v(domains) == (None if association is None else pytest.approx(association, abs=1e-4))


def test_what_the_domains_tell_is_said_in_words():
    assert "each domain holds one class only (Cramér's V 1.00)" in (tell_class(counts(a=(10, 0), b=(0, 5))) or "")
    assert "; of one class only: b" in (tell_class(counts(a=(10, 9), b=(0, 5))) or "")
    assert tell_class(counts(a=(1, 1))) is None
    many = counts(**{f"d{number}": (number + 1, 0) for number in range(8)})
    assert next(describe_domains(many)).endswith("d2 3 NORMAL; 2 more")


def test_splits_are_stratified_by_class_and_domain_if_asked_for():
    images = [
        image(f"{domain}{label}-{number}", 0, domain=domain, label=label)
        for domain, count in (("large", 100), ("small", 10))
        for label in (0, 1)
        for number in range(count)
    ]
    held = count_domains(assign(images, Fractions(0.2, by_domain=True)).splits)
    assert held["large"]["val"] == {"NORMAL": 20, "PNEUMONIA": 20}
    assert held["small"]["val"] == {"NORMAL": 2, "PNEUMONIA": 2}
