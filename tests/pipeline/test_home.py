"""``~`` in every path that a caller gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from universality import SAE, FeatureStore
from universality.corpus import TokenBlocks, build_from_arrays, load_tokenizer, read_passages
from universality.export import write_graph
from universality.family import Families
from universality.matching import Match, match
from universality.models.unembedding import Unembedding
from universality.pipeline.info import describe
from universality.similarity import Similarity

HOME = "~/inner"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    return tmp_path / "inner"


def store(path: str) -> FeatureStore:
    writer = FeatureStore.create(path, 4, {})
    eye = sparse.csr_matrix(np.eye(4))
    writer.append(eye, token=[0] * 4, document=[0] * 4, position=[1, 2, 3, 4], kind=["x"] * 4)
    return writer.finish()


def test_what_is_written_at_home_is_read_from_there(home: Path) -> None:
    store(f"{HOME}/a.h5").close()
    assert FeatureStore.open(f"{HOME}/a.h5").path == home / "a.h5"
    found = match(Similarity.from_dense(np.eye(3)))
    assert found.save(f"{HOME}/m.npz") == home / "m.npz"
    Match.load(f"{HOME}/m.npz")
    blocks = build_from_arrays(np.ones((9, 5), np.int32), d_vocab=3, bos_id=0, n_ctx=4, held_out=0.5).blocks
    blocks.save(f"{HOME}/b.npz")
    assert TokenBlocks.load(f"{HOME}/b.npz").hash == blocks.hash
    np.save(home / "x.npy", np.ones((9, 5), np.int32))
    build_from_arrays(f"{HOME}/x.npy", d_vocab=3, bos_id=0, n_ctx=4, held_out=0.5)
    Unembedding(np.ones((2, 3)), np.ones(2), np.ones(3, bool), True).save(f"{HOME}/u.safetensors")
    Unembedding.load(f"{HOME}/u.safetensors")
    load_tokenizer("starter").save(f"{HOME}/tokenizer.json")
    load_tokenizer(f"{HOME}/tokenizer.json")
    graph = nx.Graph()
    graph.add_edge("x", "y", weight=0.5)
    assert {file.parent for file in write_graph(graph, f"{HOME}/g")} == {home}
    (home / "text.txt").write_text("some text")
    assert read_passages(f"{HOME}/text.txt")[0].text == "some text"
    assert next(iter(describe(f"{HOME}/a.h5"))) == f"feature store {home / 'a.h5'}"
    assert not Path("~").exists()


@pytest.mark.parametrize("load", [SAE.load, Families.load, FeatureStore.open, Match.load, TokenBlocks.load])
def test_a_missing_file_is_looked_for_at_home(load: Callable[[str], Any], home: Path) -> None:
    with pytest.raises((ValueError, OSError), match="inner") as error:
        load(f"{HOME}/nothing.json")
    assert load is TokenBlocks.load or str(home) in str(error.value)
