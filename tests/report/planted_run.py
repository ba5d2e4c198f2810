"""A run made by hand: models of planted features in two widths, tokens of every unkind sort, no training."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from scipy import sparse

from universality.config import Config, load_config
from universality.corpus.documents import DocumentTable
from universality.effects import PairEffects
from universality.features import FeatureStore
from universality.features.storage.token_table import Dictionary
from universality.labels import (
    FeatureLabel,
    LabelSettings,
    LabelSpecificity,
    LabelTransfer,
    LabelWriter,
    LiteratureComparison,
    Score,
    read_labels,
)
from universality.labels.explanation_specificity import FLOOR
from universality.labels.label_specificity import FIRING_COLUMNS, VERDICT_COLUMNS
from universality.labels.label_transfer import SCORE_COLUMNS
from universality.labels.literature import ConceptResult
from universality.labels.same_explanation import JUDGEMENT_COLUMNS
from universality.maps import CrossEdges, FeatureMap, JointMap, PartnerRanks, Trust
from universality.models.unembedding import Unembedding
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import report_rows
from universality.pipeline.reporting.explorer_data import write_explorer
from universality.pipeline.reporting.label_rows import report_labels, report_literature
from universality.pipeline.reporting.run_results import open_results
from universality.pipeline.reporting.transfer_rows import report_transfer
from universality.pipeline.stages.build_families import make_families
from universality.pipeline.stages.match_features import make_match
from universality.pipeline.study import comparisons
from universality.report import FamilyTable, Report, write_report
from universality.statistics import Calibration, EffectAgreement

WIDTHS, N_ATOMS, D_MODEL, BLOCK, N_BLOCKS = (16, 24), 24, 12, 32, 240
KINDS = ("hebrew", "python", "<b>bold</b>")
NASTY = (
    "<script>alert(1)</script>",
    '"onmouseover="alert(1)',
    "'><img src=x onerror=alert(1)>",
    "\x00\x07",
    "\u202eevil",
    "\u2066",
    "\udce2",
    "\ud83d",
    " the",
    "\n\n",
    "",
    "$x_1^2$",
    "שלום",
    "العربية",
    "中文",
    "{{ 7 * 7 }}",
    "&amp;",
    "</style></p>-->",
)


def plant(folder: Path, d_vocab: int, models: str = "AB") -> tuple[Config, RunFolder]:
    """Write stores, matches and families of models that share two thirds of their features.

    Parameters
    ----------
    folder
        Of the run; made.
    d_vocab
        Token ids are below it.
    models
        A letter each.
    """
    values: dict[str, Any] = {
        "name": "Planted <script>alert(1)</script>",
        "models": {"load": {name: name.lower() for name in models}},
        "saes": {"widths": list(WIDTHS), "ceiling_seed": None, "k": 4},
        "features": {"neuron_documents": 0.0},
        "statistics": {"replicates": 2, "bootstrap": 20},
        "families": {"replicates": 0},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    config, run = load_config(folder / "config.yaml"), RunFolder(folder)
    (folder / "features").mkdir()
    draw = np.random.default_rng(0)
    token = draw.integers(0, d_vocab, BLOCK * N_BLOCKS)
    atoms = np.where(draw.random((len(token), N_ATOMS)) < 0.06, draw.gamma(3, 0.4, (len(token), N_ATOMS)), 0)
    for model in models:
        directions = draw.standard_normal((N_ATOMS, D_MODEL))
        unembedding = Unembedding(
            draw.standard_normal((D_MODEL, d_vocab)).astype(np.float32),
            np.ones(D_MODEL, np.float32), np.ones(d_vocab, np.bool_), True,
        )  # fmt: skip
        mine = atoms.copy()
        mine[:, 16:] = np.where(draw.random((len(token), 8)) < 0.05, draw.gamma(3, 0.4, (len(token), 8)), 0)
        for width in WIDTHS:
            x, decoder = _merged(mine, directions, width)
            _store(run.store(model, width, 0), model, x, decoder, token, unembedding)
    for comparison in comparisons(config, run):
        make_match(config, run, comparison)
    for model in models:
        make_families(config, run, model)
    return config, run


def _merged(atoms: NDArray[Any], directions: NDArray[Any], width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The narrow dictionary's first features stand for two atoms each, and its last one is dead."""
    member = np.eye(N_ATOMS)[: width - 1]
    extra = np.arange(width - 1, N_ATOMS)
    member[np.arange(len(extra)) % (width - 1), extra] = width < N_ATOMS
    member = np.vstack([member, np.zeros(N_ATOMS)])
    return (atoms @ member.T).astype(np.float32), (member @ directions + 0.01).astype(np.float32)


