"""Specificity on planted features: pure at every strength, pure only when strong, and beside a floor."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.labels.planted import DEAD, MARKED, NAMES, ONLY_CHOOSE, Oracle, decode
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.labels import (
    Answer,
    FeatureLabel,
    Labels,
    LabelSettings,
    LabelSpecificity,
    SpecificitySettings,
    measure_specificity,
)
from universality.labels.sampled_firings import SILENT, sample_firings

SETTINGS = LabelSettings(scores=("detection",))


def labels_of(store: FeatureStore, explanations: dict[int, str], floor: dict[str, int] | None = None) -> Labels:
    header = {"store": store.content_hash(), "explainer": {"name": "hand"}, "settings": SETTINGS.as_dict()}
    labels = {i: FeatureLabel(i, text, "answered", floors_from=floor or {}) for i, text in explanations.items()}
    return Labels(header | {"features": list(labels)}, labels)


def shares(found: LabelSpecificity, feature: int, by: str = "explanation") -> dict[str, float]:
    frame = found.to_frame().query("feature == @feature and by == @by")
    return dict(zip(frame["share"], frame["value"], strict=True))


@pytest.fixture(scope="module")
def by_truth(store: FeatureStore) -> LabelSpecificity:
    labels = labels_of(store, dict(enumerate(NAMES)), {"equal density": 1})
    return measure_specificity(store, labels, decode, scorer=Oracle())


def test_a_true_explanation_holds_at_every_firing_and_nowhere_else(by_truth: LabelSpecificity) -> None:
    for feature in range(len(MARKED) + 1):
        found = shares(by_truth, feature)
        assert found == {"over the range": 1, "over firings": 1, "false alarms": 0}
    frame = by_truth.to_frame()
    assert (frame["missing"] == 0).all()
    assert ((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])).all()
    low = frame.query("share == 'over the range' and by == 'explanation'").set_index("feature")["low"]
    assert low.median() > 0.8
    assert low[NAMES.index("Hebrew script")] < 0.7  # few works have Hebrew text, each of which counts once


def test_the_floor_is_another_explanation_on_the_same_tokens(by_truth: LabelSpecificity) -> None:
    other = shares(by_truth, 0, "other explanation")
    assert other["over the range"] == 0
    assert shares(by_truth, 1, "other explanation")["over the range"] == 1  # its own floor here
    table = by_truth.summary().set_index(["by", "share"])
    assert table.loc[("other explanation", "over the range"), "advantage_low"] > 0.5
    verdicts = by_truth.verdicts
    rows = [set(verdicts.query("feature == 0 and by == @by")["row"]) for by in ("explanation", "other explanation")]
    assert rows[0] == rows[1]


def test_weak_firings_count_as_the_shares_say(store: FeatureStore) -> None:
    """An oracle that says yes to strong firings alone: each share has its known value."""
    labels = labels_of(store, {0: NAMES[0]})
    settings = SpecificitySettings(n_intervals=3, per_interval=10_000, silent=20, floor=False)
    (sample,) = sample_firings(store, [0], settings, SETTINGS)
    strong = set(sample.row[sample.interval == 3].tolist())
    judged = measure_specificity(store, labels, decode, scorer=Oracle(), settings=settings)
    verdicts = judged.verdicts.assign(yes=judged.verdicts["row"].isin(strong).astype(float))
    found = shares(LabelSpecificity(verdicts, judged.firings, judged.settings, {}), 0)
    assert found["over the range"] == pytest.approx(1 / 3)
    assert found["over firings"] == pytest.approx(len(strong) / sample.firings.sum())
    assert abs(found["over the range"] - found["over firings"]) > 0.005
    assert found["false alarms"] == 0


def test_few_samples_estimate_the_share_of_firings(store: FeatureStore) -> None:
    """Intervals of unequal numbers are sampled alike and weighted back."""
    whole = SpecificitySettings(n_intervals=4, per_interval=10_000, floor=False)
    few = SpecificitySettings(n_intervals=4, per_interval=6, floor=False)
    (everything,) = sample_firings(store, [0], whole, SETTINGS)
    truth = {row: float(a) for row, a in zip(everything.row.tolist(), everything.activation.tolist(), strict=True)}
    expected = np.mean([a > 4 for a in truth.values() if a > 0])
    found = []
    for seed in range(40):
        (sample,) = sample_firings(store, [0], few, LabelSettings(seed=seed))
        yes = sample.activation > 4
        share = [yes[sample.interval == k].mean() for k in range(1, 5)]
        found.append(np.average(share, weights=sample.firings))
    assert np.mean(found) == pytest.approx(expected, abs=0.03)


def test_samples_are_of_the_half_that_reports(store: FeatureStore) -> None:
    tokens, reports = store.tokens, np.asarray(store.documents.split) == "report"
    for sample in sample_firings(store, [0, 8, 9], label_settings=SETTINGS):
        assert reports[np.asarray(tokens.document)[sample.row]].all()
        activation = store.csr()[sample.row, sample.feature].toarray().ravel()
        assert np.array_equal(activation, sample.activation)
        assert np.array_equal(sample.interval == SILENT, activation == 0)
        assert (sample.interval == SILENT).sum() == 30
        assert np.array_equal(sample.token[:, SETTINGS.before], np.asarray(tokens.token)[sample.row])
        assert len(set(sample.row.tolist())) == sample.row.size
        counts = Counter(sample.interval.tolist())
        assert all(counts[k] == min(5, n) for k, n in enumerate(sample.firings.tolist(), 1))


def test_a_feature_that_fires_nearly_everywhere_has_silent_tokens(store: FeatureStore) -> None:
    hebrew = NAMES.index("Hebrew script")
    (sample,) = sample_firings(store, [hebrew], SpecificitySettings(silent=3000), SETTINGS)
    assert (sample.interval == SILENT).sum() == 3000


def test_a_feature_that_is_silent_in_the_half_has_no_verdict(store: FeatureStore) -> None:
    scorer = Oracle()
    found = measure_specificity(store, labels_of(store, {ONLY_CHOOSE: NAMES[1]}), decode, scorer=scorer)
    assert scorer.asked == []
    assert len(found.verdicts) == 0
    assert found.firings["firings"].sum() == 0
    assert len(found.to_frame()) == 0
    assert "features</th><td>0" in found._repr_html_()


def test_refusals_are_missing(store: FeatureStore) -> None:
    def careless(kind: str, text: str) -> Answer | str:
        return Answer("", "refused") if text.startswith("1: yes") else text

    found = measure_specificity(store, labels_of(store, {0: NAMES[0]}), decode, scorer=Oracle(edit=careless))
    assert found.provenance["answers"]["refused"] > 0
    frame = found.to_frame()
    missing = frame.set_index("share")["missing"]  # firings are in two of the shares
    assert missing["over firings"] == missing["over the range"]
    assert missing["over firings"] + missing["false alarms"] == found.verdicts["yes"].isna().sum() > 0
    assert frame.set_index("share").loc["over the range", "value"] == 1


def test_files_keep_everything(by_truth: LabelSpecificity, tmp_path: Path) -> None:
    for name in ("s.npz", "s.json"):
        again = LabelSpecificity.load(by_truth.save(tmp_path / name))
        assert again.verdicts.equals(by_truth.verdicts)
        assert again.firings.equals(by_truth.firings)
        assert (again.settings, again.provenance) == (by_truth.settings, by_truth.provenance)
    (tmp_path / "t.npz").write_bytes((tmp_path / "s.npz").read_bytes()[:200])
    with pytest.raises(FormatError, match=r"t\.npz"):
        LabelSpecificity.load(tmp_path / "t.npz")


def test_tables_and_card(by_truth: LabelSpecificity) -> None:
    table = by_truth.by_interval()
    own = table[table["by"] == "explanation"].set_index("interval")["value"]
    assert own[0] < 0.05
    assert own[10] > 0.95
    html = by_truth._repr_html_()
    assert "Specificity of explanations" in html
    assert "other explanation, false alarms" in html
    assert "LabelSpecificity: explanations of 10 features" in repr(by_truth)


def test_bad_input(store: FeatureStore) -> None:
    labels = labels_of(store, {0: NAMES[0], DEAD: ""})
    with pytest.raises(UniversalityError, match=r"features with an explanation, of which there are 1, found \[10\]"):
        measure_specificity(store, labels, decode, scorer=Oracle(), features=[DEAD])
    other = Labels({**labels.header, "store": "0"}, labels.labels)
    with pytest.raises(MismatchError, match="labels of another store"):
        measure_specificity(store, other, decode, scorer=Oracle())
