from dataclasses import dataclass, field, is_dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from universality.config import Config, keys_of, load_config, parse_config
from universality.errors import ConfigError

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
MODELS = {"load": {"A": "starter/seed0"}}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_shipped_config_is_valid(path: Path) -> None:
    assert load_config(path).models.names


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"models": MODELS, "corpus": {"cut": "passages", "separator": "x"}},
            "corpus: cut, separator, heading: expected one of them, found cut and separator",
        ),
        (
            {"models": MODELS, "corpus": {"source": "a.npy", "separator": "x", "max_tokens": 9}},
            r"separator, max_tokens: for text only, but source is a \.npy of token ids; leave it out",
        ),
        ({"models": MODELS, "corpus": {"columns": {"body": "text"}}}, "corpus.columns.body"),
        ({"models": MODELS, "corpus": {"cut": "lines"}}, "corpus.cut"),
        ({"models": MODELS, "saes": {"widths": [64, 32]}}, "widths must rise"),
        ({"models": MODELS, "saes": {"seeds": [0, 0]}}, r"must differ from each other, found \[0, 0\]"),
        ({"models": MODELS, "saes": {"ceiling_seed": 0}}, r"must differ from each other, found \[0, 0\]"),
        ({"models": MODELS, "saes": {"widths": [8], "k": 9}}, r"k must lie between 1 and the width \(8\), found 9"),
        (
            {"models": MODELS, "saes": {"widths": [8, 9], "k": [3, 0]}},
            r"k must lie between 1 and the width \(9\), found 0",
        ),
        (
            {"models": MODELS, "saes": {"widths": [8], "k": [3, 4]}},
            r"expected one k for all widths or one for each of \[8\]",
        ),
        ({"models": MODELS, "saes": {"nested": [64, 64]}}, r"nested widths must rise .* below 2048, found \[64, 64\]"),
        ({"models": MODELS, "saes": {"nested": [2048]}}, r"nested widths must rise .* below 2048, found \[2048\]"),
        ({"models": MODELS, "saes": {"resample_at": [0.0]}}, r"resample_at holds shares .* found \[0.0\]"),
        ({"models": MODELS, "saes": {"weight_decay": -1}}, r"saes\.weight_decay: .*at least 0.*found -1"),
        ({"models": {}}, "^configuration: models: expected at least one model under load or train$"),
        (
            {"models": MODELS, "statistics": {"replicates": 0}},
            r"^configuration: statistics: replicates: expected at least 1, since the report compares .*; found 0$",
        ),
        (
            {"models": MODELS, "statistics": {"zz": 0}},
            r"unknown key statistics\.zz; known: nulls, replicates, bootstrap",
        ),
        (
            {"models": {"load": {"A": "x"}, "train": {"A": {"init": 0, "order": 0}}}},
            "both under load and under train: A",
        ),
        ({"models": {"load": {"../A": "x"}}}, "becomes a file name"),
    ],
)
def test_values_that_do_not_fit_each_other_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(values)


def test_nested_widths_are_those_below_an_saes_own() -> None:
    saes = parse_config({"models": MODELS, "saes": {"architecture": "matryoshka"}}).saes
    assert [saes.nested_below(width) for width in saes.widths] == [(), (512,), (512, 1024)]
    own = parse_config({"models": MODELS, "saes": {"architecture": "matryoshka", "nested": [64, 600]}}).saes
    assert [own.nested_below(width) for width in own.widths] == [(64,), (64, 600), (64, 600)]
    assert parse_config({"models": MODELS}).saes.nested_below(2048) == ()


