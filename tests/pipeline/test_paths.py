"""Paths of a run: inside its folder, and of different things different."""

from pathlib import Path

from universality.pipeline.paths import RunFolder


def test_every_artifact_has_a_path_of_its_own_inside_the_folder() -> None:
    folder = RunFolder(Path("run"))
    fixed = [name for name, value in vars(RunFolder).items() if isinstance(value, property)]
    named = [name for name, value in vars(RunFolder).items() if callable(value) and not name.startswith("_")]
    store = folder.store("A", 64, 0)
    for name, place in {"labels": "A.w64-s0.jsonl", "label_specificity": "A.w64-s0.specificity.npz"}.items():
        named.remove(name)  # which takes the path of a store
        assert getattr(folder, name)(store) == Path("run/labels") / place
    paths = [getattr(folder, name) for name in fixed]
    for name in named:
        of_one_sae = ("sae", "store", "effects", "effect_activations", "fingerprints")
        numbers = (64, 0) if name in of_one_sae else (32, 64) if name == "family_effects" else ()
        paths += [getattr(folder, name)(part, *numbers) for part in ("A", "B", "A-B.w64")]
    assert len(set(paths)) == len(paths) > 30
    assert all(path.is_relative_to("run") and path != Path("run") for path in paths)
