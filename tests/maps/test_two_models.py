"""Partners lie together on a joint map, features without one lie apart, and re-paired text brings none together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from scipy.spatial import cKDTree

from tests.maps.conftest import Mapped
from universality import FeatureStore
from universality.archive import read_archive, write_archive
from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, UniversalityError
from universality.maps import JointMap, joint_map
from universality.maps.two_models import FORMAT, VERSION


def to_nearest_of_b(made: JointMap) -> np.ndarray:
    """Distance of each feature of A to the nearest of B."""
    return np.asarray(cKDTree(made.xy_b).query(made.xy_a)[0])


def test_partners_are_each_others_nearest(mapped: Mapped) -> None:
    planted, made = mapped
    nearest = cKDTree(made.xy_b).query(made.xy_a)[1]
    shared = planted.has_partner
    assert planted.is_true(np.flatnonzero(shared), nearest[shared]).mean() > 0.9
    assert made.partners.n_pairs >= 55
    assert made.partners.near(1) > 0.9


def test_features_without_a_partner_are_alone(mapped: Mapped) -> None:
    planted, made = mapped
    assert (made.alone_a == ~planted.has_partner).mean() > 0.9
    distance, shared = to_nearest_of_b(made), planted.has_partner
    assert np.median(distance[~shared]) > 3 * np.median(distance[shared])


def test_repaired_text_brings_no_partners_together(mapped: Mapped) -> None:
    made = mapped.map
    assert made.by_chance.n_pairs == made.partners.n_pairs
    assert made.by_chance.near(1) < 0.1 < made.partners.near(1)
    assert made.by_chance.median_share > 0.2
    assert made.n_null_edges < 0.2 * len(made.edges)


def test_held_out_pairs_have_no_edge_and_are_ranked(mapped: Mapped) -> None:
    made = mapped.map
    assert made.held_out.n_pairs == np.ceil(0.1 * made.partners.n_pairs)
    assert made.held_out.n_others == (90, 90)
    # nothing else links the two features of a planted pair: without its edge they are no nearer than by chance
    assert made.held_out.near(1) < 0.5


def test_the_same_stores_and_seed_give_the_same_bytes(mapped: Mapped, tmp_path: Path) -> None:
    planted, made = mapped
    again = joint_map(planted.a, planted.b)
    files = [which.save(tmp_path / name) for which, name in ((made, "one.npz"), (again, "two.npz"))]
    arrays = [read_archive(file, FORMAT, VERSION) for file in files]
    assert arrays[0][0] == arrays[1][0]
    for name, values in arrays[0][1].items():
        assert values.tobytes() == arrays[1][1][name].tobytes(), name


def test_a_map_survives_its_file(mapped: Mapped, tmp_path: Path) -> None:
    made = mapped.map
    loaded = JointMap.load(made.save(tmp_path / "map.npz"))
    assert loaded.summary() == made.summary()
    assert loaded.to_frame().equals(made.to_frame())
    assert (loaded.settings, loaded.notes, repr(loaded)) == (made.settings, made.notes, repr(made))


def test_a_file_that_contradicts_itself_is_refused(mapped: Mapped, tmp_path: Path) -> None:
    path = mapped.map.save(tmp_path / "map.npz")
    header, arrays = read_archive(path, FORMAT, VERSION)
    del arrays["xy_a"]
    write_archive(path, FORMAT, VERSION, header, arrays)
    with pytest.raises(FormatError, match=r"contents contradict themselves \('xy_a'\); make the map again"):
        JointMap.load(path)


def test_a_table_has_a_row_for_every_feature_that_is_placed(mapped: Mapped, tmp_path: Path) -> None:
    made = mapped.map
    xy = made.xy_a.copy()
    xy[3] = np.nan
    frame = replace(made, xy_a=xy).to_frame()
    assert list(frame) == ["side", "feature", "x", "y", "cluster", "best_r", "alone"]
    assert len(frame) == 179
    assert 3 not in set(frame.loc[frame["side"] == "a", "feature"])
    assert_array_equal(frame["best_r"].isna(), frame["alone"])  # all of these fire often enough to tell
    frame.to_csv(tmp_path / "map.csv", index=False)
    assert (tmp_path / "map.csv").read_text().splitlines()[0] == "side,feature,x,y,cluster,best_r,alone"


def test_the_summary_of_a_notebook_names_ranks_and_chance(mapped: Mapped) -> None:
    assert "partner among the 10 nearest" in mapped.map._repr_html_()


def test_features_that_fire_too_rarely_to_tell_are_placed_but_not_called_alone(mapped: Mapped) -> None:
    made = joint_map(mapped.planted.a, mapped.planted.b, min_firings=10**6)
    assert len(made.edges) == made.n_null_edges == made.alone_a.sum() == 0
    assert made.partners.n_pairs == made.held_out.n_pairs == made.by_chance.n_pairs == 0
    assert len(made.to_frame()) == 180


def test_a_text_that_cannot_be_repaired_has_no_thresholds_and_no_control(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = sparse.csr_matrix(rng.uniform(size=(400, 12)) * (rng.uniform(size=(400, 12)) < 0.2))
    table = DocumentTable(("x", "y"), ("text", "text"), ("x", "y"), ("choose", "report"))
    text = {"token": np.ones(400, int), "document": np.arange(400) // 200, "special_tokens": (), "documents": table}
    with (
        FeatureStore.from_csr(rows, tmp_path / "a.h5", **text) as a,
        FeatureStore.from_csr(rows[:, ::-1], tmp_path / "b.h5", **text) as b,
    ):
        made = joint_map(a, b)
    assert "no null: edges between the models need an r above 0 only" in " ".join(made.notes)
    assert made.by_chance.n_pairs == made.n_null_edges == 0
    assert made.partners.near(1) == 1  # each feature of A is one of B, in reverse order


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"within": "logit"}, "within: expected 'decoder', 'activation' or None, found 'logit'"),
        ({"within": "decoder"}, "holds no dictionary"),
        ({"n_neighbours": 0}, "n_neighbours"),
        ({"min_dist": 2}, "min_dist: expected a distance between 0 and 1, found 2"),
    ],
)
def test_settings_out_of_range_are_refused(mapped: Mapped, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        joint_map(mapped.planted.a, mapped.planted.b, **settings)  # type: ignore[arg-type]
