"""SAEs by name, over HTTP: a hub on the loopback, and the real ``huggingface_hub`` as its client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import COMMIT, Hub, serve
from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats import read
from universality.sae.formats.hub_names import hub_place
from universality.sae.formats.saelens_directory import Listing

DATA = Path(__file__).parent / "data"
LAYER = "saelens_topk"
QWEN = "Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_5"
ATTENTION = "gpt2-small_L5_Hcat_z_lr1.20e-03_v9.pt"
SCRIPT = """
import json, sys
from universality.errors import UniversalityError
from universality.sae import SAE
for name in sys.argv[1:]:
    try:
        sae = SAE.load(name)
        print(json.dumps({"hash": sae.hash, "hub": sae.metadata["hub"]}))
    except UniversalityError as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    saes = {f"layer_3/{path}": content for path, content in files_of(DATA / LAYER).items()}
    saes |= {f"layer_4/{path}": content for path, content in files_of(DATA / "gemma_scope").items()}
    single = files_of(DATA / "qwen_scope/SAE-Res-Qwen3-1.7B-Base-W32K-L0_5")
    single |= {"layer4.sae.pt": single["layer3.sae.pt"]}
    attention = files_of(DATA / "attention_saes/attn-saes-gpt2-small-all-layers")
    folders = {f"v5_layer_0.pt/{path}": content for path, content in files_of(DATA / LAYER).items()}
    big = {"cfg.json": b"{}", "sae_weights.safetensors": bytes(range(256)) * (1 << 16)}
    repositories = {"acme/saes": saes, "acme/root": files_of(DATA / LAYER), "acme/gated": {"cfg.json": b"{}"},
                    "acme/text": {"README.md": b"nothing here"}, "acme/large": big,
                    QWEN: single, "acme/attention": attention, "acme/folders": folders}  # fmt: skip
    made = Hub(repositories, revisions=("main", "v2"), gated={"acme/gated"})
    made.large = {"layer_3/sae_weights.safetensors", "sae_weights.safetensors"}
    with serve(made):
        yield made


def load(hub: Hub, home: Path, *names: str, **environment: str) -> list[dict[str, object]]:
    variables = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names], env=variables, capture_output=True, text=True, check=True, timeout=120
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


NAMES = {
    "folder": "acme/saes:layer_3",
    "revision": "acme/saes@v2:layer_3",
    "file at a commit": f"acme/saes@{COMMIT}:layer_3/sae_weights.safetensors",
    "root": "acme/root",
    "folder that is named as a file": "acme/folders:v5_layer_0.pt",
    "file in a repository that tells k": f"{QWEN}:layer3.sae.pt",
    "file with a configuration beside it": f"acme/attention:{ATTENTION}",
}
HELD = {  # where it is another than LAYER
    f"{QWEN}:layer3.sae.pt": f"qwen_scope/{QWEN.partition('/')[2]}/layer3.sae.pt",
    f"acme/attention:{ATTENTION}": f"attention_saes/attn-saes-gpt2-small-all-layers/{ATTENTION}",
}
REFUSED = {
    "acme/none:a": "no such repository, or it is private",
    "acme/saes@v9:layer_3": "no revision 'v9'",
    "acme/gated": "the repository is gated: accept its terms",
    "acme/saes:layer_9": "no SAE there; acme/saes has 2: layer_3, layer_4/layer_3/width_32/average_l0_9",
    "acme/saes": "no SAE there; acme/saes has 2",
    QWEN: f"{QWEN}: no SAE there; {QWEN} has 2: layer3.sae.pt, layer4.sae.pt",
    "acme/text": "acme/text has no SAE of a known format; its files: README.md",
}


@pytest.fixture(scope="module")
def answers(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, object]]]:
    """What one process makes of all names, and the folder of its cache."""
    home = tmp_path_factory.mktemp("home")
    directory = home / "pretrained_saes.yaml"
    directory.write_text(
        "listed:\n  repo_id: acme/saes\n  saes: [{id: s, path: layer_3}]\n"
        "  config_overrides: {model_from_pretrained_kwargs: {center_writing_weights: true}}\n"
    )
    names = [*NAMES.values(), *REFUSED, "listed/s"]
    return home, dict(zip(names, load(hub, home, *names, SAELENS_DIRECTORY=str(directory)), strict=True))


