"""What a finished run found, as the plain values that a report is made of."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from universality.archive import read_arrays
from universality.config import Config
from universality.family import Families
from universality.features import FeatureStore
from universality.features.descriptions import shown_tokens
from universality.features.examples import Examples, examples
from universality.features.specificity import specificity
from universality.files import read_json
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.run_controls import made_controls
from universality.pipeline.stages.sae_likeness import Likeness, likeness
from universality.pipeline.stages.write_exports import decoder
from universality.pipeline.study import Comparison, comparisons, headline_comparison, sae_grid, units_of
from universality.report.data import (
    NAN,
    THRESHOLDS,
    ConceptRow,
    ControlRow,
    Example,
    FamilyLevel,
    FamilyTable,
    FeatureCard,
    Headline,
    LanguageModel,
    LanguageModels,
    Pair,
    PairGroup,
    SaeQuality,
    Sample,
    WidthRow,
    sample,
)
from universality.report.formatting import listed
from universality.statistics import Calibration, Null, best_neurons, concept_table


@dataclass(frozen=True, eq=False)
class Compared:
    """A comparison with its results: calibrated pairs, logit-weight r of the same pairs, and what is drawn."""

    comparison: Comparison
    calibration: Calibration
    drawn: dict[str, NDArray[Any]]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """``Calibration.to_frame()`` with the column ``logit``."""
        frame = self.calibration.to_frame()
        return frame.assign(logit=self.drawn.get("logit", np.full(len(frame), np.nan)))

    @property
    def living(self) -> int:
        """Features of A that are alive."""
        return _living(self.calibration)

    def share_significant(self, null: Null) -> float:
        """Share of A's living features whose pair has q at most ``statistics.alpha`` under a null."""
        return share_significant(self.calibration, null)

    def scores(self, role: Any, label: str) -> Sample:
        """Held-out r of its pairs."""
        c = self.calibration
        low, high = c.median_ci.tolist()
        return replace(
            sample(role, label, c.held_out, len(c.match.unmatched_rows)), over_works=(low, high), n_works=c.n_groups
        )


