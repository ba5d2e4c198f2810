"""UMAP's layout of a graph: linked points attract each other, others repel.

Points start at the leading eigenvectors of the normalised graph, so that the layout does not depend on an arbitrary
start (Kobak & Linderman 2021, *Initialization is critical for preserving global data structure in both t-SNE and
UMAP*). umap-learn then optimises them on one thread, since its threads would make the result depend on their timing.
"""

from __future__ import annotations

import warnings
from types import ModuleType

import numpy as np
from scipy import sparse

from universality.arrays import FloatArray, IntArray
from universality.errors import UniversalityError
from universality.extras import naming_extra

STEPS = 100
"""Steps of orthogonal iteration: enough for a start, which needs no converged eigenvectors."""
VECTORS = 12
"""Vectors that are iterated together, beside those that are used."""
EXTENT = 10.0
"""Half the side of the square in which points start, umap-learn's."""
NOISE = 1e-3
"""Standard deviation of the start's noise, which separates points at one place."""
MANY = 10_000
"""Points above which umap-learn takes 200 passes over the edges in place of 500."""


def lay_out(graph: sparse.csr_matrix, seed: int = 0, min_dist: float = 0.05, n_epochs: int | None = None) -> FloatArray:
    """Place the nodes of a graph in the plane.

    Parameters
    ----------
    graph
        [n, n] symmetric strengths in [0, 1].
    seed
        Seed of the start and of the optimisation. The same graph and seed give the same bytes on one machine.
    min_dist
        Distance below which points need not come nearer to count as together.
    n_epochs
        Passes over the edges; None for 500, or 200 above 10,000 nodes.

    Returns
    -------
    float64 [n, 2]
        NaN for nodes without an edge: their place would mean nothing.

    Raises
    ------
    UniversalityError
        When ``min_dist`` is negative or above 1.
    """
    if not 0 <= min_dist <= 1:
        raise UniversalityError(f"min_dist: expected a distance between 0 and 1, found {min_dist}")
    xy = np.full((graph.shape[0], 2), np.nan)
    linked = np.flatnonzero(graph.getnnz(axis=1) > 0)
    if linked.size > 2:
        xy[linked] = _placed(graph[linked][:, linked], seed, min_dist, n_epochs)
    else:
        xy[linked] = np.arange(linked.size)[:, None] * min_dist
    return xy


def import_umap() -> ModuleType:
    """Import the functions of umap-learn, without its warning that TensorFlow, which no map needs, is missing."""
    with naming_extra("a map of features"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)
        from umap import umap_
    return umap_  # type: ignore[no-any-return]


def _placed(graph: sparse.csr_matrix, seed: int, min_dist: float, n_epochs: int | None) -> FloatArray:
    umap = import_umap()
    from threadpoolctl import threadpool_limits

    n = graph.shape[0]
    a, b = umap.find_ab_params(1.0, min_dist)
    chance = np.random.RandomState(seed)
    with threadpool_limits(1):  # sums of several threads differ in the last digit, and the layout multiplies that
        start = spectral_start(graph, seed) + chance.normal(scale=NOISE, size=(n, 2))
    points, _ = umap.simplicial_set_embedding(
        np.zeros((n, 1), np.float32), graph.tocoo(), 2, 1.0, a, b, 1.0, 5,  # umap-learn's rate, repulsion and samples
        n_epochs or (200 if n > MANY else 500), start.astype(np.float32), chance, "euclidean", {}, False, {}, False,
        parallel=False,
    )  # fmt: skip
    return np.asarray(points, np.float64)


def spectral_start(graph: sparse.csr_matrix, seed: int = 0) -> FloatArray:
    """Compute the second and third eigenvector [n, 2] of the normalised graph, roughly, scaled to ±10.

    Orthogonal iteration of (I + D^-1/2 W D^-1/2) / 2: 100 products with the graph, and no factorisation of it.
    """
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = 1 / np.sqrt(degree)
    walk = sparse.diags(scale) @ graph @ sparse.diags(scale)
    vectors = np.random.default_rng(seed).normal(size=(len(degree), min(3 + VECTORS, len(degree))))
    vectors[:, 0] = np.sqrt(degree)  # the first eigenvector is known
    for _ in range(STEPS):
        vectors = np.linalg.qr(walk @ vectors + vectors)[0]
    weights = np.linalg.eigh(vectors.T @ (walk @ vectors))[1][:, ::-1]
    axes = (vectors @ weights)[:, 1:3] * scale[:, None]
    return _upright(axes) * EXTENT / np.maximum(np.abs(axes).max(axis=0), np.finfo(float).tiny)


def _upright(axes: FloatArray) -> FloatArray:
    """Choose the sign of each axis, which is free, so that its farthest point counts as positive."""
    farthest: IntArray = np.abs(axes).argmax(axis=0)
    return np.asarray(axes * np.where(axes[farthest, np.arange(axes.shape[1])] < 0, -1, 1))
