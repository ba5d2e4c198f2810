"""Rows of a report's tables: language models, SAEs, widths, controls, concepts, families, and
comparisons of three or more models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from universality.report.data.samples import NAN, Role
from universality.statistics import CalibrationSummary, Coincidence


@dataclass(frozen=True)
class LanguageModel:
    """One language model.

    Parameters
    ----------
    name, source
        Name in the study, and where the model comes from.
    init_seed, order_seed
        Seeds of its initial weights and of its data order; None where not known.
    loss
        Loss on held-out text, in nats a token.
    held_out, seen
        Held-out documents of the study, and those of them that the model was trained on; None where not known.
    """

    name: str
    source: str = ""
    init_seed: int | None = None
    order_seed: int | None = None
    loss: float = NAN
    held_out: int | None = None
    seen: int | None = None


@dataclass(frozen=True)
class LanguageModels:
    """All language models, beside the losses of a unigram and a bigram model, in nats a token."""

    rows: tuple[LanguageModel, ...]
    unigram: float = NAN
    bigram: float = NAN


@dataclass(frozen=True)
class SaeQuality:
    """One SAE on held-out tokens.

    Parameters
    ----------
    model, width, seed
        Model, width and seed of the SAE.
    alive
        Features that fire at least once.
    explained_variance, l0
        Explained share of the variance; mean number of features that fire on a token.
    loss_recovered
        (ablated - spliced) / (ablated - clean) of the model's loss, with activations ablated to zero.
    typical_explained_variance
        Explained variance of the median token.
    """

    model: str
    width: int
    seed: int
    alive: int
    explained_variance: float = NAN
    l0: float = NAN
    loss_recovered: float = NAN
    typical_explained_variance: float = NAN

    @property
    def dead_share(self) -> float:
        """Share of features that never fire."""
        return 1 - self.alive / self.width if self.width else NAN


@dataclass(frozen=True)
class WidthRow:
    """One width: both SAEs, and how their features match.

    Parameters
    ----------
    width, a, b
        Width of the dictionaries, and quality of the SAE of each side.
    summary
        Numbers of the matching.
    """

    width: int
    a: SaeQuality
    b: SaeQuality
    summary: CalibrationSummary

    @property
    def widths(self) -> tuple[int, ...]:
        """Dictionary sizes: one, or one of each side where they differ."""
        return (self.width,) if self.b.width == self.width else (self.width, self.b.width)


@dataclass(frozen=True)
class ControlRow:
    """One matching of the run, beside what chance gives.

    Parameters
    ----------
    name, of
        Name of the comparison, and what was matched, in words.
    summary
        Numbers of the matching.
    """

    name: str
    of: str
    summary: CalibrationSummary


@dataclass(frozen=True)
class LogitRow:
    """Logit weights: a matching by them beside chance, and their r for partners by activation.

    Parameters
    ----------
    role, label
        What was matched, as of a ``Sample``.
    summary
        Numbers of the matching by logit weights, whose partners are chosen on half of the token types.
    same_partner
        How often the partner by activation is that by logit weights.
    pairs_median
        Median logit-weight r, over all token types, of partners by activation.
    random_pairs_median, random_pairs_95
        Median and 95% quantile of the same for pairs drawn at random from features that fire about as often.
    """

    role: Role
    label: str
    summary: CalibrationSummary
    same_partner: Coincidence
    pairs_median: float = NAN
    random_pairs_median: float = NAN
    random_pairs_95: float = NAN


@dataclass(frozen=True)
class ConceptRow:
    """The feature of A that detects a kind of text best, and its partner in B.

    Parameters
    ----------
    kind, n_tokens, n_groups
        The kind, its tokens in the stores, and the number of works that they come from.
    feature, partner
        Indices; partner None if the feature has none.
    f1, precision, recall
        Scores of the feature as a detector of the kind.
    partner_f1
        F1 of the partner.
    partner_is_best
        Whether the partner is the best feature of B for the kind; None if unknown.
    chosen, held_out, ci_low, ci_high, q, logit_r
        Activation r of the pair on both halves, an interval of the latter, its q-value, and its logit-weight r.
    neuron_r
        r of the feature with the most similar neuron of its own model, where measured.
    known_by, most_alike, most_alike_held_out
        Number of features of A that detect the kind well, the one among them with the most similar partner, and the
        held-out r of that pair.
    tokens_a, tokens_b
        Tokens on which feature and partner fire most.
    ceiling_a, ceiling_b
        r of the feature, and of its partner, with their partners in a second SAE of their own model.
    """

    kind: str
    n_tokens: int
    feature: int
    partner: int | None = None
    n_groups: int | None = None
    f1: float = NAN
    precision: float = NAN
    recall: float = NAN
    partner_f1: float = NAN
    partner_is_best: bool | None = None
    chosen: float = NAN
    held_out: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    q: float = NAN
    logit_r: float = NAN
    neuron_r: float = NAN
    known_by: int | None = None
    most_alike: int | None = None
    most_alike_held_out: float = NAN
    tokens_a: tuple[str, ...] = ()
    tokens_b: tuple[str, ...] = ()
    ceiling_a: float = NAN
    ceiling_b: float = NAN


@dataclass(frozen=True)
class FamilyLevel:
    """One width of a family graph; None where the level has no neighbour to count towards.

    Parameters
    ----------
    width, eligible
        Features, and those that fire often enough to take part.
    novel_share, merged
        Towards the narrower width: share of features without a parent; features with two or more parents.
    split, childless, children_per_parent
        Towards the wider width: features with two or more children; features without children; mean number of children
        of the others.
    tree_children_per_parent
        The same mean where each child counts for its best parent only.
    absorbed_share, merge_rate
        Towards the narrower width: share of features whose parent is silent where they fire; share of features with
        two or more parents among those with any.
    edges_in, chance_edges_in
        Edges from the narrower width, and the number found on re-paired text.
    """

    width: int
    eligible: int
    novel_share: float | None = None
    merged: int | None = None
    split: int | None = None
    childless: int | None = None
    children_per_parent: float | None = None
    edges_in: int | None = None
    chance_edges_in: float | None = None
    tree_children_per_parent: float | None = None
    absorbed_share: float | None = None
    merge_rate: float | None = None

    @classmethod
    def from_summary(cls, level: Mapping[str, Any]) -> "FamilyLevel":
        """Make a level from one of ``Families.summary()["levels"]``; missing keys become None."""
        names = [name for name in cls.__dataclass_fields__ if level.get(name) is not None]
        return cls(**{name: level[name] for name in names})


@dataclass(frozen=True)
class FamilyTable:
    """Families of one model by width."""

    model: str
    levels: tuple[FamilyLevel, ...]


@dataclass(frozen=True)
class Pairing:
    """One of several comparisons.

    Parameters
    ----------
    a, b
        Names of the two sides.
    page
        Path of the comparison's page, relative to the page with the link; None on that page itself.
    row
        Matching at the headline width.
    comparison
        Name of the comparison in the explorer.
    """

    a: str
    b: str
    page: str | None
    row: WidthRow
    comparison: str = ""


@dataclass(frozen=True)
class SharedRow:
    """Features found in several models.

    Parameters
    ----------
    least
        Held-out r from which a partner counts.
    in_models
        Groups of partners with a feature of all models, of all but one … of two.
    alone
        Living features in no group.
    agreeing
        Groups whose members are all partners of each other.
    cycles_tried, cycles_closed
        Cycles from a feature to its partner in a second model, on to a third and back to the first; the share that
        ends where it began, NaN without any.
    """

    least: float
    in_models: tuple[int, ...]
    alone: int
    agreeing: int
    cycles_tried: int
    cycles_closed: float