class Findings:
    """Opens what a run wrote, once each; what is not there is named in ``missing``.

    Attributes
    ----------
    missing
        What a stopped run has not made, in words.
    """

    def __init__(self, config: Config, folder: RunFolder, stores: OpenStores) -> None:
        self.config, self.folder, self._stores = config, folder, stores
        self.missing: list[str] = []
        self.decode: Callable[[Sequence[int]], list[str]] = decoder(folder)
        self.corpus: dict[str, Any] = self._corpus()
        wanted = comparisons(config, folder)
        self.compared = [one for comparison in wanted if (one := self._compared(comparison)) is not None]

    def _corpus(self) -> dict[str, Any]:
        if self.has("the corpus", self.folder.corpus_summary):
            return read_json(self.folder.corpus_summary)
        unknown = dict.fromkeys(("train", "choose", "report"), 0)
        return {"tokens": unknown, "documents": 0, "blocks_hash": "–", "unigram_loss": None, "bigram_loss": None}

    def _compared(self, comparison: Comparison) -> Compared | None:
        paths = self.folder.calibration(comparison.name), self.folder.similarity(comparison.name)
        if not self.has(f"the matching {comparison.name}", *paths, comparison.a, comparison.b):
            return None
        return Compared(comparison, Calibration.load(paths[0]), read_arrays(paths[1]))

    def has(self, what: str, *paths: Path) -> bool:
        """Whether files are there; what they hold is noted as missing where they are not."""
        there = all(path.exists() for path in paths)
        if not there and what not in self.missing:
            self.missing.append(what)
        return there

    def store(self, path: Path) -> FeatureStore:
        """An open store whose features' tokens are known."""
        return self._stores.about(path)[0]

    def grid(self) -> list[tuple[str, int, int]]:
        """(model, width, SAE seed) of every store that is there."""
        return [
            item
            for item in sae_grid(self.config)
            if self.has(f"the features of {item[0]}, {item[1]} wide, seed {item[2]}", self.folder.store(*item))
        ]

    @cached_property
    def headline(self) -> Compared | None:
        """The comparison that answers: the first two models, or two SAE seeds of one, at the largest width that is
        there; None without any."""
        across = [c for c in self.compared if c.comparison.of in ("models", "seeds")]
        return next((c for c in across if c.comparison.width == max(c.comparison.width or 0 for c in across)), None)

    @property
    def rivals(self) -> list[Compared]:
        """Comparisons of the headline's sort and width, itself first: several of three models or SAE seeds or more."""
        first = self.headline
        if first is None:
            return []
        return [c for c in self.compared if _sort(c.comparison) == _sort(first.comparison)]

    def of(self, kind: str, models: tuple[str, str]) -> Compared | None:
        """The comparison of a kind, as of neurons, of these models."""
        wanted = (c for c in self.compared if c.comparison.of == kind)
        return next((c for c in wanted if c.comparison.models == models), None)

    def ceilings(self, compared: Compared) -> list[Compared]:
        """The ceilings of the models of a comparison, as far as they are there."""
        return [one for one in self._second_saes(compared) if self.likeness(one).is_ceiling]

    def no_ceilings(self, compared: Compared) -> list[Compared]:
        """Two SAEs of one model of a comparison that differ in more than their seed."""
        return [one for one in self._second_saes(compared) if not self.likeness(one).is_ceiling]

    def _second_saes(self, compared: Compared) -> list[Compared]:
        models = dict.fromkeys(compared.comparison.models)
        return [one for name in models if (one := self.of("ceiling", (name, name))) is not None]

    def likeness(self, compared: Compared) -> Likeness:
        """In what the two SAEs of a comparison differ, as far as it is known."""
        return likeness(self.config, self.folder, compared.comparison)

    def label(self, compared: Compared) -> str:
        """What two SAEs of one model are: seeds, or what else they differ in."""
        return self.likeness(compared).label(compared.comparison.models[0])

    def quality(self, model: str, width: int, seed: int) -> SaeQuality:
        """One SAE on held-out tokens."""
        path, store = self.folder.sae(model, width, seed) / "quality.json", self.folder.store(model, width, seed)
        alive = int(self.store(store).alive.sum()) if store.exists() else width
        if not self.has(f"the quality of the SAE {model}, {width} wide, seed {seed}", path):
            return SaeQuality(model, width, seed, alive)
        found = read_json(path)
        recovered = found["loss"]["recovered_over_zero"]
        return SaeQuality(
            model=model,
            width=width,
            seed=seed,
            alive=alive,
            explained_variance=found["explained_variance"],
            l0=found["l0"],
            loss_recovered=NAN if recovered is None else recovered,
            typical_explained_variance=found.get("typical_explained_variance", NAN),  # younger than some runs
        )


@contextmanager
def findings(config: Config, folder: RunFolder) -> Iterator[Findings]:
    """Open a run's results; stores are closed at the end."""
    with OpenStores() as stores:
        yield Findings(config, folder, stores)


def _sort(comparison: Comparison) -> tuple[str, int | None]:
    return comparison.of, comparison.width


def samples(found: Findings, head: Compared | None) -> list[Sample]:
    """Held-out r of matched features, of the same models' neurons, of their ceilings, and the null's scores."""
    if head is None:
        return []
    neurons = found.of("neurons", head.comparison.models)
    scores = head.calibration.null_scores
    parts = [head.scores("features", "SAE features")]
    if neurons:
        parts.append(neurons.scores("neurons", units_of(found.config, *head.comparison.models)))
    parts += [one.scores("ceiling", found.label(one)) for one in found.ceilings(head)]
    parts += [one.scores("control", found.label(one)) for one in found.no_ceilings(head)]
    if scores.size:
        living = scores[~np.isnan(scores)]  # features that are not dead, in all replicates
        parts.append(sample("null", "null: re-paired text", np.where(np.isfinite(living), living, np.nan)))
    return parts


