"""Effects in words: do partners do the same, and what do shared features carry?

The verdict by effect is made as that by activation, from the share of all pairs whose effects have an r per norm of at
least 0.5 on the tokens where both features fire. Pairs that fire together too rarely to be compared do not reach it.
The verdict is "No" where the median is no larger than the median of the null or of the controls, and "No answer" where
half of the pairs or more could not be compared, unless the others suffice for "Largely yes".
"""

from universality.formatting import count, fixed, interval, listed, of_all, percent, plural
from universality.report.data import THRESHOLDS, CarriedLoss, EffectRow, Effects
from universality.report.narrative import LARGELY, PARTLY, TOO_MANY_UNSCORED, known


def verdict(by_activation: str, effects: Effects | None) -> str:
    """Join the verdicts by activation and by effect; the first alone where effects were not compared.

    >>> verdict("In part", None)
    'In part'
    """
    row = own(effects)
    return by_activation if row is None else f"{by_activation} by activation; {_by_effect(row).lower()} by effect"


def own(effects: Effects | None) -> EffectRow | None:
    """Return the row of the comparison's own pairs; None where they were not compared."""
    return next((row for row in effects.rows if row.role == "features"), None) if effects else None


def _by_effect(row: EffectRow) -> str:
    summary = row.summary
    if not summary.n_compared:
        return "Too few pairs to tell"
    baselines = [value for value in (summary.null_r, summary.control_r) if known(value)]
    if baselines and summary.r_per_norm <= max(baselines):
        return "No"
    share = row.shares[0]
    if share < LARGELY and summary.n_compared <= TOO_MANY_UNSCORED * summary.n_pairs:
        return "Too few pairs to tell"
    return "Largely yes" if share >= LARGELY else "In part" if share >= PARTLY else "Mostly not"


def lead(effects: Effects | None) -> str:
    """State what the first model's shared features carry.

    Empty where that was not measured, on too little text, or where no feature is shared at any measured threshold: the
    matching itself then leads, and the section on effects says so.
    """
    first = effects.carried[0] if effects and effects.carried else None
    return carried(first) if first and first.any_shared and first.enough_text else ""


def carried(found: CarriedLoss) -> str:
    """State what shared features carry, and how that compares with random features of equal mass."""
    random, shared = found.row("same mass"), found.row("shared")
    model = found.loss.model
    if not found.any_shared:
        return f"{found.sentence} No lower r was measured, so there are no shared features whose loss could be stated."
    sentence = f"{found.sentence}{_unreached(found)}"
    if not known(random.over_random):
        return sentence
    if not found.enough_text:
        return f"{sentence} This text is too short for these shares to say what the features of {model} carry."
    difference = f"{_points(random.over_random)} points"
    bounds = _interval_in_points(random.over_random_low, random.over_random_high)
    if beats_random(found):
        verdict = f"So the shared features of {model} carry more than their mass predicts"
    elif random.over_random_high < 0 and shared.recovered < random.draws_low:
        verdict = f"So the shared features of {model} carry less than their mass predicts"
    else:
        verdict = f"So the shared features of {model} carry what their mass predicts, and no more"
    return f"{sentence} {verdict} (shared minus random: {difference}{bounds})."


def _unreached(found: CarriedLoss) -> str:
    """State that no feature reaches the usual threshold; empty if the sentence is made at it."""
    if found.unreached is None or found.unreached > THRESHOLDS[-1]:
        return ""
    return f" {found.loss.sentence(found.partners, found.unreached)}"


def beats_random(found: CarriedLoss) -> bool:
    """Return whether shared features recover more than random features of equal mass: on other text, and in any draw.

    The interval over documents does not cover the draws, of which a few features of great mass may decide.
    """
    random = found.row("same mass")
    return random.over_random_low > 0 and found.row("shared").recovered > random.draws_high


def _points(share: float) -> str:
    return f"{round(100 * share) + 0:+d}".replace("-", "−").replace("+0", "0")


def _interval_in_points(low: float, high: float) -> str:
    return f", 95% interval {_points(low)} to {_points(high)}" if known(low) and known(high) else ""


def agreement(effects: Effects | None) -> str:
    """State how far the effects of partners agree, beside what they are compared with; empty if not compared."""
    row = own(effects)
    if row is None or effects is None:
        return ""
    if not row.summary.n_compared:
        return "No pair of features fires together often enough on this text for their effects to be compared."
    return " ".join([_strength(row), _baselines(effects, row), _tested(row), accuracy(effects)])


def _strength(row: EffectRow) -> str:
    summary = row.summary
    bounds = {"documents": interval(*summary.median_ci), "pairs": interval(row.low, row.high)}
    over = [f"over {what} {found}" for what, found in bounds.items() if found]
    more = f"; 95% interval {listed(over)}" if over else ""
    return (
        "Do partners also do the same? On held-out tokens where both features of a pair fire, first-order effects on "
        f"the loss, per norm of its gradient, have a median r of {fixed(summary.r_per_norm)} "
        f"({count(summary.n_compared)} of {plural(summary.n_pairs, 'pair')} compared{more}); "
        f"{percent(row.shares[0])} of all pairs reach {THRESHOLDS[0]}."
    )


def _baselines(effects: Effects, row: EffectRow) -> str:
    summary = row.summary
    beside = [f"unrelated effects of features that fire as these do give {fixed(summary.null_r)}"]
    if known(summary.control_r):
        beside.append(f"other features that fire most like the partner {fixed(summary.control_r)}")
    beside += [f"{part.label} {fixed(part.summary.r_per_norm)}" for part in effects.of_all("ceiling")]
    beside += [f"{part.label} {fixed(part.summary.r_per_norm)}" for part in effects.of_all("neurons")]
    return f"Beside that, {listed(beside)}."


def _tested(row: EffectRow) -> str:
    summary = row.summary
    if not summary.n_tested:
        return "No pair has a p-value."
    without = summary.n_compared - summary.n_tested
    untested = (
        f"; {plural(without, 'compared pair')} {'has' if without == 1 else 'have'} no p, from too few documents of one "
        "kind"
        if without
        else ""
    )
    return (
        f"Of the {plural(summary.n_tested, 'pair')} with a p-value, {percent(summary.share_agree)} agree beyond chance "
        f"at q ≤ {summary.level:g} and {percent(summary.share_disagree)} are opposed beyond chance{untested}."
    )


def accuracy(effects: Effects) -> str:
    """State how far the first order is from exact effects."""
    if not effects.overall:
        return "These effects are first-order; exact ones were not measured, so their accuracy is not known."
    parts = [
        f"rank correlation {fixed(row.spearman)} and slope {fixed(row.slope)} for {row.model} "
        f"({plural(row.n, 'firing')})"
        for row in effects.overall
    ]
    return f"Exact against first-order effects: {listed(parts)}."


def compared(row: EffectRow) -> str:
    """Format the number of compared pairs."""
    return of_all(row.summary.n_compared, row.summary.n_pairs).replace("scored", "compared")
