"""Concepts and matched pairs with the text on which their features fire."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from universality.features import FeatureStore
from universality.features.descriptions import Described
from universality.features.examples import Examples, examples
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.report.data import NAN, ConceptRow, Example, FeatureCard, Pair, PairGroup
from universality.statistics import best_neurons, concept_table

TOKENS_SHOWN = 5
PROMOTED_SHOWN = 6
TokenWeights = list[tuple[str, float]]


def concept_rows(results: RunResults) -> tuple[ConceptRow, ...]:
    """Make a row a kind of text: the feature of A that detects it best, and that feature's partner."""
    compared = results.headline
    if compared is None:
        return ()
    a, b = results.described(compared.comparison.a), results.described(compared.comparison.b)
    table = concept_table(a, b, compared.calibration)
    logit = dict(zip(compared.frame["row"], compared.frame["logit"], strict=True))
    n_works = _works_by_kind(a.store)
    neurons = _best_neurons(results, results.folder.neurons(compared.comparison.models[0]), a.store, table)
    tokens_a = a.strings(table["feature"], TOKENS_SHOWN, results.decode) if len(table) else []
    partners = table.loc[table["partner"] >= 0, "partner"].unique() if len(table) else []
    tokens_b = dict(zip(partners, b.strings(partners, TOKENS_SHOWN, results.decode), strict=True))
    return tuple(
        ConceptRow(
            kind=row.kind,
            n_tokens=row.tokens,
            n_groups=n_works[row.kind],
            feature=row.feature,
            partner=None if row.partner < 0 else row.partner,
            f1=row.f1,
            precision=row.precision,
            recall=row.recall,
            partner_f1=row.partner_f1,
            partner_is_best=None if row.partner < 0 else row.partner == row.own_best,
            chosen=row.score,
            held_out=row.held_out,
            ci_low=row.ci_low,
            ci_high=row.ci_high,
            q=row.q,
            logit_r=float(logit.get(row.feature, NAN)),
            neuron_r=neurons.get(row.feature, NAN),
            known_by=row.known_by,
            most_alike=None if row.most_alike < 0 else row.most_alike,
            most_alike_held_out=row.most_alike_held_out,
            tokens_a=tokens,
            tokens_b=tokens_b.get(row.partner, ()),
            ceiling_a=row.ceiling_a,
            ceiling_b=row.ceiling_b,
        )
        for row, tokens in zip(table.itertuples(), tokens_a, strict=True)
    )


def _best_neurons(results: RunResults, path: Path, store: FeatureStore, table: pd.DataFrame) -> dict[int, float]:
    """Map each concept's feature to its r with the most similar neuron; empty where neurons were not stored."""
    if not results.config.features.neuron_documents or not len(table) or not path.exists():
        return {}
    best = best_neurons(store, results.store(path), table["feature"].unique())
    return dict(zip(best["feature"], best["r"], strict=True))


def _works_by_kind(store: FeatureStore) -> dict[str, int]:
    """Count the works of each kind among the documents on which partners are scored."""
    table = store.documents
    works: dict[str, set[str]] = {}
    for document in np.unique(store.tokens.document):
        of_kind = works.setdefault(table.kind[document], set())
        if table.split[document] == "report":
            of_kind.add(table.group[document])
    return {kind: len(groups) for kind, groups in works.items()}


def pair_groups(results: RunResults, size: int = 5) -> tuple[PairGroup, ...]:
    """Select the pairs with the highest, middle and lowest held-out r, with text; none where pairs are too few."""
    compared = results.headline
    if compared is None:
        return ()
    scored = compared.frame.dropna(subset=["held_out"]).sort_values("held_out", ascending=False, kind="stable")
    n = len(scored)
    if n < 3 * size:
        return ()
    middle = n // 2 - size // 2
    groups = (
        ("Highest r", "The pairs with the highest held-out r.", scored.iloc[:size]),
        (
            "Around the median",
            "Pairs around the median of all scored pairs: what a typical pair looks like.",
            scored.iloc[middle : middle + size],
        ),
        (
            "Lowest r",
            "The pairs with the lowest held-out r: one-to-one matching pairs features even where nothing fits.",
            scored.iloc[n - size :],
        ),
    )
    return tuple(
        PairGroup(title, note, tuple(_pair(results, compared, row) for row in part.itertuples()))
        for title, note, part in groups
    )


