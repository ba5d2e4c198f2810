"""Does the explanation of A's feature predict B's partner as well as it predicts A's?

The explanation is scored on its own feature (the label holds that), on the partner, and on other pairs of features
(`universality.labels.transfer_trials`). All examples that score are of the half of the documents that reports, and the
explanation was made from the other half, in either model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from universality.errors import MismatchError, UniversalityError
from universality.features.examples import Decode
from universality.features.specificity import specificity
from universality.features.storage.store import FeatureStore
from universality.labels.chat import Answer, ChatModel, Prompt
from universality.labels.excerpt_text import TokenText
from universality.labels.feature_examples import FeatureExamples, check_halves, find_examples
from universality.labels.keyed_answers import Ask, ask_model, keyed_answers
from universality.labels.label_file import Labels
from universality.labels.label_settings import LabelSettings
from universality.labels.label_transfer import SCORE_COLUMNS, LabelTransfer
from universality.labels.predictions import ScoringPrompt, read_predictions, scoring_prompts
from universality.labels.same_explanation import JUDGEMENT_COLUMNS, judge_same, same_prompt
from universality.labels.scoring import EXPLANATION, Score, score
from universality.labels.token_counts import TokenCount, check_contexts, count_tokens
from universality.labels.transfer_trials import (
    SECOND_A,
    SECOND_B,
    SecondSeed,
    TransferSettings,
    Trial,
    check_match,
    control_trials,
    partner_trials,
    second_seed_trials,
)

if TYPE_CHECKING:
    from universality.statistics import Calibration, EffectAgreement

_CHECKED = 20  # features whose prompts are compared with the scorer's context before any is asked


def measure_transfer(
    labels: Labels,
    a: FeatureStore,
    b: FeatureStore,
    calibration: Calibration,
    decode: Decode,
    *,
    scorer: ChatModel,
    labels_b: Labels | None = None,
    second_a: SecondSeed | None = None,
    second_b: SecondSeed | None = None,
    effects: EffectAgreement | None = None,
    settings: TransferSettings | None = None,
    ask: Ask = ask_model,
    confirm: Callable[[TokenCount], bool] | None = None,
) -> LabelTransfer:
    """Score explanations of A's features on their partners in B, and on what these are compared with.

    Parameters
    ----------
    labels
        Labels of features of ``a``, scored by ``scorer``.
    a, b
        Open stores over the same tokens, with both evaluation halves.
    calibration
        Matching of the two: partners, and the held-out r of each pair.
    decode
        Function from token ids to one string each.
    scorer
        Model that predicts activations, and judges whether two explanations describe the same thing.
    labels_b
        Labels of features of ``b`` by the same scorer and settings. With them the judgement is made, second seeds of B
        are tried, and a partner's own explanation stands beside A's.
    second_a, second_b
        A second SAE of each model, for what another seed of the SAE loses.
    effects
        Agreement of the effects of the same pairs.
    settings
        Pairs to try. Examples and scores are those of ``labels``.
    ask
        Function of a model and prompts that yields each prompt's place and its answer; one with a cache asks nothing
        twice.
    confirm
        Function that is given an estimate of all prompts before any is asked; false ends the call.

    Returns
    -------
    LabelTransfer
        One row for each pair and score.

    Raises
    ------
    MismatchError
        If labels, stores, matchings and scorer do not belong together, or a document that explains would score.
    UniversalityError
        If no labelled feature has a partner, the scorer's context is too short, or ``confirm`` declines.
    """
    planned = plan_transfer(
        labels,
        a,
        b,
        calibration,
        decode,
        scorer=scorer,
        labels_b=labels_b,
        second_a=second_a,
        second_b=second_b,
        effects=effects,
        settings=settings,
        ask=ask,
    )
    if confirm is not None and not confirm(planned.expected):
        raise UniversalityError(f"{a.path}: explanations were not tried elsewhere, as you decided; nothing was asked")
    return planned.measure()


def plan_transfer(
    labels: Labels,
    a: FeatureStore,
    b: FeatureStore,
    calibration: Calibration,
    decode: Decode,
    *,
    scorer: ChatModel,
    labels_b: Labels | None = None,
    second_a: SecondSeed | None = None,
    second_b: SecondSeed | None = None,
    effects: EffectAgreement | None = None,
    settings: TransferSettings | None = None,
    ask: Ask = ask_model,
) -> PlannedTransfer:
    """Check the inputs of `measure_transfer`, choose its pairs and estimate its cost; nothing is asked.

    Parameters, errors and their meaning are those of `measure_transfer`.
    """
    settings = settings or TransferSettings()
    label_settings = LabelSettings(**labels.header["settings"])
    _check(labels, a, b, calibration, scorer, labels_b, second_a, second_b)
    _check_effects(effects, calibration)
    partners = partner_trials(labels, calibration)
    if not partners:
        raise UniversalityError(
            f"{a.path}: none of the {len(labels.labels)} labelled features has an explanation and a partner in "
            f"{b.path}; label matched features"
        )
    trials = [(b, [*partners, *control_trials(partners, a, b, settings)])]
    in_second = list(second_seed_trials(partners, second_a, second_b, labels_b))
    for second, pairing in ((second_a, SECOND_A), (second_b, SECOND_B)):
        if second is not None:
            trials.append((second.store, [trial for trial in in_second if trial.pairing == pairing]))
    job = _Job(label_settings, TokenText(decode), labels, labels_b, scorer, ask)
    judged = partners if labels_b is not None and settings.same else []
    of_stores = tuple(_expected(job, store, of_store) for store, of_store in trials)
    return PlannedTransfer(job, b, trials, judged, effects, settings, of_stores, _expected_judgements(job, len(judged)))


@dataclass(frozen=True, eq=False)
class PlannedTransfer:
    """Pairs that `measure_transfer` tries, and the cost of asking about them.

    Attributes
    ----------
    b
        Store of the partners.
    trials
        Pairs of features by the store of the second one.
    judged
        Pairs whose explanations are judged to be the same or not.
    effects
        Agreement of the effects of partners.
    settings
        Settings with which the pairs were chosen.
    of_stores, of_judgements
        Estimate of the prompts about each store of ``trials``, and of those that judge.
    """

    _job: _Job
    b: FeatureStore
    trials: list[tuple[FeatureStore, list[Trial]]]
    judged: list[Trial]
    effects: EffectAgreement | None
    settings: TransferSettings
    of_stores: tuple[TokenCount, ...]
    of_judgements: TokenCount

    @property
    def expected(self) -> TokenCount:
        """Estimate of all prompts."""
        return sum(self.of_stores, self.of_judgements)

    def measure(self) -> LabelTransfer:
        """Ask about all pairs; see `measure_transfer`."""
        job, header = self._job, self._job.labels.header
        each = zip(self.trials, self.of_stores, strict=True)
        rows = [row for (store, of_store), tokens in each for row in job.tried(store, of_store, tokens.prompts)]
        judgements = self._judgements()
        provenance = {
            "a": header["store"],
            "b": self.b.content_hash(),
            "tokens": header["tokens"],
            "explainer": header["explainer"],
            "scorer": header["scorer"],
            "labels": header["settings"],
            "answers": dict(job.became),
            "silent": dict(job.silent),
        }
        frame = pd.DataFrame(rows, columns=list(SCORE_COLUMNS)).sort_values(
            ["pairing", "feature", "scored"], kind="stable", ignore_index=True
        )
        return LabelTransfer(_with_effects(frame, self.effects), judgements, self.settings.as_dict(), provenance)

    def _judgements(self) -> pd.DataFrame:
        job = self._job
        if job.labels_b is None or not self.judged:
            return pd.DataFrame(columns=list(JUDGEMENT_COLUMNS))
        kind = specificity(self.b).kind
        kinds = [int(kind[trial.scored]) for trial in self.judged]
        return judge_same(self.judged, kinds, job.labels, job.labels_b, job.scorer, job.ask, self.settings.seed)


@dataclass
class _Open:
    """A trial whose prompts are asked, with the answers so far by place."""

    trial: Trial
    examples: FeatureExamples
    prompts: list[ScoringPrompt]
    answers: dict[int, Answer] = field(default_factory=dict)


@dataclass
class _Job:
    """Inputs that all trials share."""

    settings: LabelSettings
    text: TokenText
    labels: Labels
    labels_b: Labels | None
    scorer: ChatModel
    ask: Ask
    became: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)

    def tried(self, store: FeatureStore, trials: list[Trial], expected: int) -> Iterator[tuple[Any, ...]]:
        """Score explanations on features of a store, in about ``expected`` prompts; yield rows of `SCORE_COLUMNS`."""
        silent = set(trials)
        for (opened, place), answer in keyed_answers(self.ask, self.scorer, self.prompts(store, trials), expected):
            silent.discard(opened.trial)
            opened.answers[place] = answer
            if len(opened.answers) == len(opened.prompts):
                yield from self._rows(opened)
        self.silent.update(trial.pairing for trial in silent)

    def prompts(self, store: FeatureStore, trials: list[Trial]) -> Iterator[tuple[tuple[_Open, int], Prompt]]:
        """Build the prompts of trials on features of a store, with their keys."""
        of_feature: dict[int, list[Trial]] = {}
        for trial in trials:
            of_feature.setdefault(trial.scored, []).append(trial)
        examples = find_examples(store, of_feature, self.settings) if of_feature else iter(())
        first = list(islice(examples, _CHECKED))
        check_contexts(first, self.text, self.settings, None, self.scorer)
        for one in chain(first, examples):
            for trial in of_feature[one.feature]:
                explanation = self._labels_of(trial).labels[trial.explained].explanation
                opened = _Open(trial, one, scoring_prompts(one, explanation, self.text, self.settings))
                yield from (((opened, place), asked.prompt) for place, asked in enumerate(opened.prompts))

    def _labels_of(self, trial: Trial) -> Labels:
        if trial.pairing != SECOND_B:
            return self.labels
        assert self.labels_b is not None  # else there is no such trial
        return self.labels_b

    def _rows(self, opened: _Open) -> Iterator[tuple[Any, ...]]:
        trial, one = opened.trial, opened.examples
        answers = [opened.answers[place] for place in range(len(opened.prompts))]
        predictions = read_predictions(one, opened.prompts, answers, self.settings)
        self.became.update(predictions.answers)
        explained = self._labels_of(trial).labels[trial.explained]
        in_b = self.labels_b if trial.pairing not in (SECOND_A, SECOND_B) else None
        of_other = in_b.labels.get(trial.scored) if in_b is not None else None
        for found in score(one, {EXPLANATION: predictions}, self.settings):
            if found.by == EXPLANATION:
                own, others_own = _value(explained.score(found.name)), float("nan")
                if of_other is not None:
                    others_own = _value(of_other.score(found.name))
                yield (
                    *(trial.feature, trial.pairing, trial.explained, trial.scored, found.name, trial.r, own),
                    *(found.value, found.low, found.high, found.n, found.missing, own - found.value, others_own),
                )


def _expected(job: _Job, store: FeatureStore, trials: list[Trial]) -> TokenCount:
    """Estimate the tokens of the prompts about features of one store, from those of some trials."""
    chosen = np.random.default_rng(0).permutation(len(trials))[:_CHECKED].tolist()
    prompts = [prompt for _, prompt in job.prompts(store, [trials[k] for k in chosen])]
    return count_tokens(prompts, len(trials) / max(1, len(chosen)))


def _expected_judgements(job: _Job, n_partners: int) -> TokenCount:
    """Estimate the tokens of judging the explanations of partners, and as many random pairs."""
    typical = [same_prompt(one.explanation, one.explanation) for one in islice(job.labels.labels.values(), _CHECKED)]
    return count_tokens(typical, 2 * n_partners / max(1, len(typical)))


def _value(score: Score | None) -> float:
    return float("nan") if score is None else score.value


def _with_effects(frame: pd.DataFrame, effects: EffectAgreement | None) -> pd.DataFrame:
    """Add the agreement of effects of each partner pair, NaN for all other pairs."""
    if effects is None:
        return frame.assign(effect_r=np.nan)
    pairs = effects.to_frame()[["row", "col", "r_per_norm"]]
    known = {(row, col): r for row, col, r in pairs.itertuples(index=False)}
    of_b = frame["pairing"].isin((SECOND_A, SECOND_B))
    columns = zip(frame["explained"], frame["scored"], of_b, strict=True)
    return frame.assign(effect_r=[np.nan if other else known.get((i, j), np.nan) for i, j, other in columns])


def _check(
    labels: Labels,
    a: FeatureStore,
    b: FeatureStore,
    calibration: Calibration,
    scorer: ChatModel,
    labels_b: Labels | None,
    second_a: SecondSeed | None,
    second_b: SecondSeed | None,
) -> None:
    check_labels(labels, a, scorer, "labels")
    check_match(calibration, a, b, "calibration")
    check_halves(a, b)
    if labels_b is not None:
        check_labels(labels_b, b, scorer, "labels_b")
        if labels_b.header["settings"] != labels.header["settings"]:
            raise MismatchError(
                f"the labels of {a.path} and of {b.path} were made with different settings; label both with the same"
            )
    for second, first, name in ((second_a, a, "second_a"), (second_b, b, "second_b")):
        if second is not None:
            check_match(second.calibration, first, second.store, name)
            check_halves(first, second.store)


def _check_effects(effects: EffectAgreement | None, calibration: Calibration) -> None:
    if effects is None:
        return
    match = calibration.match
    pairs = set(zip(match.rows.tolist(), match.cols.tolist(), strict=True))
    if strange := set(effects.to_frame()[["row", "col"]].itertuples(index=False, name=None)) - pairs:
        raise MismatchError(
            f"effects: {len(strange)} of their pairs, {min(strange)} among them, are not pairs of the calibration; "
            "pass the effects of the same matching"
        )


def check_labels(labels: Labels, store: FeatureStore, scorer: ChatModel | None, name: str) -> None:
    """Refuse labels of another store, or (unless it is None) by another scorer; ``name`` is for the message.

    Raises
    ------
    MismatchError
        If they are.
    """
    if labels.header["store"] != store.content_hash():
        raise MismatchError(f"{name}: labels of another store than {store.path}; label the features of this one")
    if scorer is None:
        return
    now = {"name": scorer.name, "settings": dict(scorer.settings)}
    made = labels.header["scorer"]
    if json.dumps(now, sort_keys=True) != json.dumps(made, sort_keys=True):
        raise MismatchError(
            f"{name}: the explanations were scored by {made.get('name')!r} with settings {made.get('settings')}, but "
            f"the scorer here is {scorer.name!r} with settings {dict(scorer.settings)}; a loss compares scores by one "
            "scorer, so use that one, or label the features with this one"
        )
