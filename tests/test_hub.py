"""Names of hub repositories, and a cache of the hub written here by the library's own rules: no network."""

import json
from pathlib import Path

import pytest

from universality.errors import ModelError
from universality.hub import Repository, cached_folder, commit_of, expand, fetch_model, fetch_tokenizer, repository

REPO = Repository("someone/tiny-seed1", "step10")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot's folder of ``REPO`` in an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--someone--tiny-seed1"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "step10").write_text(COMMIT)
    snapshot = home / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("EleutherAI/pythia-70m", Repository("EleutherAI/pythia-70m")),
        ("EleutherAI/pythia-70m@step143000", Repository("EleutherAI/pythia-70m", "step143000")),
        ("a.b/c_d@refs/pr/1", Repository("a.b/c_d", "refs/pr/1")),
        ("starter/seed0", None),
        ("/models/tiny", None),
        ("./models/tiny", None),
        ("../tiny", None),
        ("one/two/three", None),
        ("folder/tokenizer.json", None),
        ("a/b@", None),
    ],
)
def test_what_names_a_repository(source: str, expected: Repository | None) -> None:
    assert repository(source) == expected


def test_a_folder_here_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert repository("models/tiny") is not None
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    assert repository("models/tiny") is None


def test_braces_stand_for_several_names() -> None:
    assert expand("m-seed{1..3}@x") == ["m-seed1@x", "m-seed2@x", "m-seed3@x"]
    assert expand("step{1, 20}") == ["step1", "step20"]
    assert expand("plain") == ["plain"]


def test_a_cached_model_needs_no_network(cache: Path) -> None:
    (cache / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"did not give it: config\.json with all its weights"):
        fetch_model(REPO)  # a configuration alone is no model
    (cache / "pytorch_model.bin").write_bytes(b"")
    assert fetch_model(REPO) == cache
    assert commit_of(cache) == COMMIT


def test_a_model_in_parts_needs_all_of_them(cache: Path) -> None:
    (cache / "config.json").write_text("{}")
    parts = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (cache / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    (cache / "model-1.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="did not give it"):
        fetch_model(REPO)
    (cache / "model-2.safetensors").write_bytes(b"")
    assert fetch_model(REPO) == cache


def test_a_torn_index_is_not_trusted(cache: Path) -> None:
    (cache / "config.json").write_text("{}")
    (cache / "model.safetensors").write_bytes(b"")
    (cache / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ModelError, match="did not give it"):
        fetch_model(REPO)


def test_a_cached_tokenizer_needs_no_network(cache: Path) -> None:
    (cache / "tokenizer.json").write_text("{}")
    assert fetch_tokenizer(REPO) == cache


def test_without_cache_and_network_it_says_what_to_do(cache: Path) -> None:
    missing = Repository("someone/else", "step7")
    assert cached_folder(missing) is None
    with pytest.raises(ModelError) as found:
        fetch_model(missing)
    for part in (
        "someone/else@step7: no such file or folder here",
        "hf download someone/else --revision step7 --local-dir models/else-step7",
        "write its path in place of someone/else@step7",
        "HF_HOME",
    ):
        assert part in str(found.value)