def _pair(results: RunResults, compared: ComparisonResult, row: Any) -> Pair:
    a, b = results.described(compared.comparison.a), results.described(compared.comparison.b)
    return Pair(
        a=_card(results, a, row.row, b, row.col),
        b=_card(results, b, row.col, a, row.row),
        chosen=row.score,
        held_out=row.held_out,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        q=row.q,
        logit_r=float(row.logit),
        ceiling_a=row.ceiling_a,
        ceiling_b=row.ceiling_b,
    )


def _card(results: RunResults, side: Described, feature: int, partner_side: Described, partner: int) -> FeatureCard:
    store, by_kind = side.store, side.specificity
    (strongest,) = examples(store, [feature], k=4, before=8, after=4, per_block=1)
    raised, _ = logit_extremes(store, np.asarray([feature]), PROMOTED_SHOWN, results.decode)
    return FeatureCard(
        index=int(feature),
        density=float(store.moments().density[feature]),
        kind=by_kind.kind_names[feature] or "",
        purity=float(by_kind.purity[feature]),
        promotes=tuple(token for token, _ in raised[0]) if raised else (),
        examples=tuple(_examples(results, strongest, store, partner_side.store, partner)),
    )


def _examples(
    results: RunResults, strongest: Examples, store: FeatureStore, partner_store: FeatureStore, partner: int
) -> Iterator[Example]:
    rows, values = partner_store.feature(partner)
    partner_activation = dict(zip(rows.tolist(), values.tolist(), strict=True))
    for i, (before, token, after) in enumerate(strongest.strings(results.decode)):
        window = strongest.window_activation[i]
        yield Example(
            tokens=(*before, token, *after),
            activations=tuple(window[~np.isnan(window)].tolist()),  # NaN: beyond the block's ends
            focus=len(before),
            kind=store.tokens.kinds[strongest.kind[i]],
            partner_activation=partner_activation.get(int(strongest.row[i]), 0.0),
        )


def logit_extremes(
    store: FeatureStore, features: NDArray[np.int64], k: int, decode: Callable[[Sequence[int]], Sequence[str]]
) -> tuple[list[TokenWeights], list[TokenWeights]]:
    """Find the tokens whose logits each feature raises and lowers most by its direct path.

    Weights are those of `Unembedding.logit_weights`, centred over the vocabulary that counts.

    Parameters
    ----------
    features : [n_features]
        Indices in the store.
    k
        Tokens of each sign.
    decode
        Function from token ids to strings, for an unembedding that holds no strings of its own. Where it does, ids of
        the store may be those of segments.

    Returns
    -------
    raised, lowered
        For each feature ``(token, weight)`` from the largest effect on; empty lists where the site does not write
        directly into the residual stream.
    """
    dictionary, unembedding = store.dictionary, store.unembedding()
    if dictionary is None or dictionary.residual is None or unembedding is None:
        return [], []
    counts = np.flatnonzero(unembedding.mask)
    weights = unembedding.logit_weights(dictionary.residual[features], centred_over=unembedding.mask)[:, counts]
    k = min(k, len(counts))
    named = decode if unembedding.vocabulary is None else unembedding.vocabulary.strings
    return _largest(weights, counts, k, 1.0, named), _largest(weights, counts, k, -1.0, named)


def _largest(
    weights: NDArray[np.float32],
    tokens: NDArray[np.int64],
    k: int,
    sign: float,
    named: Callable[[Sequence[int]], Sequence[str]],
) -> list[TokenWeights]:
    # argpartition is linear in d_vocab; only the k tokens that it finds are sorted
    places = np.argpartition(-sign * weights, k - 1, axis=1)[:, :k]
    largest = np.take_along_axis(weights, places, axis=1)
    order = np.argsort(-sign * largest, axis=1, kind="stable")
    places, largest = np.take_along_axis(places, order, axis=1), np.take_along_axis(largest, order, axis=1)
    return [list(zip(named(tokens[i].tolist()), v.tolist(), strict=True)) for i, v in zip(places, largest, strict=True)]
