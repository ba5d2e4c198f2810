"""The tables of a report: language models, SAEs, widths, concepts, families."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from universality.report.data.samples import NAN


@dataclass(frozen=True)
class LanguageModel:
    """One language model: where it comes from, the seeds of its weights and its data order, and its loss.

    The loss is in nats a token, on held-out text. ``held_out`` counts the study's held-out documents, ``seen`` those of
    them that the model was trained on; None where that is not known.
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
    """All of them, beside what counting tokens (unigram) and pairs of them (bigram) achieves, in nats a token."""

    rows: tuple[LanguageModel, ...]
    unigram: float = NAN
    bigram: float = NAN


@dataclass(frozen=True)
class SaeQuality:
    """One SAE on held-out tokens.

    Parameters
    ----------
    model, width, seed
        Whose it is.
    alive
        Features that fire at least once.
    explained_variance, l0
        Share of the variance; features that fire on a token.
    loss_recovered
        (ablated - spliced) / (ablated - clean), ablated to ``ablation``.
    typical_explained_variance
        That of the median token.
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
        The dictionaries.
    n_pairs, n_living, n_scored
        Matched pairs, A's living features, and those of them whose pair has a held-out r.
    chosen, held_out
        Median r on the half that chose and on the half that reports, of A's living features; one without a score lies
        below every score.
    share_significant, share_within_kinds, shares
        Of A's living features: q at most the level, under the first null and under that within kinds; held-out r
        of at least each of ``THRESHOLDS``.
    null_median, null_q95
        Of the matched scores on re-paired text.
    gap
        Bound on what the assignment's sum falls short of the best; None where nothing is optimised.
    collisions
        Features of A that would lose their best partner if each could be had once; None if not counted.
    """

    width: int
    a: SaeQuality
    b: SaeQuality
    n_pairs: int
    chosen: float = NAN
    held_out: float = NAN
    share_significant: float = NAN
    share_within_kinds: float = NAN
    shares: tuple[float, ...] = (NAN, NAN)
    null_median: float = NAN
    null_q95: float = NAN
    gap: float | None = None
    collisions: int | None = None
    n_living: int = 0
    n_scored: int = 0


@dataclass(frozen=True)
class ControlRow:
    """One matching of the run, beside what chance gives.

    Parameters
    ----------
    name, of
        Of the comparison; what was matched, in words.
    n_pairs, n_living, n_scored, chosen, held_out, null_median, null_q95, share_significant, share_within_kinds
        As in ``WidthRow``.
    """

    name: str
    of: str
    n_pairs: int
    chosen: float = NAN
    held_out: float = NAN
    null_median: float = NAN
    null_q95: float = NAN
    share_significant: float = NAN
    share_within_kinds: float = NAN
    n_living: int = 0
    n_scored: int = 0


@dataclass(frozen=True)
class ConceptRow:
    """The feature of A that knows a kind of text best, and its partner in B.

    Parameters
    ----------
    kind, n_tokens, n_groups
        The kind, its tokens in the stores, and the works that they were cut from.
    feature, partner
        Indices; partner None if it has none.
    f1, precision, recall
        Of the feature for the kind.
    partner_f1
        Of the partner.
    partner_is_best
        Whether the partner is B's own best feature for the kind; None if unknown.
    chosen, held_out, ci_low, ci_high, q, logit_r
        The pair's activation r on both halves, an interval for the latter, its q-value, and its logit-weight r.
    neuron_r
        r of the feature with the most similar neuron of its own model, where it was measured.
    known_by, most_alike, most_alike_held_out
        How many features of A know the kind well, the one among them that has the most similar partner, and its r.
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
        Towards the narrower width: share without a parent; features with two or more.
    split, childless, children_per_parent
        Towards the wider width: features with two or more children; with none; mean over those with any.
    tree_children_per_parent
        The same mean where each child counts for its best parent only.
    absorbed_share, merge_rate
        Towards the narrower width: share whose parent is silent where they fire; of those with parents, share with two
        or more.
    edges_in, chance_edges_in
        Edges from the narrower width, and how many re-paired text gives.
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
        """From one of ``Families.summary()["levels"]``; keys that it lacks stay None."""
        names = [name for name in cls.__dataclass_fields__ if level.get(name) is not None]
        return cls(**{name: level[name] for name in names})


@dataclass(frozen=True)
class FamilyTable:
    """How the features of one model split as the dictionary grows."""

    model: str
    levels: tuple[FamilyLevel, ...]
