"""What the stage ``effects`` writes about the headline's pairs."""

from pathlib import Path

import numpy as np

from universality import FeatureStore
from universality.config import load_config
from universality.effects import PairEffects
from universality.pipeline import RunFolder
from universality.pipeline.stages.measure_pair_effects import measured_pairs
from universality.statistics import Calibration


def test_the_headline_s_pairs_are_changed_where_both_fire(finished: Path) -> None:
    folder, config = RunFolder(finished), load_config(finished / "config.yaml")
    match = Calibration.load(folder.calibration("A-B.w128")).match
    made = PairEffects.load(folder.pair_effects("A-B.w128"))
    chosen = measured_pairs(config, match)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(made.rows, match.rows[chosen])
    np.testing.assert_array_equal(made.cols, match.cols[chosen])
    with FeatureStore.open(folder.store("A", 128, 0)) as a, FeatureStore.open(folder.store("B", 128, 0)) as b:
        report = np.array(a.documents.split)[a.tokens.document] == "report"
        fires = [store.csr()[report].toarray() > 0 for store in (a, b)]
        together = (fires[0][:, made.rows] & fires[1][:, made.cols]).sum(axis=0)
        mask = b.unembedding().mask
    np.testing.assert_array_equal(made.n_contexts, np.minimum(together, config.effects.pair_contexts))
    changed = (made.tokens[..., 0, 0] >= 0).all(axis=0)  # by both features; one at its maximum is not clamped to more
    np.testing.assert_array_equal(np.isfinite(made.r), np.broadcast_to(changed[..., None], made.r.shape))
    assert changed[made.n_contexts > 0].mean() > 0.9
    assert mask[made.tokens[made.tokens >= 0]].all()
    assert not folder.pair_effects("A-B.w64").exists()
    assert not folder.pair_effects("A-A.w128.s0-s1").exists()
    assert (folder.report.parent / "data" / "comparisons" / "A-B.w128" / "token-effects-0.js").exists()
