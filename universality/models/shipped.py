"""Where a model lies: the shipped set by name, anything else by path."""

from pathlib import Path

from universality.errors import ModelError

STARTER = Path(__file__).parent / "starter"


def model_folder(source: str | Path) -> Path:
    """The folder of ``"starter/seed0"`` … or of a path.

    Raises
    ------
    ModelError
        If there is no ``config.json`` in it.
    """
    name = str(source)
    folder = STARTER / Path(name).name if name.startswith("starter/") else Path(source)
    if not (folder / "config.json").is_file():
        shipped = ", ".join(f"starter/{path.name}" for path in sorted(STARTER.glob("seed*")))
        raise ModelError(f"{source}: expected a model's folder with config.json, or one of {shipped}")
    return folder