def headline(found: Findings, head: Compared | None, populations: Sequence[Sample]) -> Headline:
    """The comparison that answers a page's question, in numbers."""
    if head is None:
        wanted = headline_comparison(found.config, found.folder)
        return Headline(*wanted.sides, found.config.saes.widths[-1], found.corpus["tokens"]["report"], ())
    neurons = found.of("neurons", head.comparison.models)
    numbers = head.calibration.summary()
    first = head.calibration.chances[0]
    model_a, model_b = head.comparison.sides
    return Headline(
        model_a=model_a,
        model_b=model_b,
        width=head.comparison.width or 0,
        n_tokens=found.corpus["tokens"]["report"],
        populations=tuple(part.population() for part in populations),
        method=head.calibration.match.method,
        null=first.null,
        replicates=int(head.calibration.null_scores.shape[0]),
        share_significant=head.share_significant(first.null),
        share_within_kinds=head.share_significant("kind"),
        q_level=head.calibration.settings["alpha"],
        median_chosen=numbers["matched_choose"],
        nearest=numbers["best_of_rows_report"],
        units=units_of(found.config, *head.comparison.models),
        nearest_neurons=neurons.calibration.summary()["best_of_rows_report"] if neurons else NAN,
        ceilings_of=tuple(one.comparison.models[0] for one in found.ceilings(head)),
        no_ceilings=tuple((c.comparison.models[0], found.likeness(c).what) for c in found.no_ceilings(head)),
        seeds_of=head.comparison.models[0] if head.comparison.of == "seeds" else None,
        unlike="" if found.likeness(head).is_ceiling else found.likeness(head).what,
        apart=_trained_apart(found.config, head.comparison.models),
    )


def _trained_apart(config: Config, models: tuple[str, str]) -> bool:
    """Whether they are two models at all, and share no past that the configuration tells."""
    return not config.models.one_basis and len({config.models.load.get(name, name) for name in models}) == 2


def language_models(found: Findings) -> LanguageModels:
    """The models' losses beside what counting achieves."""
    rows = []
    for name in found.config.models.names:
        loaded = name in found.config.models.load
        path = found.folder.model(name) / ("source.json" if loaded else "config.json")
        note: dict[str, Any] = {"source": "not there"}
        if found.has(f"the model {name}", path):
            note = read_json(path)
        seeds = note.get("seeds") or {}
        loss = note.get("held_out_loss")
        source = note.get("source", "trained here")
        path = found.folder.overlap(name)
        overlap = read_json(path) if path.exists() else {"held_out": None, "seen": None}  # a run of an earlier version
        numbers = seeds.get("init"), seeds.get("order"), NAN if loss is None else loss
        rows.append(LanguageModel(name, source, *numbers, **overlap))
    counted = (found.corpus[key] for key in ("unigram_loss", "bigram_loss"))
    unigram, bigram = (NAN if value is None else value for value in counted)
    return LanguageModels(tuple(rows), unigram, bigram)


def width_rows(found: Findings, head: Compared | None) -> tuple[WidthRow, ...]:
    """One row a width, for the two that a comparison is of."""
    if head is None:
        return ()
    return tuple(width_row(found, c) for c in found.compared if c.comparison.like(head.comparison))


def width_row(found: Findings, compared: Compared) -> WidthRow:
    """One comparison in a table of several."""
    comparison, held_out = compared.comparison, compared.calibration.held_out
    numbers = compared.calibration.summary()
    width = comparison.width or 0
    a, b = (found.quality(model, width, seed) for model, seed in zip(comparison.models, comparison.seeds, strict=True))
    return WidthRow(
        width=width,
        a=a,
        b=b,
        n_pairs=len(held_out),
        chosen=numbers["matched_choose"],
        held_out=numbers["matched_report"],
        share_significant=compared.share_significant(compared.calibration.chances[0].null),
        share_within_kinds=compared.share_significant("kind"),
        shares=tuple(float((held_out >= least).sum() / compared.living) for least in THRESHOLDS),
        null_median=numbers["null_matched_median"],
        null_q95=numbers["null_matched_q95"],
        gap=compared.calibration.match.gap,
        collisions=compared.calibration.match.collisions["rows"],
        n_living=numbers["n_living"],
        n_scored=numbers["n_scored"],
    )


def notes(compared: Compared) -> list[str]:
    """What the calibration has to say, but for kinds of few works, which the report itself names."""
    said = compared.calibration.notes
    return _few_lines([note for note in said if not note.startswith("kinds of few groups")])