def _store(
    path: Path, model: str, x: NDArray[Any], decoder: NDArray[Any], token: NDArray[Any], unembedding: Unembedding
) -> None:
    place = np.arange(len(x))
    names = [f"d{i}" for i in range(N_BLOCKS)]
    kind = [KINDS[i % 3] for i in range(N_BLOCKS)]
    documents = DocumentTable(
        tuple(names), tuple(kind), tuple(names), tuple("choose" if i // 3 % 2 else "report" for i in range(N_BLOCKS))
    )
    provenance = {"model": {"name": model, "hash": model * 8}, "site": "blocks.0.mlp.hook_post"}
    writer = FeatureStore.create(path, x.shape[1], provenance, documents)
    writer.append(
        sparse.csr_matrix(x), token=token, document=place // BLOCK, position=place % BLOCK + 1,
        kind=np.asarray(kind)[place // BLOCK],
    )  # fmt: skip
    writer.finish(dictionary=Dictionary(decoder=decoder, residual=decoder), unembedding=unembedding).close()


def plant_maps(config: Config, folder: RunFolder) -> None:
    """Write maps made by hand, of every widest dictionary and comparison: points drawn at random, the dead left out."""
    rng = np.random.default_rng(0)
    for comparison in [c for c in comparisons(config, folder) if c.of == "models" and c.level == 0]:
        sides = []
        for path in (comparison.a, comparison.b):
            with FeatureStore.open(path) as store:
                n, dead = store.n_features, ~store.alive
            xy, cluster = rng.normal(size=(n, 2)), np.arange(n) // 8
            xy[dead], cluster[dead] = np.nan, -1
            sides.append((xy, cluster, Trust(0.9, n, 5)))
            FeatureMap(*sides[-1], {}).save(folder.map(path.stem))
        (xy_a, cluster_a, trust_a), (xy_b, cluster_b, trust_b) = sides
        first, r = np.arange(10), np.linspace(0.3, 0.9, 10)
        level = [np.full(len(xy), 0.1) for xy in (xy_a, xy_b)]
        alone = [np.arange(len(xy)) >= 10 for xy in (xy_a, xy_b)]
        ranks = PartnerRanks(np.zeros((2, 10), np.int64), (len(xy_a), len(xy_b)))
        JointMap(
            xy_a, xy_b, cluster_a, cluster_b, CrossEdges(first, first, r, r), *level, *alone, (trust_a, trust_b),
            ranks, ranks, ranks, 1, {"within": "decoder"},
        ).save(folder.map(comparison.name))  # fmt: skip


def write_explored_page(config: Config, folder: RunFolder) -> Path:
    """Write a page with the explorer, whose tokens are unkind; return its path."""
    strings = [NASTY[i] if i < len(NASTY) else "x" * 10_000 if i == 40 else f" word{i}" for i in range(60)]
    with open_results(config, folder) as results:
        results.decode = lambda ids: [strings[i] for i in ids]
        assert results.headline is not None
        families = report_rows.saved_families(results)
        write_explorer(results, folder.report.parent, families)
        populations = report_rows.samples(results, results.headline)
        headline = report_rows.headline(results, results.headline, populations)
        tables = tuple(FamilyTable(name, ()) for name in families)
        labels = report_labels(results, results.headline, families)
        report = Report(
            config.name,
            headline,
            families=tables,
            labels=labels,
            transfer=report_transfer(results, results.headline),
            literature=report_literature(results, results.headline),
            explorer=True,
        )
        return write_report(report, folder.report)


def read_data(page: Path, name: str) -> Any:
    """Read a data file of a page's explorer."""
    text = (page.parent / "data" / f"{name}.js").read_text(encoding="ascii")
    start, end = f'universality.add("{name}",', ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


def unpacked(column: dict[str, str]) -> Any:
    """Decode a column of a data file."""
    return np.frombuffer(base64.b64decode(column["base64"]), f"<{column['type']}")


def plant_effects(config: Config, folder: RunFolder) -> None:
    """Write effects of the headline's pairs: unkind tokens, missing numbers, and a pair that was not measured."""
    comparison = next(c for c in comparisons(config, folder) if c.level == 0)
    match, draw = Calibration.load(folder.calibration(comparison.name)).match, np.random.default_rng(1)
    n = len(match.rows)
    r, control_r = draw.uniform(-1, 1, (2, n - 1, 2, 2))
    contexts = np.full(n - 1, 8)
    contexts[2], r[2], control_r[2] = 0, np.nan, np.nan
    tokens = np.stack([draw.permutation(24)[:16].reshape(2, 8) for _ in range(2 * (n - 1) * 2)])
    tokens = tokens.reshape(2, n - 1, 2, 2, 8).astype(np.int32)
    changes = np.sort(draw.gamma(1, 0.02, tokens.shape))[..., ::-1] * np.array([1, -1])[:, None]
    tokens[:, 2], changes[:, 2] = -1, 0
    changes[0, 0, 0, 0, 6:] = 1e-6  # too small to be shown
    (folder.root / "effects").mkdir(exist_ok=True)
    PairEffects(
        match.rows[:-1], match.cols[:-1], contexts, r, np.r_[-1, match.cols[: n - 2]], np.full(n - 1, 0.75), control_r,
        tokens, changes.astype(np.float32), 1.0,
    ).save(folder.pair_effects(comparison.name))  # fmt: skip
    names = ("r", "r_per_norm", "ci_low", "ci_high", "null_r", "p", "q", "p_opposite", "q_opposite", "sign_agreement",
             "sign_chance", "control_r", "overlap", "ceiling_a")  # fmt: skip
    table: dict[str, Any] = {"row": match.rows, "col": match.cols, "n": np.full(n, 120)}
    table |= {name: draw.uniform(0, 1, n) for name in names}
    table |= {"ceiling_b": np.full(n, np.nan), "n_controls": np.full(n, 20), "control_rank": np.full(n, 3.0)}
    pairs = pd.DataFrame(table | {"note": [""] * n})
    pairs.loc[4, list(names)] = np.nan
    EffectAgreement(pairs, {"fingerprints": []}, {}).save(folder.effect_agreement(comparison.name))


HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '"onmouseover="alert(1) \' ]]> &amp; {{ 7 * 7 }}',
    '=HYPERLINK("http://x")\x00\x07\n\t\u202eevil\ud83d',
    "x" * 10_000,
)
"""Explanations that a language model could write."""


def plant_labels(config: Config, folder: RunFolder, widths: tuple[int, ...] = WIDTHS) -> None:
    """Write labels of all features but feature 5: hostile texts first, then ``rhyme NUMBER of MODEL WIDTH``."""
    for model in config.models.names:
        for width in widths:
            with FeatureStore.open(folder.store(model, width, 0)) as store:
                features = [feature for feature in range(width) if feature != 5]
                who = {"name": "planted", "settings": {}}
                settings = LabelSettings(scores=("detection",)).as_dict()
                header = {
                    "store": store.content_hash(), "features": features, "settings": settings, "explainer": who,
                    "scorer": who,
                }  # fmt: skip
            writer = LabelWriter(folder.labels(store.path), header)
            for feature in features:
                text = HOSTILE[feature] if feature < len(HOSTILE) else f"rhyme {feature} of {model} {width}"
                scores = (
                    Score("detection", "explanation", 0.5 + feature / 100, 0.4, 0.9, 60),
                    Score("detection", "random explanation", 0.25, 0.2, 0.3, 60),
                    Score("detection", "top tokens", 0.5, float("nan"), float("nan"), 60),
                )
                refused = feature == 6
                writer.append(
                    FeatureLabel(
                        feature, "" if refused else text, "refused" if refused else "answered",
                        scores=() if refused else scores, logit_explanation=HOSTILE[0],
                    )
                )  # fmt: skip


def plant_transfer(config: Config, folder: RunFolder) -> None:
    """Write what `label-transfer` and `literature` measure, of the labels that `plant_labels` wrote.

    Explanations lose 0.4 (1 - r) on partners and on second seeds, and 0.3 on random features. They hold on 3 of 4
    firings, and nowhere else.
    """
    comparison = next(c for c in comparisons(config, folder) if c.level == 0)
    calibration = Calibration.load(folder.calibration(comparison.name))
    labels = read_labels(folder.labels(comparison.a))
    pairs = zip(calibration.match.rows.tolist(), calibration.match.cols.tolist(), calibration.held_out, strict=True)
    scores, judged = [], []
    for row, col, r in pairs:
        label = labels.labels.get(row)
        own = None if label is None else label.score("detection")
        if own is None or not label.explanation:
            continue
        judged += [(row, col, "partners", row % 2, "answered"), (row, col, "random pairs", 0, "answered")]
        losses = {"partner": 0.4 * (1 - r), "second seed of A": 0.4 * (1 - r), "equal density": 0.3}
        for pairing, loss in losses.items():
            value = own.value - loss
            scores.append(
                (row, pairing, row, col, "detection", r if pairing != "equal density" else 0.0, own.value, value,
                 value - 0.1, value + 0.1, 60, 0, loss, 0.9)
            )  # fmt: skip
    frame = pd.DataFrame(scores, columns=list(SCORE_COLUMNS)).assign(effect_r=np.nan)
    hashes = {}
    for side, path in zip("ab", (comparison.a, comparison.b), strict=True):
        with FeatureStore.open(path) as store:
            hashes[side] = store.content_hash()
    made = {key: labels.header[key] for key in ("explainer", "scorer")} | {"answers": {"answered": 90, "refused": 3}}
    provenance = made | hashes | {"labels": labels.header["settings"]}
    settings = {"draws": 50, "level": 0.95, "seed": 0}
    table = pd.DataFrame(judged, columns=list(JUDGEMENT_COLUMNS))
    LabelTransfer(frame, table, settings, provenance).save(folder.label_transfer(comparison.name))
    verdicts = [
        (feature, by, k, int(k < 4), float(k < 4), k, float(k < holds))
        for feature in range(10, 20)
        for by, holds in (("explanation", 3), (FLOOR, 0))
        for k in range(8)
    ]
    LabelSpecificity(
        pd.DataFrame(verdicts, columns=list(VERDICT_COLUMNS)),
        pd.DataFrame([(feature, 1, 40) for feature in range(10, 20)], columns=list(FIRING_COLUMNS)),
        {"level": 0.95},
        made | {"store": hashes["a"]},
    ).save(folder.label_specificity(comparison.a))
    found = ConceptResult(
        HOSTILE[0], HOSTILE[1], "someone", "A", True, 7, HOSTILE[3], 0.9, 0.5, 0.05, 0.001, 0.01, 5, 20, 1.5
    )
    stores = {"A": hashes["a"], "B": hashes["b"]}
    header = {"settings": {"method": "detection", "level": 0.05}, "scorer": made["scorer"], "stores": stores}
    LiteratureComparison((found,), header).save(folder.label_literature(comparison.name))
