"""Data sets by name, over HTTP: a hub on the loopback, and the real ``datasets`` and ``huggingface_hub`` as clients."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.hub_server import COMMIT, Hub, serve
from universality.corpus import read_passages
from universality.corpus.hub_texts import TextBudget, fetch_texts, hub_text
from universality.errors import CorpusError, MissingExtraError

pytest.importorskip("datasets")
DOCUMENT_TOKENS = 50  # 200 bytes, four to a token
SCRIPT = """
import json, sys
from universality.errors import UniversalityError
from universality.corpus import TextLayout, read_passages, read_source
for arguments in json.load(sys.stdin):
    layout = TextLayout(columns=arguments.pop("columns", {}))
    try:
        passages = read_source(**arguments, layout=layout).passages
        print(json.dumps({"ids": [p.id for p in passages], "kinds": [p.kind for p in passages]}))
    except UniversalityError as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""
CARD = b"""---
configs:
- config_name: small
  data_files:
  - {split: train, path: small/train-*.parquet}
  - {split: test, path: small/test.parquet}
- config_name: large
  data_files: large.parquet
---
"""


def parquet(first: int, n: int) -> bytes:
    rows = range(first, first + n)
    frame = pandas.DataFrame({"body": [f"{i:04d}" + "x" * 196 for i in rows], "lang": [f"k{i % 2}" for i in rows]})
    frame.to_parquet(content := io.BytesIO())
    return content.getvalue()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    files = {"README.md": CARD, "large.parquet": parquet(0, 9), "small/test.parquet": parquet(900, 9)}
    files |= {f"small/train-{i}.parquet": parquet(100 * i, 100) for i in range(5)}
    lines = b"".join(json.dumps({"text": f"line {i}"}).encode() + b"\n" for i in range(9)) + b'{"text": broken\n'
    repositories = {"acme/set": files, "acme/gated": files, "acme/broken": {"data.jsonl": lines},
                    "acme/model": {"config.json": b"{}"}}  # fmt: skip
    with serve(Hub(repositories, revisions=("main", "v2"), gated={"acme/gated"})) as made:
        yield made


def read(hub: Hub, home: Path, *requests: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
    """Read the sources in one process, as a user's script would, with an own cache."""
    variables = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(requests),
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


SMALL = {"source": "acme/set:small", "columns": {"text": "body", "kind": "lang"}, "max_tokens": 3 * DOCUMENT_TOKENS}


def test_a_budget_is_streamed_once_and_read_offline(hub: Hub, tmp_path: Path) -> None:
    hub.requests.clear()
    test = {**SMALL, "source": f"acme/set@{COMMIT}:small/test", "max_tokens": None, "max_documents": 2}
    first, other = read(hub, tmp_path, SMALL, test)
    assert first == {"ids": [f"acme/set:small/train:{i}" for i in range(3)], "kinds": ["k0", "k1", "k0"]}
    assert other["ids"] == ["acme/set:small/test:0", "acme/set:small/test:1"]
    assert hub.downloads("small/train-0.parquet")
    assert not any(hub.downloads(f"small/train-{i}.parquet") for i in range(1, 5))  # not what the budget leaves out
    asked = len(hub.requests)
    assert read(hub, tmp_path, SMALL, HF_HUB_OFFLINE="1") == [first]
    assert len(hub.requests) == asked
    more, offline = {**SMALL, "max_tokens": 120 * DOCUMENT_TOKENS}, "offline mode is enabled"
    assert len(read(hub, tmp_path, more)[0]["ids"]) == 120  # control: a larger budget reads the second file too
    assert hub.downloads("small/train-1.parquet")
    (refused,) = read(hub, tmp_path / "empty", SMALL, HF_HUB_OFFLINE="1")
    assert offline in refused["error"]
    assert "copy the cache of that machine and point HF_HOME at it" in refused["error"]


REFUSED = {
    "acme/none": "CorpusError: acme/none: no such file or folder here, and the Hugging Face hub or its cache did not "
    "give a data set: there is no such repository, or it is private",
    "acme/set@v9": "the repository has no revision 'v9'",
    "acme/gated:small": "is a gated dataset on the Hub. Visit the dataset page at https://huggingface.co/datasets/acme/"
    "gated to ask for access; log in with `hf auth login`. Where there is a network",
    "acme/set:medium": "medium/train: the data set cannot be read: BuilderConfig 'medium' not found. Available: "
    "['small', 'large']; its name is owner/dataset@revision:configuration/split",
    "acme/set:small/validation": "cannot be read: Bad split: validation. Available splits: ['train', 'test'];",
    "acme/set": "cannot be read: Config name is missing. Please pick one among the available configs: ['small', 'large",
    "acme/set:large": "acme/set:large/train: no column 'text' to read text from; found 'body', 'lang'; name the right",
    "acme/broken": "cannot be read: JSON parse error",
    "acme/model": "doesn't contain any data files",
}


def test_what_the_hub_does_not_give(hub: Hub, tmp_path: Path) -> None:
    answers = read(hub, tmp_path, *({"source": source, "max_documents": 50} for source in REFUSED))
    for answer, (source, message) in zip(answers, REFUSED.items(), strict=True):
        assert message in answer.get("error", answer), source
    assert not list((tmp_path / "universality").glob("*.jsonl"))  # nothing is half written


def test_a_budget_is_needed_and_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    text = hub_text(f"acme/set@{COMMIT}")
    assert text is not None
    with pytest.raises(CorpusError, match=r"acme/set@.*: a data set of the hub is read up to a budget.*corpus.max_tok"):
        fetch_texts(text, {}, TextBudget())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"acme/set, no file or folder.*pip install 'universality\[datasets\]'"):
        fetch_texts(text, {}, TextBudget(max_documents=1))


@pytest.mark.parametrize("source", ["starter", "a/b.txt", "a/b.jsonl.gz", "./a/b", "/a/b", "a/b/c", "b", "a/b.npy"])
def test_what_names_no_data_set(source: str) -> None:
    assert hub_text(source) is None


def test_a_folder_here_is_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub_text("my/text") is not None
    (tmp_path / "my" / "text").mkdir(parents=True)
    (tmp_path / "my" / "text" / "a.txt").write_text("here")
    assert [p.text for p in read_passages("my/text")] == ["here"]
