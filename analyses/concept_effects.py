"""Does ablating a concept's feature cost loss on its kind of text alone, and does clamping it make the model write it?

    python analyses/concept_effects.py [RUN [COMPARISON [FOLDER]]]

For Hebrew, Arabic script, DNA, base64 and Python: the feature of the first model that detects the kind best (by the
corpus's labels), its partner in the second model, and the second model's own best feature where that is another.

Specificity: what ablating the feature adds to the loss of a token, on the kind's reporting documents and on all others.
Influence: of 200 sampled continuations of BOS, the share that a token-frequency classifier gives to the kind, with the
feature clamped to multiples of its maximum; beside it unsteered text, and random living features of the same SAE whose
shift has the same norm. Writes CSV files and table.md into FOLDER, by default analyses/results/concept_effects.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from comparison import open_comparison
from scipy import sparse

from universality import FeatureStore, Study
from universality.activations import ModelSite
from universality.arrays import FloatArray, IntArray, evenly_spaced
from universality.corpus import TokenBlocks, Tokenizer, load_tokenizer
from universality.effects import (
    Change,
    Intervention,
    KindClassifier,
    clamp,
    measure_loss_changes,
    of_maximum,
    share_of_kind,
    write,
)
from universality.export import write_csv
from universality.features.specificity import specificity
from universality.files import write_bytes
from universality.formatting import fixed, interval, percent
from universality.pipeline import RunFolder
from universality.sae import SAE
from universality.statistics import concept_table
from universality.statistics.ratio_intervals import ratio_intervals

KINDS = ("hebrew", "arabic-script", "dna", "base64", "python")
TIMES = (1, 2, 4, 8)  # multiples of the feature's maximum
N_TEXTS, N_TOKENS = 200, 24  # sampled continuations, at temperature 1
N_RANDOM = 10  # random features for each feature; each writes N_TEXTS / N_RANDOM texts
KIND_BLOCKS, ALL_BLOCKS = 128, 384  # reporting blocks of each kind, and of all text, spread evenly
SEED = 0
BOUNDS = ("mean", "low", "high")


def main() -> None:
    """Measure both, for both models, and write the tables."""
    name, a, b, calibration = open_comparison()
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
    target = Path(sys.argv[3] if len(sys.argv) > 3 else "analyses/results/concept_effects")
    names, width = name.split(".w")
    study, folder = Study.open(run), RunFolder(run)
    table = concept_table(a, b, calibration).set_index("kind").loc[list(KINDS)]
    blocks = TokenBlocks.load(folder.blocks)
    classifier = KindClassifier.fit(blocks.select("train"))
    tokenizer = load_tokenizer(folder.tokenizer)
    losses: list[dict[str, Any]] = []
    writing: list[dict[str, Any]] = []
    for side, (model, store) in enumerate(zip(names.split("-"), (a, b), strict=True)):
        site, sae = study.site(model), SAE.load(folder.sae(model, int(width), 0))
        chosen = features_of(table, specificity(store), side, model)
        losses += loss_rows(site, sae, blocks.select("report"), chosen)
        writing += writing_rows(site, sae, store, classifier, chosen, tokenizer)
    target.mkdir(parents=True, exist_ok=True)
    of_real_text = classifier_rows(classifier, blocks.select("report"))
    for file, rows in (("losses", losses), ("writing", writing), ("classifier", of_real_text)):
        write_csv(pd.DataFrame(rows), target / f"{file}.csv", float_format="%.5g")
    write_bytes(target / "table.md", ("\n".join(markdown(losses, writing, of_real_text)) + "\n").encode())
    print(f"{target / 'table.md'}; {sum(os.times()[:4]):.0f} s of processor")


def features_of(table: pd.DataFrame, measured: Any, side: int, model: str) -> list[dict[str, Any]]:
    """List kind, feature, F1 and role of each feature of one model."""
    rows = []
    for kind, row in table.iterrows():
        roles = (
            {int(row["partner"]): "partner", int(row["own_best"]): "best"} if side else {int(row["feature"]): "best"}
        )
        if side and row["partner"] == row["own_best"]:
            roles = {int(row["partner"]): "partner and best"}
        f1 = measured.f1[:, measured.kinds.index(kind)]
        rows += [
            {"kind": kind, "model": model, "feature": feature, "role": role, "f1": float(f1[feature])}
            for feature, role in roles.items()
            if feature >= 0
        ]
    return rows


def loss_rows(site: ModelSite, sae: SAE, report: TokenBlocks, chosen: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Measure what each feature's ablation adds to the loss, on its kind and elsewhere."""
    of_block = np.array(report.documents.kind)[report.document]
    of_kind = {kind: np.flatnonzero(of_block == kind) for kind in KINDS}
    of_kind = {kind: part[evenly_spaced(part.size, KIND_BLOCKS)] for kind, part in of_kind.items()}
    everywhere = evenly_spaced(len(report), ALL_BLOCKS)
    read = np.unique(np.concatenate([everywhere, *of_kind.values()]))
    features = sorted({row["feature"] for row in chosen})
    changes = measure_loss_changes(site, sae, report.take(read), features)
    block_of = np.repeat(read, report.length[read] - 1)
    for row in chosen:
        added = changes.added[features.index(row["feature"])]
        places = {"kind": of_kind[row["kind"]], "elsewhere": everywhere[of_block[everywhere] != row["kind"]]}
        found: dict[str, Any] = {}
        for place, part in places.items():
            tokens = np.isin(block_of, part)
            documents, of_token = np.unique(report.document[block_of[tokens]], return_inverse=True)
            means = ratio_intervals([np.bincount(of_token, added[tokens])], np.bincount(of_token), seed=SEED)
            found |= {f"{place}_{name}": float(value[0]) for name, value in zip(BOUNDS, means, strict=True)}
            found |= {f"{place}_documents": documents.size, f"{place}_tokens": int(tokens.sum())}
            found[f"{place}_plain_loss"] = float(changes.plain[tokens].mean())
        yield row | found


