"""Order of pairs along the sides of a matrix."""

import numpy as np
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal

from universality.plot.pair_order import cluster_order, rank_ticks


def test_clusters_stand_together() -> None:
    group = np.asarray([0, 1, 2] * 10)
    order = cluster_order((group[:, None] == group[None, :]).astype(float))
    assert np.count_nonzero(np.diff(group[order])) == 2
    assert_array_equal(cluster_order(np.eye(2)), [0, 1])
    assert sorted(cluster_order(np.full((3, 3), np.nan))) == [0, 1, 2]


def test_ticks_are_ranks_of_all_pairs() -> None:
    axes = Figure().subplots()
    rank_ticks(axes, 11, 1001)
    ranks = [axes.xaxis.get_major_formatter()(place, 0) for place in axes.get_xticks()]
    assert (ranks[0], axes.get_xticks()[0]) == ("1", 0)
    assert ranks == [f"{round(place * 100 + 1):,}" for place in axes.get_xticks()]