def likeness_notes(found: Findings, compared: Compared) -> list[str]:
    """What loaded SAEs have in common or not that changes how a comparison of them is read."""
    known, (a, b) = found.likeness(compared), compared.comparison.sides
    said = []
    if known.began_alike:
        said.append(f"The SAEs of {a} and {b} began from the same weights: {known.beginning}. That fakes agreement.")
    if known.differences and compared.comparison.of == "models":
        said.append(
            f"The SAEs of {a} and {b} differ in {listed(list(known.differences))}: what their features do not share "
            "may be the SAEs' doing, not the models'."
        )
    unsure = [one.comparison.models[0] for one in found.ceilings(compared) if not found.likeness(one).recorded]
    unsure += [compared.comparison.models[0]] if compared.comparison.of == "seeds" and not known.recorded else []
    if unsure:
        said.append(
            f"The files of the two SAEs of {listed(unsure)} do not record how they were trained: that they differ in "
            "their seed only is not known."
        )
    return said


def _few_lines(notes: list[str]) -> list[str]:
    """Notes on kinds that one work fills, of which a corpus may have dozens, in one line."""
    filled = [note for note in notes if note.startswith("kind ") and "one group holds" in note]
    if len(filled) < 2:
        return notes
    kinds = [note.removeprefix("kind ").split(":")[0] for note in filled]
    line = (
        f"In {len(kinds)} kinds one work holds more than half of the text, so that little or none of it can be "
        f"re-paired with other works and take part in the null within kinds: {listed(kinds)}."
    )
    return [*(note for note in notes if note not in filled), line]


def other_saes(found: Findings) -> tuple[SaeQuality, ...]:
    """SAEs that no row of ``width_rows`` shows."""
    shown = {(q.model, q.width, q.seed) for row in width_rows(found, found.headline) for q in (row.a, row.b)}
    return tuple(found.quality(*item) for item in found.grid() if item not in shown)


def families(found: Findings) -> dict[str, Families]:
    """The families of every model that has them."""
    names = found.config.models.names if len(found.config.saes.widths) > 1 else []
    paths = {name: found.folder.families(name) for name in names}
    return {name: Families.load(path) for name, path in paths.items() if found.has(f"the families of {name}", path)}


def family_levels(name: str, families: Families) -> FamilyTable:
    """A model's families by width."""
    return FamilyTable(name, tuple(FamilyLevel.from_summary(level) for level in families.summary()["levels"]))


def controls(found: Findings) -> tuple[ControlRow, ...]:
    """Everything that was matched, and the controls that ``universality controls`` made."""
    words = {"models": "features of two models", "neurons": f"{units_of(found.config)}, two models"}
    own = [
        _control_row(c.comparison.name, words.get(c.comparison.of) or found.label(c), c.calibration)
        for c in found.compared
    ]
    made = made_controls(found.config, found.folder)
    return (*own, *(_control_row(c.name, f"{c.bound}: {c.label}", Calibration.load(path)) for c, path in made))


def _control_row(name: str, of: str, calibration: Calibration) -> ControlRow:
    numbers = calibration.summary()
    return ControlRow(
        name,
        of,
        len(calibration.held_out),
        numbers["matched_choose"],
        numbers["matched_report"],
        numbers["null_matched_median"],
        numbers["null_matched_q95"],
        share_significant(calibration, calibration.chances[0].null),
        share_significant(calibration, "kind"),
        numbers["n_living"],
        numbers["n_scored"],
    )


def share_significant(calibration: Calibration, null: Null) -> float:
    """Share of A's living features whose pair has q at most the calibration's alpha under a null."""
    chance, living = calibration.under(null), _living(calibration)
    if chance is None or not living or np.isnan(chance.q).all():
        return NAN
    return float((chance.q <= calibration.settings["alpha"]).sum() / living)


def _living(calibration: Calibration) -> int:
    return int((~calibration.match.dead_rows).sum())


