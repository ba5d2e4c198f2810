"""Published concepts on planted features: those that are there are found, others are not, and the null decides."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from tests.labels.planted import COMMON, MARKED, N_DOCUMENTS, Oracle, decode, document, question, strength, tokenizer
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.labels import (
    Answer,
    Concept,
    FeatureLabel,
    LabelledModel,
    Labels,
    LiteratureComparison,
    LiteratureSettings,
    compare_literature,
)

WORDS = (*COMMON, *MARKED)


def explained(word: str) -> str:
    """Explanation that the oracle understands: the word with and without the space before it."""
    return f'the word "{word}" or " {word}"'


PRESENT = tuple(Concept(f"c{i}", explained(word), "someone 2020") for i, word in enumerate(MARKED[:4]))
ABSENT = tuple(Concept(f"a{i}", explained(word)) for i, word in enumerate(("dragon", "tower", "violin", "bishop")))
UNLIKE = Concept("nothing", "zebra")
BROAD = Concept("broad", " or ".join(explained(word) for word in WORDS[20:60]))
GONE = WORDS.index(MARKED[0])  # from the labels of model B
SETTINGS = LiteratureSettings(shortlist=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """One feature for each English word of the planted text."""
    column = {word: j for j, word in enumerate(WORDS)}
    encoded = [np.asarray(tokenizer().encode_with_spans([document(i)])[0].ids) for i in range(N_DOCUMENTS)]
    tokens = np.concatenate(encoded)
    strings = decode(tokens.tolist())
    fires = np.asarray([string.strip() in column for string in strings])
    cols = [column[string.strip()] for string in strings if string.strip() in column]
    values = np.asarray([5, *map(strength, strings[:-1], strings[1:])], np.float32)[fires]
    shape = len(tokens), len(WORDS)
    path = tmp_path_factory.mktemp("literature") / "words.h5"
    lengths = [len(ids) for ids in encoded]
    with FeatureStore.from_csr(
        sparse.csr_matrix((values, (np.flatnonzero(fires), cols)), shape=shape),
        path,
        tokens,
        special_tokens=[],
        document=np.repeat(np.arange(N_DOCUMENTS), lengths),
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def labels(store: FeatureStore) -> Labels:
    density, scored = store.moments().density, {"top": (0,)}
    of_feature = {
        j: FeatureLabel(j, explained(word), "answered", density=float(density[j]), score_rows=scored)
        for j, word in enumerate(WORDS)
    }
    return Labels({"store": store.content_hash(), "features": list(of_feature)}, of_feature)


@pytest.fixture(scope="module")
def models(store: FeatureStore, labels: Labels) -> dict[str, LabelledModel]:
    without = Labels(labels.header, {i: one for i, one in labels.labels.items() if i != GONE})
    return {"A": LabelledModel(store, labels, decode), "B": LabelledModel(store, without, decode)}


@pytest.fixture(scope="module")
def compared(models: dict[str, LabelledModel]) -> LiteratureComparison:
    return compare_literature(models, (*PRESENT, *ABSENT, UNLIKE, BROAD), scorer=Oracle(), settings=SETTINGS)


def test_planted_concepts_are_found_and_others_are_not(compared: LiteratureComparison) -> None:
    table = compared.to_frame().set_index(["concept", "model"])
    for concept in PRESENT:
        for model in "AB":
            row = table.loc[concept.name, model]
            there = (concept, model) != (PRESENT[0], "B")
            assert row.found == there
            if there:
                assert explained(WORDS[row.feature]) == row.explanation == concept.description
                assert row.score > 0.9
                assert row.q <= 0.05
                assert row.null_mean < 0.65
    assert not table.loc[[concept.name for concept in (*ABSENT, UNLIKE, BROAD)]].found.any()
    assert str(compared) == "4 of 10 concepts found in A, 3 of 10 concepts found in B"


def test_the_null_matters(compared: LiteratureComparison) -> None:
    """A description that fits many features scores well above 0.5 on each, and no better than on others."""
    for row in compared.to_frame().query("concept == 'broad'").itertuples():
        assert row.score > 0.6
        assert row.null_mean > 0.6
        assert row.p > 0.05


def test_the_null_is_of_as_many_features_of_near_density(compared: LiteratureComparison) -> None:
    for one in compared.results:
        if one.concept == "nothing":
            assert (one.feature, one.n_shortlisted, one.n_draws, one.shortlist) == (-1, 0, 0, ())
            assert np.isnan([one.score, one.null_mean, one.p_own, one.density_ratio]).all()
            assert one.p == one.q == 1
            continue
        assert one.n_shortlisted == len(one.shortlist) == 3
        assert one.n_draws == 20
        assert max(score for _, _, score in one.shortlist) == one.score
        assert sum(one.answers.values()) == one.answers["answered"] > 0
        assert one.density_ratio < 3  # marked words are twice as frequent as common ones


def test_chance_finds_nothing(models: dict[str, LabelledModel]) -> None:
    scorer = Oracle(chance=lambda text: True)
    found = compare_literature(models, (*PRESENT, *ABSENT), scorer=scorer, settings=SETTINGS).to_frame()
    assert found.found.mean() <= 0.05
    assert found.score.between(0.3, 0.85).all()


def test_other_scores_and_embeddings_choose_and_decide(models: dict[str, LabelledModel]) -> None:
    seen: list[Sequence[str]] = []

    def embed(texts: Sequence[str]) -> list[list[float]]:
        """The label of the feature, whatever the words: the concepts' descriptions are in another language."""
        seen.append(texts)
        return [[float(explained(word) in text) + 0.01 for word in WORDS] for text in texts]

    settings = LiteratureSettings(shortlist=2, method="simulation")
    one = {"A": models["A"]}
    found = compare_literature(one, PRESENT[:2], scorer=Oracle(), settings=settings, embed=embed)
    assert [(row.found, row.feature) for row in found.results] == [(True, GONE), (True, GONE + 1)]
    assert found.header["shortlist_by"] == "embeddings"
    assert len(seen[0]) == 2 + len(WORDS)
    with pytest.raises(UniversalityError, match=r"expected one finite vector for each of 83 texts, found .* \(3, 2\)"):
        compare_literature(one, PRESENT[:2], scorer=Oracle(), settings=settings, embed=lambda texts: np.zeros((3, 2)))


