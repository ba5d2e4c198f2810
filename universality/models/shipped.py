"""Folder of a model: shipped models and those of the hub by name, all others by path."""

from pathlib import Path

from universality.errors import ModelError
from universality.files import as_path
from universality.hub import fetch_model, repository

STARTER = Path(__file__).parent / "starter"
"""Folder of the shipped models."""


def model_folder(source: str | Path) -> Path:
    """Return the folder of ``"starter/seed0"`` …, of a path, or of ``owner/name@revision`` on the Hugging Face hub.

    Raises
    ------
    ModelError
        If the folder has no ``config.json``, or the model is neither in the local cache nor available from the hub.

    Examples
    --------
    >>> model_folder("starter/seed0").name
    'seed0'
    """
    name = str(source)
    if repo := repository(source):
        return fetch_model(repo)
    folder = STARTER / Path(name).name if name.startswith("starter/") else as_path(source)
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise ModelError(
                f"{source}: a LoRA adapter without its model; merge it (peft: merge_and_unload()) and save the whole "
                "model"
            )
        shipped = ", ".join(f"starter/{path.name}" for path in sorted(STARTER.glob("seed*")))
        raise ModelError(f"{source}: expected a model's folder with config.json, or one of {shipped}")
    return folder
