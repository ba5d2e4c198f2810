"""Transfer of explanations in words: do explanations of A's features carry over to their partners in B?

The answer is about one score, detection where it was measured. It is

- "No answer" where there are too few features for an interval, or where explanations predict their own features no
  better than random features of equal density: then there is nothing that could carry over;
- "Not shown" where they predict partners no better than those random features;
- "Yes" where the interval of the loss on partners holds 0;
- else "Largely yes" where partners keep at least `KEPT` of the advantage over random features, and "In part" below.
"""

from universality.formatting import fixed, interval, percent, plural
from universality.report.data import GivenRRow, ReportTransfer, SpecificityRow
from universality.report.narrative import known

KEPT = 0.75
"""Share of the advantage over random features of equal density from which explanations largely carry over."""
_CONTROLS = {"second seeds": "second SAE seeds", "non-partners": "other features of {b}", "both": "both"}
_PAIRINGS = {
    "partner": "its partner in {b}",
    "second seed of A": "its partner in a second SAE of {a}",
    "second seed of B": "{b}'s explanation: its partner in a second SAE of {b}",
    "non-partner": "other features of {b}, spread over r",
    "equal density": "a random feature of {b}, of equal density",
}


def pairing(found: ReportTransfer, name: str) -> str:
    """Name the features on which explanations were scored."""
    return _PAIRINGS[name].format(a=found.a, b=found.b)


def control(found: ReportTransfer, name: str) -> str:
    """Name the pairs with which partners are compared at equal r."""
    return _CONTROLS[name].format(b=found.b)


def verdict(found: ReportTransfer) -> str:
    """Answer the question in one sentence; see the module's description."""
    partner = found.pairing("partner")
    chance = next((row for row in found.over_chance if row.name == found.main), None)
    what = f"explanations of {found.a}'s features"
    if partner is None or not known(partner.low):
        return f"No answer: {what} were scored on too few partners in {found.b} for an interval"
    if chance is not None and known(chance.own_low):
        if chance.own_low <= 0:
            return f"No answer: {what} predict these no better than random features of equal density"
        if not chance.partner_low > 0:
            return f"Not shown: {what} predict partners in {found.b} no better than random features of equal density"
    if partner.low <= 0:
        return (
            f"Yes: {what} predict their partners in {found.b} as well, as far as {plural(partner.n, 'pair')} can tell"
        )
    if chance is None or not known(chance.own_low):
        return f"{what[:1].upper()}{what[1:]} predict their partners in {found.b} less well; chance was not measured"
    kept = chance.partner / chance.own
    word = "Largely yes" if kept >= KEPT else "In part"
    return (
        f"{word}: on partners in {found.b}, {what} keep {percent(kept)} of their advantage over random features of "
        "equal density"
    )


def scores(found: ReportTransfer) -> str:
    """State the scores behind the verdict; empty where no partner was scored."""
    partner = found.pairing("partner")
    if partner is None:
        return ""
    beside = [
        f"{fixed(row.score)} on {text}"
        for name, text in (
            ("second seed of A", f"its partner in a second SAE of {found.a}"),
            ("equal density", "a random feature of equal density"),
        )
        if (row := found.pairing(name)) is not None
    ]
    bounds = interval(partner.low, partner.high)
    more = f", {percent(found.level)} interval {bounds}" if bounds else ""
    means = ", ".join(
        [f"{fixed(partner.own)} on the feature itself", f"{fixed(partner.score)} on its partner", *beside]
    )
    return (
        f"Mean {found.main} score of an explanation over {plural(partner.n, 'pair')}: {means}. Lost on partners: "
        f"{fixed(partner.loss)}{more}."
    )


def given_r(found: ReportTransfer) -> str:
    """State the loss on partners beyond that of other pairs at equal r: the finding."""
    rows = ((control(found, name), found.compared_with(name)) for name in ("second seeds", "non-partners"))
    told = [_compared(row, beside) for beside, row in rows if row is not None]
    if not told:
        return (
            "An explanation loses score wherever two features fire differently. How much of the loss this explains is "
            "not known: too few other pairs have the r of partners."
        )
    why = (
        "An explanation loses score wherever two features fire differently, so partners stand beside pairs of equal r."
    )
    return " ".join([why, *told])


def _compared(row: GivenRRow, beside: str) -> str:
    bounds = interval(row.low, row.high, 3)
    if not bounds:
        return f"Beside {beside}, partners lose {_signed(row.difference)} (too few features for an interval)."
    if row.low > 0:
        reading = "r does not account for the whole loss"
    elif row.high < 0:
        reading = "they lose less than r accounts for"
    else:
        reading = "no loss is left that r does not account for, as far as these features can tell"
    return f"Beside {beside}, partners lose {_signed(row.difference)} ({bounds}): {reading}."


def _signed(value: float) -> str:
    return f"{fixed(abs(value), 3)} {'less' if value < 0 else 'more'}"


def effects(found: ReportTransfer) -> str:
    """State how the loss goes with the agreement of effects; empty where effects were not measured."""
    rows = {row.given: row for row in found.with_effects if row.name == found.main and known(row.correlation)}
    plain, given = rows.get("nothing"), rows.get("r and own score")
    if plain is None:
        return ""
    text = (
        f"Loss and agreement of the partners' effects correlate at {fixed(plain.correlation)} "
        f"({interval(plain.low, plain.high) or 'no interval'}, {plural(plain.n, 'pair')})"
    )
    if given is not None:
        text += f", and at {fixed(given.correlation)} ({interval(given.low, given.high) or 'no interval'}) given r"
    return f"{text}; a negative correlation means that explanations carry over better where partners do the same."


def same(found: ReportTransfer) -> str:
    """State how often the explanations of partners were judged to describe the same; empty if they were not."""
    rates = {row.pairs: row for row in found.same}
    if not rates or not rates["partners"].n:
        return ""
    partners, chance, apart = rates["partners"], rates["random pairs"], rates["difference"]
    return (
        f"Without knowing the pairs, {found.scorer} judged the explanations of {percent(partners.rate)} of "
        f"{plural(partners.n, 'partner')} to describe the same thing, and of {percent(chance.rate)} of "
        f"{plural(chance.n, 'random pair')} (difference {fixed(apart.rate)}, "
        f"{interval(apart.low, apart.high) or 'no interval'})."
    )


def specificity(found: ReportTransfer) -> str:
    """State where explanations hold when their features fire; empty where that was not judged."""
    sides = dict.fromkeys(row.side for row in found.specificity)
    return " ".join(filter(None, (_of_side(side, found) for side in sides)))


def _of_side(side: str, found: ReportTransfer) -> str:
    rows = {(row.by, row.share): row for row in found.specificity if row.side == side}
    holds, false = (rows.get(("explanation", share)) for share in ("over the range", "false alarms"))
    if holds is None or not known(holds.mean):
        return ""
    text = f"When a feature of {side} fires, what its explanation says is there {_share(holds)}"
    if false is not None and known(false.mean):
        text += f"; where it does not fire, {_share(false)}"
    other = rows.get(("other explanation", "over the range"))
    if other is not None and known(other.mean):
        text += f"; another feature's explanation holds where it fires {_share(other)}"
    return f"{text}."


def _share(row: SpecificityRow) -> str:
    bounds = f" ({percent(row.low)} to {percent(row.high)})" if known(row.low) and known(row.high) else ""
    return f"{percent(row.mean)} of the time{bounds}"