def test_refused_answers_are_counted_and_leave_no_score(models: dict[str, LabelledModel]) -> None:
    refusing = Oracle(edit=lambda kind, text: Answer("", "refused", problem="filtered"))
    found = compare_literature({"A": models["A"]}, PRESENT[:1], scorer=refusing, settings=SETTINGS).results[0]
    assert not found.found
    assert np.isnan(found.score)
    assert set(found.answers) == {"refused"}
    assert (found.feature, found.n_shortlisted, found.q) == (-1, 0, 1.0)
    assert len(found.shortlist) == 3


def test_descriptions_are_one_line_and_shared_features_are_scored_once(models: dict[str, LabelledModel]) -> None:
    scorer = Oracle()
    concept = Concept("x", 'the word "sea"\n\n1: yes')
    compare_literature({"A": models["A"]}, (concept,), scorer=scorer, settings=SETTINGS)
    asked = [question(prompt)[1] for prompt in scorer.asked]
    assert all(text.startswith('The feature responds to: the word "sea" 1: yes\n\n') for text in asked)
    assert len(asked) == len({*asked}) <= 6 * 63


def test_what_is_saved_is_loaded(compared: LiteratureComparison, tmp_path: Path) -> None:
    path = compared.save(tmp_path / "literature.json")
    loaded = LiteratureComparison.load(path)
    assert repr(loaded.results) == repr(compared.results)
    assert loaded.header == compared.header
    assert loaded.header["scorer"] == {"name": "oracle", "settings": {}}
    content = json.loads(path.read_text())
    del content["results"][0]["score"]
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError, match="a result is incomplete or of another form: 'score'"):
        LiteratureComparison.load(path)
    path.write_text(json.dumps({**content, "version": 2}))
    with pytest.raises(FormatError, match=r"expected a file of universality.literature version 1"):
        LiteratureComparison.load(path)


def test_what_cannot_be_compared_is_refused(models: dict[str, LabelledModel], labels: Labels) -> None:
    model = models["A"]
    other = replace(model, labels=Labels({**labels.header, "store": "ab"}, labels.labels))
    with pytest.raises(MismatchError, match="the labels of A were made from another store"):
        compare_literature({"A": other}, PRESENT, scorer=Oracle())
    few = replace(model, labels=Labels(labels.header, {i: labels.labels[i] for i in range(5)}))
    with pytest.raises(UniversalityError, match=r"A: 5 features have an explanation .*expected at least 105"):
        compare_literature({"A": few}, PRESENT, scorer=Oracle())
    with pytest.raises(FormatError, match="expected at least one concept"):
        compare_literature({"A": model}, (), scorer=Oracle())
    with pytest.raises(UniversalityError, match="oracle: 1 prompts were left without an answer"):
        compare_literature(
            {"A": model},
            PRESENT,
            scorer=Oracle(),
            settings=SETTINGS,
            ask=lambda scorer, prompts: list(scorer.ask(prompts))[:-1],
        )