def test_overrides_reach_nested_keys(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("models: {load: {A: starter/seed0}}\n", encoding="utf-8")
    config = load_config(path, ["saes.k=16", "saes.widths=[64, 128]", "name=x"])
    assert (config.saes.k, config.saes.widths, config.name) == (16, [64, 128], "x")
    for override, message in [
        ("saes.k", "expected KEY=VALUE"),
        ("saes.widths.0=1", "widths is a value, not a section"),
        ("saes.kk=1", r"did you mean saes\.k\?"),
        ("saes.k=[", "is not a YAML value"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_config(path, ["saes.widths=[64, 128]", override])


def test_a_value_is_no_section(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("name: x\nmodels: {load: {A: starter/seed0}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="name is a value, not a section"):
        load_config(path, ["name.x=1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a", "expected a mapping"), ("a: [", "cannot be read as YAML"), (None, "neither a file nor a shipped")],
)
def test_bad_files(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def undocumented(section: type) -> list[str]:
    keys = keys_of(section)
    missing = [f"{section.__name__}.{name}" for name, field in keys.items() if not field.description]
    inner = (field.annotation for field in keys.values())
    nested = (c for c in inner if isinstance(c, type) and (is_dataclass(c) or issubclass(c, BaseModel)))
    return missing + [name for c in nested for name in undocumented(c)]


SECTIONS = (
    "corpus",
    "models",
    "activations",
    "saes",
    "crosscoder",
    "features",
    "statistics",
    "families",
    "effects",
    "map",
)


def test_every_field_is_documented_beneath_itself() -> None:
    assert undocumented(Config) == [f"Config.{name}" for name in SECTIONS]  # they are documented where they are defined


@dataclass(frozen=True)
class Inner:
    described: int = 0
    """Has a text."""
    bare: int = 0
    listed: list[int] = field(default_factory=list)


def test_an_undocumented_field_is_found() -> None:
    class Middle(BaseModel):
        described: int = Field(0, description="Has a text.")
        bare: int = 0
        inner: Inner = Inner()

    class Outer(BaseModel):
        middle: Middle = Field(Middle(), description="Inside.")

    assert undocumented(Outer) == ["Middle.bare", "Middle.inner", "Inner.bare", "Inner.listed"]


def test_k_is_one_number_or_one_a_width() -> None:
    widths = {"widths": [8, 16]}
    both = parse_config({"models": MODELS, "saes": widths | {"k": [2, 4]}}).saes
    assert [both.k_of(8), both.k_of(16)] == [2, 4]
    one = parse_config({"models": MODELS, "saes": widths | {"k": 3}}).saes
    assert [one.k_of(8), one.k_of(16)] == [3, 3]


def test_braces_name_a_family_of_models() -> None:
    load = {"seed{1..3}": "EleutherAI/pythia-70m-seed{1..3}@step143000", "base": "EleutherAI/pythia-70m"}
    assert parse_config({"models": {"load": load}}).models.load == {
        "seed1": "EleutherAI/pythia-70m-seed1@step143000",
        "seed2": "EleutherAI/pythia-70m-seed2@step143000",
        "seed3": "EleutherAI/pythia-70m-seed3@step143000",
        "base": "EleutherAI/pythia-70m",
    }


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ({"A": "x/seed{1..3}"}, r"'A' stands for 1 models, 'x/seed\{1..3\}' for 3"),
        ({"s{1..2}": "x/{1..2}", "s1": "x/y"}, "models named twice: s1"),
        ({"A": 3}, "expected text"),
        (["x/y"], "models.load: expected "),
    ],
)
def test_families_that_do_not_fit_are_refused(load: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"models": {"load": load}})


def test_models_of_different_beginnings_share_no_basis() -> None:
    train = {"A": {"init": 0, "order": 0}, "B": {"init": 0, "order": 1}}
    assert parse_config({"models": {"train": train, "one_basis": True}}).models.one_basis
    with pytest.raises(ConfigError, match="begin from different weights share no basis, found init A 0, B 1"):
        parse_config({"models": {"train": {**train, "B": {"init": 1, "order": 1}}, "one_basis": True}})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["A", "a"], "models A and a: their names differ in upper and lower case alone"),
        (["straße", "STRASSE"], "models straße and STRASSE: their names differ"),
        (["A", "A-B", "B-C", "C"], "two pairs of models would both be called A-B-C, and share their files"),
    ],
)
def test_models_whose_files_would_be_one_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"models": {"load": {name: f"starter/seed{i}" for i, name in enumerate(names)}}})
    parse_config({"models": {"load": dict.fromkeys(("A", "B-1", "B_1", "ab"), "starter/seed0")}})


def test_the_home_folder_is_expanded_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text(
        "corpus: {source: [~/text, starter], tokenizer: ~/t.json}\n"
        "models: {load: {A: ~/A, B: starter/seed0}, tokenizers: {A: ~/A}}\n"
        "activations: {cache: ~/cache}\nsaes: {load: {A: '~/{x,y}', B: [~/z]}}\n"
    )
    c = load_config("~/c.yaml")
    assert c.corpus.source == [f"{tmp_path}/text", "starter"]
    assert c.corpus.tokenizer == f"{tmp_path}/t.json"
    assert c.models.load == {"A": f"{tmp_path}/A", "B": "starter/seed0"}
    assert c.models.tokenizers == {"A": f"{tmp_path}/A"}
    assert c.activations.cache == f"{tmp_path}/cache"
    assert c.saes.load == {"A": [f"{tmp_path}/x", f"{tmp_path}/y"], "B": [f"{tmp_path}/z"]}
    assert "~" not in str(c.model_dump())  # of a new path too


def test_a_null_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected each null once, found kind, kind; leave the second out"):
        parse_config({"statistics": {"nulls": ["kind", "kind"]}})


@pytest.mark.parametrize("name", ["replicates", "bootstrap", "min_firings", "n_strata"])
def test_a_truth_value_is_no_number(name: str) -> None:
    with pytest.raises(ConfigError, match=f"statistics.{name}"):
        parse_config({"statistics": {name: True}})


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("name: x\nmodels:\n  load: {A: starter/seed0}\nname: y\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: cannot be read as YAML: 'name' is given twice, on lines 1 and 4"):
        load_config(path)
    path.write_text("models: {load: {A: starter/seed0}}\n")
    with pytest.raises(ConfigError, match=r"'k' is given twice, on lines 1 and 1"):
        load_config(path, ["saes={k: 1, k: 2}"])


def test_a_key_may_replace_one_that_is_merged_in(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("models: &m {load: {A: starter/seed0}}\nsaes: {<<: {k: 4}, k: 8}\n")
    assert load_config(path).saes.k == 8


def test_a_folder_and_an_empty_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match=r": a folder; expected a YAML file, such as .*config\.yaml"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match="expected a mapping of sections, found an empty file"):
        load_config(tmp_path / "config.yaml")
