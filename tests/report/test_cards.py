"""What notebooks show: small, escaped, with the numbers that `summary` gives."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from universality import SAE, Calibration, FeatureStore, Similarity, match_many
from universality.family import Families
from universality.notebook_card import card, histogram


def cells(shown: Any) -> dict[str, str]:
    html = shown._repr_html_()
    assert len(html) < 6000
    assert html == shown._repr_html_()
    assert len(repr(shown)) < 200
    rows = [["".join(cell.itertext()) for cell in row] for row in ElementTree.fromstring(html).iter("tr")]
    return dict(rows)


def test_every_result_has_a_card(planted: Any) -> None:
    folder = planted[1]
    calibration = Calibration.load(folder.calibration("A-B.w24"))
    assert cells(calibration)["n_pairs"] == cells(calibration.match)["n_pairs"] == "23"
    assert cells(calibration.match)["median_score"] == "1"
    families = Families.load(folder.families("A"))
    assert cells(families)["edges"] == str(len(families.edges))
    assert cells(families)["16 wide"].startswith("eligible 15")
    with FeatureStore.open(folder.store("A", 24, 0)) as store:
        assert cells(store)["tokens"] == f"{store.n_tokens:,}"
        assert cells(store)["alive"] == "23"
        assert "histogram of firing density, log10" in store._repr_html_()


def test_pictures_of_results(planted: Any) -> None:
    folder = planted[1]
    calibration = Calibration.load(folder.calibration("A-B.w24"))
    assert "held-out score; dashed: 95% of the null" in calibration._repr_html_()
    assert repr(calibration).startswith("Calibration(hungarian, activation, 23 pairs, median score ")
    assert repr(calibration.match).startswith(
        "Match(hungarian, activation, 24 x 24 features, 23 pairs, median score 1."
    )
    families = Families.load(folder.families("A"))
    assert repr(families) == f"Families(widths 16, 24; {len(families.edges)} edges)"
    assert "family of feature" in families._repr_html_()


def test_a_card_of_a_store_reads_nothing_but_the_header(planted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with FeatureStore.open(planted[1].store("A", 24, 0)) as store:
        before = store._repr_html_()
        monkeypatch.setattr(FeatureStore, "_dataset", None)  # every other read goes through it
        assert store._repr_html_() == before
        with pytest.raises(TypeError):
            store.rows(slice(0, 1))


def test_cards_of_similarities_groups_and_saes(planted: Any) -> None:
    with FeatureStore.open(planted[1].store("A", 24, 0)) as a, FeatureStore.open(planted[1].store("B", 24, 0)) as b:
        shown = cells(Similarity.activation(a, b))
        assert (shown["rows"], shown["dead rows"], shown["tokens"]) == ("24", "1", f"{a.n_tokens:,}")
        groups = match_many({("A", "B"): Similarity.activation(a, b)})
        assert repr(groups) == f"Groups(of A, B; {len(groups.members)} groups)"
        assert cells(groups)
    metadata = {"model": {"name": "<b>"}, "hook_name": "blocks.0.hook_resid_post", "training": "anything"}
    sae = SAE(torch.eye(2), torch.zeros(2), torch.eye(2), torch.zeros(2), architecture="topk", k=1, metadata=metadata)
    assert repr(sae) == "SAE(topk, d_in=2, d_sae=2, k=1)"
    assert (cells(sae)["model"], cells(sae)["trained at"]) == ("<b>", "blocks.0.hook_resid_post")


def test_a_histogram_has_its_bars_and_its_mark_in_place() -> None:
    drawn = histogram([0.0, 0.0, 1.0, np.nan, np.inf], "r <1>", mark=0.25)
    assert 'd="M0 80v-80h7V80zM312 80v-40h7V80z"' in drawn
    assert 'd="M80 0V80" stroke="#d33"' in drawn
    assert "r &lt;1&gt;" in drawn
    assert "#d33" not in histogram([0.0, 1.0], "r", mark=2.0)
    assert histogram([np.nan], "r") == ""
    assert ElementTree.fromstring(histogram([3.0], "r")).tag == "svg"


def test_names_are_escaped(planted: Any, tmp_path: Path) -> None:
    assert card("<b>", {"<i>": "</td>&", "x": True, "none": None}) == (
        "<table><caption>&lt;b&gt;</caption><tr><th>&lt;i&gt;</th><td>&lt;/td&gt;&amp;</td></tr>"
        "<tr><th>x</th><td>True</td></tr></table>"
    )
