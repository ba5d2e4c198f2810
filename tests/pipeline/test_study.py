"""What a study compares: pairs of models, ceilings, and SAE seeds of one model."""

from pathlib import Path

from universality.config import Config, parse_config
from universality.pipeline.paths import RunFolder
from universality.pipeline.study import ceilings_of, comparisons, headline_comparison, sae_grid


def study(**saes: object) -> Config:
    return parse_config({"models": {"load": {"A": "starter/seed0"}}, "saes": saes})


def compared(**saes: object) -> list[tuple[str, str, tuple[int, int]]]:
    found = comparisons(study(**saes), RunFolder(Path("r")))
    return [(c.name, c.of, c.seeds) for c in found]


def test_every_pair_of_seeds_is_compared_at_every_width_that_has_both() -> None:
    assert compared(widths=[8, 16], seeds=[0, 3], k=4) == [
        ("A-A.w8.s0-s3", "seeds", (0, 3)),
        ("A-A.w16.s0-s3", "seeds", (0, 3)),
    ]
    assert [name for name, _, _ in compared(widths=[8], seeds=[0, 1, 2], k=4)] == [
        "A-A.w8.s0-s1", "A-A.w8.s0-s2", "A-A.w8.s1-s2",
    ]  # fmt: skip
    assert compared(widths=[8, 16], ceiling_seed=5, k=4) == [("A-A.w16.s0-s5", "seeds", (0, 5))]
    assert compared(widths=[8, 16], k=4) == [("A-A.w16.s0-s1", "seeds", (0, 1))]
    assert compared(widths=[8, 16], seeds=[3], k=4) == [("A-A.w16.s3-s0", "seeds", (3, 0))]
    assert compared(widths=[8, 16], ceiling_seed=None, k=4) == []


def test_the_headline_is_the_first_pair_of_seeds_at_the_largest_width() -> None:
    found = headline_comparison(study(widths=[8, 16], seeds=[0, 1, 2], k=4), RunFolder(Path("r")))
    assert (found.name, found.sides) == ("A-A.w16.s0-s1", ("A seed 0", "A seed 1"))
    assert [store.name for store in (found.a, found.b)] == ["A.w16-s0.h5", "A.w16-s1.h5"]


def test_two_models_are_compared_as_before_whatever_their_seeds() -> None:
    models = {"load": {"A": "starter/seed0", "B": "starter/seed1"}}
    config = parse_config({"models": models, "saes": {"widths": [8, 16], "k": 4, "seeds": [0, 1]}})
    found = comparisons(config, RunFolder(Path("r")))
    assert [(c.name, c.of) for c in found] == [
        ("A-B.w8", "models"), ("A-B.w16", "models"), ("A-B.neurons", "neurons"), ("A-A.w16.s0-s1", "ceiling"),
        ("B-B.w16.s0-s1", "ceiling"),
    ]  # fmt: skip
    assert headline_comparison(config, RunFolder(Path("r"))).sides == ("A", "B")


def test_each_model_has_one_more_seed_at_the_headline_s_width_by_default() -> None:
    """A study whose configuration says nothing of it, as people copy it."""
    models = {"load": {"A": "starter/seed0", "B": "starter/seed1"}}
    config = parse_config({"models": models, "saes": {"widths": [8, 16], "k": 4}})
    assert sae_grid(config)[-2:] == [("A", 16, 1), ("B", 16, 1)]
    assert sae_grid(parse_config(config.model_dump())) == sae_grid(config)  # as a run writes it down
    folder = RunFolder(Path("r"))
    by_width = {c.width: ceilings_of(config, folder, c) for c in comparisons(config, folder) if c.of == "models"}
    assert by_width[8] == [None, None]
    assert [c.name for c in by_width[16] if c] == ["A-A.w16.s0-s1", "B-B.w16.s0-s1"]
    without = parse_config({"models": models, "saes": {"widths": [8, 16], "k": 4, "ceiling_seed": None}})
    assert not {c.of for c in comparisons(without, folder)} & {"ceiling"}
    assert sae_grid(without) == sae_grid(config)[:-2]
    two = parse_config({"models": models, "saes": {"widths": [8, 16], "k": 4, "seeds": [4, 2]}})
    assert len(sae_grid(two)) == 8  # the second seed serves, and nothing more is trained
    assert [c.seeds for c in comparisons(two, folder) if c.of == "ceiling"] == [(4, 2), (4, 2)]
