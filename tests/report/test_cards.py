"""What notebooks show: small, escaped, with the numbers that `summary` gives."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from universality import Calibration, FeatureStore
from universality.family import Families
from universality.notebook_card import card


def cells(shown: Any) -> dict[str, str]:
    html = shown._repr_html_()
    assert len(html) < 6000
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


def test_names_are_escaped(planted: Any, tmp_path: Path) -> None:
    assert card("<b>", {"<i>": "</td>&", "x": True, "none": None}) == (
        "<table><caption>&lt;b&gt;</caption><tr><th>&lt;i&gt;</th><td>&lt;/td&gt;&amp;</td></tr>"
        "<tr><th>x</th><td>True</td></tr></table>"
    )
