"""Cautions that a reader needs before believing the numbers on effects."""

from universality.formatting import fixed, listed, percent, plural
from universality.report.data import LEAST_DIFFERENCE, Caution, Effects, FirstOrderAccuracy
from universality.report.effect_narrative import beats_random, own
from universality.report.narrative import known

LEAST_RANK_CORRELATION = 0.8
LARGEST_SLOPE = 2.0
"""First-order effects whose rank correlation with exact ones is lower, or that are wrong by a larger factor, are
poor."""
LEAST_OVERLAP = 0.1
"""Controls that fire with A's feature on a smaller share of the partner's tokens are no strict comparison."""


def effect_cautions(effects: Effects | None) -> list[Caution]:
    """List everything in the numbers on effects that weakens them."""
    if effects is None:
        return []
    unmeasured = [
        Caution(what, "Remove the cause that it names, and run `effects` again.") for what in effects.unmeasured
    ]
    return [*_mass(effects), *_controls(effects), *_first_order(effects), *_few(effects), *unmeasured]


def _mass(effects: Effects) -> list[Caution]:
    lines = []
    for found in effects.carried:
        random, shared = found.row("same mass"), found.row("shared")
        if not found.enough_text:
            lines.append(
                Caution(
                    f"What the shared features of {found.loss.model} carry was measured on too little text to say "
                    f"({plural(found.loss.n_tokens, 'token')} of {plural(found.loss.n_groups, 'group')} of documents).",
                    "Raise effects.loss_blocks.",
                )
            )
        elif known(random.over_random) and not beats_random(found):
            lines.append(
                Caution(
                    f"The features of {found.loss.model} with a partner at r ≥ {found.threshold:g} do not carry more "
                    f"of the loss than random features of equal mass ({percent(shared.recovered)} against "
                    f"{percent(random.recovered)}): that a feature is shared does not show that the model depends on "
                    "it more.",
                    "Do not call shared features important for being shared; the section on effects has the shares.",
                    in_settings=False,
                )
            )
    return lines


def _controls(effects: Effects) -> list[Caution]:
    row = own(effects)
    if row is None or not (known(row.summary.control_r) and known(row.summary.r_per_norm)):
        return []
    summary = row.summary
    if summary.control_r > summary.r_per_norm - LEAST_DIFFERENCE:
        return [
            Caution(
                "Other features that fire like the partner have effects that agree as well as the partner's (median r "
                f"{fixed(summary.control_r)} against {fixed(summary.r_per_norm)}): agreement of effects is no more "
                "than firing alike gives here.",
                "Do not read the r of effects as evidence for the pairs; look at the rank among controls of single "
                "pairs.",
                in_settings=False,
            )
        ]
    if summary.overlap < LEAST_OVERLAP:
        return [
            Caution(
                "The features that partners' effects are compared with hardly fire on the same tokens (median overlap "
                f"{percent(summary.overlap)} of the partner's), so that partners agree better than they do says "
                "little.",
                "Compare with the value of equal firing alone and with the ceilings instead.",
                in_settings=False,
            )
        ]
    return []


def _first_order(effects: Effects) -> list[Caution]:
    poor = [row for row in effects.overall if _is_poor(row)]
    if not poor:
        return []
    named = [f"{row.model} (rank correlation {fixed(row.spearman)}, slope {fixed(row.slope)})" for row in poor]
    return [
        Caution(
            f"First-order effects are far from exact ones: {listed(named)}. All numbers on the agreement of effects "
            "are made of them.",
            "Rely on the exact effects of single pairs (fingerprints), and not on the r of effects.",
            in_settings=False,
        )
    ]


def _is_poor(row: FirstOrderAccuracy) -> bool:
    if not (known(row.spearman) and known(row.slope)):
        return True
    return row.spearman < LEAST_RANK_CORRELATION or not 1 / LARGEST_SLOPE <= row.slope <= LARGEST_SLOPE


def _few(effects: Effects) -> list[Caution]:
    row = own(effects)
    if row is None or not row.summary.n_pairs or row.summary.n_tested >= row.summary.n_pairs / 2:
        return []
    return [
        Caution(
            f"Only {row.summary.n_tested:,} of {row.summary.n_pairs:,} pairs have a p-value for their effects: the "
            "others fire together on too few held-out tokens, or in too few documents of one kind.",
            "Raise effects.blocks.",
        )
    ]