def writing_rows(
    site: ModelSite,
    sae: SAE,
    store: FeatureStore,
    classifier: KindClassifier,
    chosen: list[dict[str, Any]],
    tokenizer: Tokenizer,
) -> Iterator[dict[str, Any]]:
    """Measure the share of continuations that are of a feature's kind, plain, steered and with random features."""

    def texts(*changes: Change) -> IntArray:
        edits = [Intervention(site, sae, change) for change in changes]
        bos, never = [tokenizer.bos_id], tokenizer.ids_without_text
        return write(site, bos, edits, n_tokens=N_TOKENS, n_samples=N_TEXTS, seed=SEED, never=never)

    norm, maxima = sae.W_dec.norm(dim=1).numpy(), np.asarray(store.moments().max, np.float64)
    living = np.flatnonzero(store.alive)
    unsteered = texts()
    rng = np.random.default_rng(SEED)
    for row in chosen:
        kind, feature = row["kind"], row["feature"]
        print(f"{kind}: {row['model']}:{feature}", file=sys.stderr, flush=True)
        yield row | {"times": 0, **shares(classifier, kind, unsteered)}
        random = rng.choice(living[living != feature], N_RANDOM, replace=False)
        for times in TIMES:
            value = float(of_maximum([feature], times, maxima)[0])
            steered = texts(clamp([feature], value))
            of_text = np.repeat(random, N_TEXTS // N_RANDOM)
            others = texts(clamp_one_each(of_text, value * norm[feature] / norm[of_text]))
            most = max(share_of_kind(classifier.classify(each), kind)[0] for each in np.split(others, N_RANDOM))
            control = shares(classifier, kind, others)
            beside = {f"random_{name}": number for name, number in control.items()} | {"random_most": most}
            yield row | {"times": times, "value": value, **shares(classifier, kind, steered), **beside}


def clamp_one_each(features: IntArray, values: FloatArray) -> Change:
    """Set one feature in each text: ``features[k]`` to ``values[k]`` at all tokens of text k."""

    def change(codes: sparse.csr_matrix) -> sparse.csr_matrix:
        tokens = np.arange(codes.shape[0])  # those of one text in a row
        feature, value = (np.repeat(each, tokens.size // features.size) for each in (features, values))
        differences = value - np.asarray(codes[tokens, feature]).ravel()
        return sparse.csr_matrix((differences.astype(np.float32), (tokens, feature)), shape=codes.shape)

    return change


def shares(classifier: KindClassifier, kind: str, tokens: IntArray) -> dict[str, float]:
    """Return the share of texts of a kind with its interval, and the mean number of distinct tokens of a text."""
    share, low, high = share_of_kind(classifier.classify(tokens), kind)
    return {"share": share, "low": low, "high": high, "distinct": distinct(tokens)}


def distinct(tokens: IntArray) -> float:
    """Return the mean number of distinct tokens of texts [n_texts, n_tokens]."""
    return float(np.mean([np.unique(text).size for text in tokens]))


def classifier_rows(classifier: KindClassifier, report: TokenBlocks) -> list[dict[str, Any]]:
    """Measure the classifier on beginnings of held-out blocks: each kind's own, and those of all other text."""
    long_enough = report.take(np.flatnonzero(report.length > N_TOKENS))
    of_block = np.array(long_enough.documents.kind)[long_enough.document]
    rows = []
    for kind in KINDS:
        own, other = np.flatnonzero(of_block == kind), np.flatnonzero(of_block != kind)
        own, other = (part[evenly_spaced(part.size, most)] for part, most in ((own, N_TEXTS), (other, 2000)))
        text, rest = (long_enough.tokens[part, 1 : N_TOKENS + 1] for part in (own, other))
        found, mistaken = (share_of_kind(classifier.classify(tokens), kind) for tokens in (text, rest))
        named = ("share", "low", "high")
        rows.append(
            {"kind": kind, "texts": own.size}
            | {f"found_{name}": value for name, value in zip(named, found, strict=True)}
            | {"other_texts": other.size}
            | {f"mistaken_{name}": value for name, value in zip(named, mistaken, strict=True)}
            | {"distinct": distinct(text)}
        )
    return rows


def markdown(losses: list[dict[str, Any]], writing: list[dict[str, Any]], real: list[dict[str, Any]]) -> Iterator[str]:
    """Write the three tables in Markdown."""
    yield "Nats a token that ablating the feature adds, with 95% intervals over documents:\n"
    yield "| kind | feature | F1 | on its kind | documents | elsewhere | documents |\n|---|---|---|---|---|---|---|"
    for row in losses:
        cells = [
            f"{fixed(row[f'{place}_mean'], 4)} ({interval(row[f'{place}_low'], row[f'{place}_high'], 4) or '–'}) | "
            f"{row[f'{place}_documents']}"
            for place in ("kind", "elsewhere")
        ]
        yield f"| {named(row)} | {fixed(row['f1'])} | {' | '.join(cells)} |"
    yield f"\nShare of {N_TEXTS} texts of {N_TOKENS} tokens that the classifier gives to the kind, with 95% intervals;"
    yield f"in brackets random features at equal norm, all {N_RANDOM} together and the highest of them:\n"
    columns = " | ".join(f"× {times}" for times in TIMES)
    yield f"| kind | feature | unsteered | {columns} |\n|---|---|---|{'---|' * len(TIMES)}"
    for start in range(0, len(writing), 1 + len(TIMES)):
        unsteered, *steered = writing[start : start + 1 + len(TIMES)]
        cells = [share(unsteered)]
        cells += [f"{share(row)} [{percent(row['random_share'])}, {percent(row['random_most'])}]" for row in steered]
        yield f"| {named(unsteered)} | {' | '.join(cells)} |"
    yield f"\nThe classifier on real held-out text of {N_TOKENS} tokens:\n"
    yield "| kind | texts | given to the kind | other texts | given to the kind |\n|---|---|---|---|---|"
    for row in real:
        found, mistaken = (
            f"{percent(row[f'{name}_share'])} ({percent(row[f'{name}_low'])} to {percent(row[f'{name}_high'])})"
            for name in ("found", "mistaken")
        )
        yield f"| {row['kind']} | {row['texts']} | {found} | {row['other_texts']} | {mistaken} |"


def named(row: dict[str, Any]) -> str:
    """Return the cells with a row's kind and feature."""
    return f"{row['kind']} | {row['model']}:{row['feature']}, {row['role']}"


def share(row: dict[str, Any]) -> str:
    """Format a share with its interval."""
    return f"{percent(row['share'])} ({percent(row['low'])} to {percent(row['high'])})"


if __name__ == "__main__":
    main()
