"""A run made by hand: models of planted features in two widths, tokens of every unkind sort, no training."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy import sparse

from universality.config import Config, load_config
from universality.corpus.documents import DocumentTable
from universality.features import FeatureStore
from universality.features.storage.token_table import Dictionary
from universality.models.unembedding import Unembedding
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import report_rows
from universality.pipeline.reporting.explorer_data import write_explorer
from universality.pipeline.reporting.run_results import open_results
from universality.pipeline.stages.build_families import make_families
from universality.pipeline.stages.match_features import make_match
from universality.pipeline.study import comparisons
from universality.report import FamilyTable, Report, write_report

WIDTHS, N_ATOMS, D_MODEL, BLOCK, N_BLOCKS = (16, 24), 24, 12, 32, 240
KINDS = ("hebrew", "python", "<b>bold</b>")
NASTY = (
    "<script>alert(1)</script>",
    '"onmouseover="alert(1)',
    "'><img src=x onerror=alert(1)>",
    "\x00\x07",
    "\u202eevil",
    "\u2066",
    "\udce2",
    "\ud83d",
    " the",
    "\n\n",
    "",
    "$x_1^2$",
    "שלום",
    "العربية",
    "中文",
    "{{ 7 * 7 }}",
    "&amp;",
    "</style></p>-->",
)


def plant(folder: Path, d_vocab: int, models: str = "AB") -> tuple[Config, RunFolder]:
    """Write stores, matches and families of models that share two thirds of their features.

    Parameters
    ----------
    folder
        Of the run; made.
    d_vocab
        Token ids are below it.
    models
        A letter each.
    """
    values: dict[str, Any] = {
        "name": "Planted <script>alert(1)</script>",
        "models": {"load": {name: name.lower() for name in models}},
        "saes": {"widths": list(WIDTHS), "ceiling_seed": None, "k": 4},
        "features": {"neuron_documents": 0.0},
        "statistics": {"replicates": 2, "bootstrap": 20},
        "families": {"replicates": 0},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    config, run = load_config(folder / "config.yaml"), RunFolder(folder)
    (folder / "features").mkdir()
    draw = np.random.default_rng(0)
    token = draw.integers(0, d_vocab, BLOCK * N_BLOCKS)
    atoms = np.where(draw.random((len(token), N_ATOMS)) < 0.06, draw.gamma(3, 0.4, (len(token), N_ATOMS)), 0)
    for model in models:
        directions = draw.standard_normal((N_ATOMS, D_MODEL))
        unembedding = Unembedding(
            draw.standard_normal((D_MODEL, d_vocab)).astype(np.float32),
            np.ones(D_MODEL, np.float32), np.ones(d_vocab, np.bool_), True,
        )  # fmt: skip
        mine = atoms.copy()
        mine[:, 16:] = np.where(draw.random((len(token), 8)) < 0.05, draw.gamma(3, 0.4, (len(token), 8)), 0)
        for width in WIDTHS:
            x, decoder = _merged(mine, directions, width)
            _store(run.store(model, width, 0), model, x, decoder, token, unembedding)
    for comparison in comparisons(config, run):
        make_match(config, run, comparison)
    for model in models:
        make_families(config, run, model)
    return config, run


def _merged(atoms: NDArray[Any], directions: NDArray[Any], width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The narrow dictionary's first features stand for two atoms each, and its last one is dead."""
    member = np.eye(N_ATOMS)[: width - 1]
    extra = np.arange(width - 1, N_ATOMS)
    member[np.arange(len(extra)) % (width - 1), extra] = width < N_ATOMS
    member = np.vstack([member, np.zeros(N_ATOMS)])
    return (atoms @ member.T).astype(np.float32), (member @ directions + 0.01).astype(np.float32)


def _store(
    path: Path, model: str, x: NDArray[Any], decoder: NDArray[Any], token: NDArray[Any], unembedding: Unembedding
) -> None:
    place = np.arange(len(x))
    names = [f"d{i}" for i in range(N_BLOCKS)]
    kind = [KINDS[i % 3] for i in range(N_BLOCKS)]
    documents = DocumentTable(
        tuple(names), tuple(kind), tuple(names), tuple("choose" if i // 3 % 2 else "report" for i in range(N_BLOCKS))
    )
    provenance = {"model": {"name": model, "hash": model * 8}, "site": "blocks.0.mlp.hook_post"}
    writer = FeatureStore.create(path, x.shape[1], provenance, documents)
    writer.append(
        sparse.csr_matrix(x), token=token, document=place // BLOCK, position=place % BLOCK + 1,
        kind=np.asarray(kind)[place // BLOCK],
    )  # fmt: skip
    writer.finish(dictionary=Dictionary(decoder=decoder, residual=decoder), unembedding=unembedding).close()


def write_explored_page(config: Config, folder: RunFolder) -> Path:
    """Write a page with the explorer, whose tokens are unkind; return its path."""
    strings = [NASTY[i] if i < len(NASTY) else "x" * 10_000 if i == 40 else f" word{i}" for i in range(60)]
    with open_results(config, folder) as results:
        results.decode = lambda ids: [strings[i] for i in ids]
        assert results.headline is not None
        families = report_rows.saved_families(results)
        write_explorer(results, results.headline, folder.report.parent, families)
        populations = report_rows.samples(results, results.headline)
        headline = report_rows.headline(results, results.headline, populations)
        tables = tuple(FamilyTable(name, ()) for name in families)
        return write_report(Report(config.name, headline, families=tables, explorer=True), folder.report)
