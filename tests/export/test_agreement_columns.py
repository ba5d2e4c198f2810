"""Tables and edges of pairs state whether the partners do the same, under names of their own."""

import numpy as np
import pandas as pd

from tests.report.planted_effects import agreement
from universality.export import effect_columns, match_graph, match_table
from universality.features.storage.store import FeatureStore
from universality.matching import match
from universality.similarity import Similarity


def test_the_columns_have_names_of_their_own() -> None:
    found = effect_columns(agreement(np.arange(5), np.arange(5)[::-1]))
    assert found["effect_r"].tolist()[:2] == [0.3, 0.3]  # r per norm, not r in nats, which is 0.7
    assert found["fingerprint_ablation_r"].iloc[0] == 0.44
    assert {"effect_q_opposite", "effect_sign_chance"} <= set(found)  # the page of a pair shows them, too
    assert {"effect_q", "effect_sign_agreement", "effect_control_rank", "effect_ceiling_a"} <= set(found)
    assert not {"q", "r", "note"} & set(found)


def test_tables_and_edges_carry_them(two_stores: tuple[FeatureStore, FeatureStore]) -> None:
    matched = match(Similarity.activation(*two_stores))
    of_pairs = effect_columns(agreement(np.arange(5), np.arange(5))).iloc[:2]  # of the pairs (0, 0) and (1, 1)
    calibration = matched.to_frame()[["row", "col"]].merge(of_pairs, on=["row", "col"], how="left")
    table = match_table(matched, *two_stores, calibration=calibration).set_index("row")
    graph = match_graph(matched, *two_stores, pairs=table.reset_index())
    for row, col in zip(matched.rows.tolist(), matched.cols.tolist(), strict=True):
        edge = graph.edges[f"a:{row}", f"b:{col}"]
        if row == col and row < 2:
            assert table.loc[row, "effect_r"] == edge["effect_r"] == 0.3
            assert edge["fingerprint_ablation_r"] == 0.44
        else:
            assert pd.isna(table.loc[row, "effect_r"])
            assert "effect_r" not in edge
