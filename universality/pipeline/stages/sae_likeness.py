"""Comparison of loaded SAEs: do they differ in their seed only, and did they begin alike?

SAEs that are trained in a run differ in nothing but model and seed. Files may hold anything: two SAEs of one model and
width may differ in k or in their training, and give no ceiling then.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.config import Config
from universality.files import read_json, write_json
from universality.formatting import fixed, listed, plural
from universality.matching.common_start import describe
from universality.pipeline.paths import RunFolder
from universality.pipeline.study import Comparison, sae_grid

if TYPE_CHECKING:
    from universality.sae.recorded_differences import Difference

_AGREEMENT = (
    "same_index", "other_index", "n", "at_same_index", "median_same", "median_nearest", "median_other", "began_alike"
)  # fmt: skip
LIKENESS_VERSION = "likeness 3"
"""Version of what ``likeness.json`` holds: raise it when other values are written for the same SAEs."""
MOST_L0, MOST_EXPLAINED = 1.25, 0.05
"""Largest ratio of L0 and difference of explained variance between two seeds of one training."""
_NAMED = 2  # differences that a label names; the others are counted


@dataclass(frozen=True)
class Likeness:
    """Recorded and measured differences of two SAEs of equal width, besides their seed.

    Parameters
    ----------
    names
        Names of the settings that differ, most important first.
    differences
        The settings that differ with both values, as in ``k (16 and 32)``.
    recorded
        Whether both files record training settings that could have differed.
    same_index, other_index
        Mean cosine of decoder rows of equal index, and of all pairs of rows.
    n, at_same_index
        Features compared, and those of them whose nearest decoder row stands at the same index; None in older runs.
    median_same, median_nearest, median_other
        Median cosine of decoder rows of equal index, with the nearest row, and of another index.
    began_alike
        Whether the order of their features agrees as it does only for SAEs that began from the same weights.
    """

    names: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    recorded: bool = True
    same_index: float = 0.0
    other_index: float = 0.0
    n: int | None = None
    at_same_index: int = 0
    median_same: float = 0.0
    median_nearest: float = 0.0
    median_other: float = 0.0
    began_alike: bool = False

    @property
    def is_ceiling(self) -> bool:
        """Tell whether two such SAEs of one model differ in their seed only, as far as is known."""
        return not self.differences and not self.began_alike

    @property
    def what(self) -> str:
        """Clause that follows "two SAEs that": their differences besides the seed, or that they began alike."""
        parts = [f"differ in {listed(list(self.differences))}"] if self.differences else []
        parts += [f"began from the same weights ({self.beginning})"] if self.began_alike else []
        return listed(parts) if parts else "differ in their seed"

    @property
    def beginning(self) -> str:
        """Evidence that both began from the same weights."""
        means = (
            f"decoder rows of equal index have a mean cosine of {fixed(self.same_index)}, rows of any index "
            f"{fixed(self.other_index)}"
        )
        if self.n is None:
            return means
        medians = self.median_same, self.median_nearest, self.median_other
        return f"{means}; {describe(self.at_same_index, self.n, *medians)}"

    def label(self, model: str) -> str:
        """Name two SAEs of one model: ``two SAE seeds of A`` only where nothing else differs."""
        if self.is_ceiling:
            return f"two SAE seeds of {model}"
        more = len(self.names) - _NAMED
        named = [*self.names[:_NAMED], *([plural(more, "more setting")] if more > 0 else [])]
        return f"two SAEs of {model} that " + (f"differ in {listed(named)}" if named else "began from the same weights")


def likeness(config: Config, folder: RunFolder, comparison: Comparison) -> Likeness:
    """Read how the two SAEs of a comparison differ; SAEs trained in the run differ in seed only."""
    path = file_of(folder)
    if comparison.width is None or not config.saes.load or not path.exists():
        return Likeness()
    if comparison.width_b is not None:
        return Likeness()  # SAEs of two widths have no index in common; their widths are stated wherever they are named
    sides = zip(comparison.models, comparison.seeds, strict=True)
    wanted = [_name(model, comparison.width, seed) for model, seed in sides]
    for pair in read_json(path)["pairs"]:
        if [pair.pop("a"), pair.pop("b")] == wanted:
            values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in pair.items()}
            return Likeness(**values)
    return Likeness(recorded=False)


def file_of(folder: RunFolder) -> Path:
    """Return the path of the comparison of a study's loaded SAEs."""
    return folder.root / "saes" / "likeness.json"


def write_likeness(config: Config, folder: RunFolder) -> Path:
    """Compare every two loaded SAEs of one width, of one model or of two; return the file."""
    write_json(file_of(folder), {"pairs": list(_pairs(config, folder))})
    return file_of(folder)


def _pairs(config: Config, folder: RunFolder) -> Iterator[dict[str, Any]]:
    from universality.matching import index_agreement
    from universality.sae import SAE
    from universality.sae.recorded_differences import differences, training_recorded

    order = config.models.names
    grid = sorted(sae_grid(config), key=lambda item: (item[1], order.index(item[0]), item[2]))
    for one, other in combinations(grid, 2):
        if one[1] != other[1]:
            continue
        a, b = (SAE.load(folder.sae(*item)) for item in (one, other))
        one_model = one[0] == other[0]
        differing = differences(a, b, one_model=one_model)
        differing += _measured(*(folder.sae(*item) for item in (one, other))) if one_model else []
        if a.d_out == b.d_out:
            agreement = index_agreement(a.W_dec.cpu().numpy(), b.W_dec.cpu().numpy())
            began = {name: getattr(agreement, name) for name in _AGREEMENT}
        else:
            began = {}
        names = tuple(difference.name for difference in differing)
        pair = Likeness(names, tuple(map(str, differing)), training_recorded(a, b), **began)
        yield {"a": _name(*one), "b": _name(*other), **asdict(pair)}


def _measured(*saes: Path) -> list["Difference"]:
    """Compare two SAEs of one model on held-out tokens, since files may not record how they were trained."""
    from universality.sae.recorded_differences import Difference

    x, y = (read_json(sae / "quality.json") for sae in saes)
    least, most = sorted((x["l0"], y["l0"]))
    differing = [Difference("L0", fixed(x["l0"], 1), fixed(y["l0"], 1))] if most > MOST_L0 * max(least, 1e-9) else []
    name = "explained_variance"
    if abs(x[name] - y[name]) > MOST_EXPLAINED:
        differing.append(Difference("explained variance", fixed(x[name]), fixed(y[name])))
    return differing


def _name(model: str, width: int, seed: int) -> str:
    return f"{model}/w{width}-s{seed}"