def concept_rows(found: Findings) -> tuple[ConceptRow, ...]:
    """For every kind the feature of A that knows it best, and its partner."""
    head = found.headline
    if head is None:
        return ()
    a, b = found.store(head.comparison.a), found.store(head.comparison.b)
    table = concept_table(a, b, head.calibration)
    logit = dict(zip(head.frame["row"], head.frame["logit"], strict=True))
    groups = _groups(a)
    neurons = _best_neurons(found, found.folder.neurons(head.comparison.models[0]), a, table)
    tokens_a = shown_tokens(a, table["feature"], 5, found.decode) if len(table) else []
    partners = table.loc[table["partner"] >= 0, "partner"].unique() if len(table) else []
    tokens_b = dict(zip(partners, shown_tokens(b, partners, 5, found.decode), strict=True))
    return tuple(
        ConceptRow(
            kind=row.kind,
            n_tokens=row.tokens,
            n_groups=groups[row.kind],
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


def _best_neurons(found: Findings, path: Path, store: FeatureStore, table: pd.DataFrame) -> dict[int, float]:
    """r of each concept's feature with the neuron most like it; nothing where neurons were left out."""
    if not found.config.features.neuron_documents or not len(table) or not path.exists():
        return {}
    best = best_neurons(store, found.store(path), table["feature"].unique())
    return dict(zip(best["feature"], best["r"], strict=True))


def _groups(store: FeatureStore) -> dict[str, int]:
    """Works of each kind among the documents on which partners are scored."""
    table = store.documents
    counted: dict[str, set[str]] = {}
    for document in np.unique(store.tokens.document):
        works = counted.setdefault(table.kind[document], set())
        if table.split[document] == "report":
            works.add(table.group[document])
    return {kind: len(works) for kind, works in counted.items()}


def pair_groups(found: Findings, size: int = 5) -> tuple[PairGroup, ...]:
    """The most alike pairs, some from the middle, and the least alike, with text."""
    head = found.headline
    if head is None:
        return ()
    known = head.frame.dropna(subset=["held_out"]).sort_values("held_out", ascending=False, kind="stable")
    n = len(known)
    middle = slice(max(0, n // 2 - size // 2), n // 2 - size // 2 + size)
    wanted = (
        ("The most alike", "Held-out r from the top.", known.iloc[:size]),
        ("From the middle", "Around the scored pairs' median: what a typical one looks like.", known.iloc[middle]),
        ("The least alike", "Matched because one-to-one pairing must pair everything.", known.iloc[n - size :]),
    )
    return tuple(
        PairGroup(title, note, tuple(_pair(found, head, row) for row in part.itertuples()))
        for title, note, part in wanted
        if n >= 3 * size
    )


def _pair(found: Findings, head: Compared, row: Any) -> Pair:
    a, b = found.store(head.comparison.a), found.store(head.comparison.b)
    return Pair(
        a=_card(found, a, row.row, b, row.col),
        b=_card(found, b, row.col, a, row.row),
        chosen=row.score,
        held_out=row.held_out,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        q=row.q,
        logit_r=float(row.logit),
        ceiling_a=row.ceiling_a,
        ceiling_b=row.ceiling_b,
    )


def _card(found: Findings, store: FeatureStore, feature: int, other: FeatureStore, partner: int) -> FeatureCard:
    known = specificity(store)
    (shown,) = examples(store, [feature], k=4, before=8, after=4, per_block=1)
    return FeatureCard(
        index=int(feature),
        density=float(store.moments().density[feature]),
        kind=known.kind_names[feature] or "",
        purity=float(known.purity[feature]),
        promotes=promoted(store, feature, found.decode),
        examples=tuple(_examples(shown, found.decode, store, other, partner)),
    )


def _examples(
    shown: Examples,
    decode: Callable[[Sequence[int]], list[str]],
    store: FeatureStore,
    other: FeatureStore,
    partner: int,
) -> Iterator[Example]:
    rows, values = other.feature(partner)
    at_partner = dict(zip(rows.tolist(), values.tolist(), strict=True))
    for i, (before, token, after) in enumerate(shown.strings(decode)):
        here = shown.window_activation[i]
        kept = ~np.isnan(here)
        yield Example(
            tokens=(*before, token, *after),
            activations=tuple(here[kept].tolist()),
            focus=len(before),
            kind=store.tokens.kinds[shown.kind[i]],
            partner_activation=at_partner.get(int(shown.row[i]), 0.0),
        )


def promoted(
    store: FeatureStore, feature: int, decode: Callable[[Sequence[int]], list[str]], k: int = 6
) -> tuple[str, ...]:
    """Tokens whose logits a feature raises most by its direct path; none where the site has none."""
    dictionary, unembedding = store.dictionary, store.unembedding()
    if dictionary is None or dictionary.residual is None or unembedding is None:
        return ()
    direction = dictionary.residual[feature].astype(np.float64)
    if unembedding.center_d_model:
        direction = direction - direction.mean()
    weights = (direction * unembedding.gain) @ unembedding.W_U
    order = np.argsort(-np.where(unembedding.mask, weights, -np.inf), kind="stable")[:k]
    return tuple(decode(order.tolist()))