@pytest.mark.parametrize("place", NAMES)
def test_an_sae_of_a_repository_is_the_one_of_its_folder_and_records_its_origin(
    answers: tuple[Path, dict[str, dict[str, object]]], place: str
) -> None:
    answer = answers[1][NAMES[place]]
    assert answer.get("hash") == SAE.load(DATA / HELD.get(NAMES[place], LAYER)).hash, answer
    name, _, path = NAMES[place].partition(":")
    assert answer["hub"] == {"repository": name.split("@")[0], "path": path, "commit": COMMIT}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_without_an_sae_is_refused_with_what_there_is(
    answers: tuple[Path, dict[str, dict[str, object]]], name: str
) -> None:
    assert REFUSED[name] in str(answers[1][name].get("error")), answers[1][name]


def test_a_release_and_id_are_loaded_with_what_the_directory_says(
    answers: tuple[Path, dict[str, dict[str, object]]],
) -> None:
    answer = answers[1]["listed/s"]
    centred = SAE(**Listing("acme/saes", "layer_3", centred=True).apply(read(DATA / LAYER)))
    assert answer.get("hash") == centred.hash, answer
    assert answer["hub"] == {"repository": "acme/saes", "path": "layer_3", "commit": COMMIT}


def test_a_repository_is_not_downloaded_in_search_of_an_sae(
    hub: Hub, answers: tuple[Path, dict[str, dict[str, object]]]
) -> None:
    assert not hub.downloads("acme/saes/resolve/main/layer_4/layer_3/width_32/average_l0_9/params.npz")
    assert not hub.downloads("layer4.sae.pt")


def test_a_cached_sae_needs_no_hub_and_a_download_that_is_cut_resumes(
    hub: Hub, answers: tuple[Path, dict[str, dict[str, object]]]
) -> None:
    home, _ = answers
    hub.requests.clear()
    hub.cut.add("sae_weights.safetensors")
    again, large = load(hub, home, "acme/saes:layer_3", "acme/large")
    assert again["hash"] == SAE.load(DATA / LAYER).hash
    assert not [path for _, path, _ in hub.requests if "acme/saes" in path], "the cache has it"
    whole, rest = hub.downloads("acme/large/sae_weights.safetensors")
    assert whole is None
    assert rest is not None, "the second request asks for what is missing alone"
    assert int(rest.removeprefix("bytes=").split("-")[0]) > 0
    assert "cfg.json" in str(large["error"]), "all of the file has arrived and its configuration is read"
    (blob,) = [path for path in home.rglob("blobs/*") if path.stat().st_size > 1 << 20]
    assert blob.read_bytes() == hub.repositories["acme/large"]["sae_weights.safetensors"]


def test_a_release_and_id_of_saelens_directory_stand_for_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pretrained_saes.yaml"
    file.write_text(
        "small-res:\n  repo_id: acme/saes@v2\n  saes:\n  - {id: blocks.3.hook_resid_pre, path: layer_3}\n"
        "  - {id: width_16k/l0_9}\n"
        "small-res-2:\n  repo_id: ../up\n  saes: [{id: a}]\n"
    )
    monkeypatch.setenv("SAELENS_DIRECTORY", str(file))
    assert str(hub_place("small-res/blocks.3.hook_resid_pre")) == "acme/saes@v2:layer_3"
    assert str(hub_place("small-res/width_16k/l0_9")) == "acme/saes@v2:width_16k/l0_9"
    assert str(hub_place("other/name:a")) == "other/name:a"
    with pytest.raises(FormatError, match=r"has no id 'x'; it has blocks\.3\.hook_resid_pre, width_16k/l0_9"):
        hub_place("small-res/x")
    with pytest.raises(FormatError, match=r"small-res-2/a: expected repo_id as owner/name, found '\.\./up'"):
        hub_place("small-res-2/a")
    file.write_text("- a")
    with pytest.raises(FormatError, match="expected a mapping of releases, found list"):
        hub_place("small-res/x")
    file.write_text("a: [")
    with pytest.raises(FormatError, match="not YAML"):
        hub_place("small-res/x")
    file.unlink()
    with pytest.raises(FormatError, match="SAELENS_DIRECTORY: no such file"):
        hub_place("small-res/x")


@pytest.mark.parametrize("name", ["a/b:../c", "a/b:/etc", "a/b:x*"])
def test_paths_that_leave_the_repository_are_refused(name: str) -> None:
    with pytest.raises(FormatError, match="expected a path inside the repository"):
        hub_place(name)


@pytest.mark.parametrize("name", ["folder", "/abs/olute", "a/b/c", "a/b@c@d"])
def test_what_cannot_be_a_name_is_none(name: str) -> None:
    assert hub_place(name) is None
