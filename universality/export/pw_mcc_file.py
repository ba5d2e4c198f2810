"""One JSON file for the agreement of two dictionaries: the score, the complete matching, and where both come from.

The score is the mean similarity of features that are matched one to one (PW-MCC; Song et al. 2025,
https://arxiv.org/abs/2505.20254). docs/interop.md describes the file, whose ``format`` is ``universality.pw-mcc`` and
``version`` 1. Equal inputs on one machine give equal bytes: it holds no time and no path but the name of the input.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from universality import __version__
from universality.arrays import BoolArray, FloatArray
from universality.errors import FormatError, MismatchError
from universality.features.storage.store import FeatureStore
from universality.files import read_json, write_bytes
from universality.matching import Match, index_agreement, match
from universality.matching.common_start import agreement_of_stores, is_one_dictionary
from universality.matching.medians import known_median
from universality.similarity import TOKEN_MEASURES, Similarity
from universality.similarity.measures.decoder import cosine_source

if TYPE_CHECKING:
    from universality.sae import SAE

FORMAT, VERSION = "universality.pw-mcc", 1
LIVING = {
    "store": "fired on the store's tokens, and the measure is defined",
    "sae": "its decoder row is not zero; firing is not known without tokens",
}


def pw_mcc_record(
    a: SAE | FeatureStore,
    b: SAE | FeatureStore,
    *,
    measure: str = "decoder",
    absolute: bool = True,
    force: bool = False,
    replicates: int = 1,
    seed: int = 0,
    ceiling: float | None = None,
) -> dict[str, Any]:
    """Match two dictionaries one to one and describe the result as a JSON object.

    Parameters
    ----------
    a, b
        Two SAEs of one model and site, or two stores; stores leave out features that never fired.
    measure
        "decoder": cosine of decoder rows. For stores also a measure over tokens, such as "activation": Pearson's r, of
        SAEs of any two models.
    absolute
        Use |cos|, as the paper does; its code uses the signed cosine. Measures over tokens are always signed.
    force
        Compare decoders although their models or sites differ or are unknown.
    replicates, seed
        Null of the decoder measure: B is rotated at random (a rotation drawn uniformly), and matched again.
    ceiling
        Score of two SAEs that differ in their seed alone, if it is known.

    Returns
    -------
    dict
        The contents of the file.

    Raises
    ------
    MismatchError
        If the two do not belong together.
    FormatError
        If a measure over tokens is asked of SAEs.

    Examples
    --------
    >>> import torch
    >>> from universality.sae import SAE
    >>> def sae(rows):
    ...     rows = torch.tensor(rows)
    ...     known = {"model_name": "toy", "hook_name": "blocks.0.hook_resid_post"}
    ...     return SAE(rows.T, torch.zeros(len(rows)), rows, torch.zeros(2), architecture="relu", metadata=known)
    >>> record = pw_mcc_record(sae([[1.0, 0.0], [0.0, 1.0]]), sae([[0.0, -1.0], [1.0, 0.0]]), replicates=0)
    >>> record["score"]["pw_mcc"], record["matching"]["cols"]
    (1.0, [1, 0])
    """
    absolute = absolute and measure == "decoder"
    sim = _similarity(a, b, measure, absolute, force)
    matched = match(sim)
    return {
        "format": FORMAT,
        "version": VERSION,
        "measure": {"name": measure, "absolute": absolute, "forced": force},
        "a": _identity(a),
        "b": _identity(b),
        "population": {
            "living": LIVING["store" if isinstance(a, FeatureStore) else "sae"],
            "living_a": int((~matched.dead_rows).sum()),
            "living_b": int((~matched.dead_cols).sum()),
            "pairs": int(matched.rows.size),
            "tokens": a.n_tokens if isinstance(a, FeatureStore) else None,
        },
        "score": {
            "pw_mcc": _mean(matched.scores),
            "median": _finite(known_median(matched.scores)),
            "same_index": _finite((matched.rows == matched.cols).mean() if matched.rows.size else math.nan),
        },
        "one_dictionary": _one_dictionary(a, b),
        "began_alike": _began_alike(a, b) if measure == "decoder" else None,
        "null": _null(a, b, matched, replicates, seed, absolute) if measure == "decoder" and replicates else None,
        "ceiling": ceiling,
        "matching": _matching(matched),
        "versions": {"universality": __version__, **{name: version(name) for name in ("numpy", "scipy")}},
    }


def write_pw_mcc(path: str | Path, record: Mapping[str, Any]) -> Path:
    """Write what `pw_mcc_record` returned, atomically, and return the path."""
    text = json.dumps(dict(record), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return write_bytes(path, text.encode() + b"\n")


def read_pw_mcc(path: str | Path) -> dict[str, Any]:
    """Read a file that `write_pw_mcc` wrote; lists of the matching become arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FormatError
        If it is of another format or version, or contradicts itself.
    """
    record = read_json(path)
    if record.get("format") != FORMAT:
        raise FormatError(f"{path}: not a {FORMAT} file")
    if record.get("version") != VERSION:
        raise FormatError(f"{path}: {FORMAT} version {record.get('version')}, but this program reads {VERSION}")
    try:
        matching = record["matching"]
        arrays = {name: np.array(matching[name], np.int64) for name in _INDICES} | {
            "scores": np.array(matching["scores"], np.float64)
        }
        widths, score = (record["a"]["width"], record["b"]["width"]), record["score"]["pw_mcc"]
        _check(path, arrays, widths, score)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: not a whole {FORMAT} file: {error}") from None
    return record | {"matching": matching | arrays}


_INDICES = ("rows", "cols", "dead_rows", "dead_cols", "unmatched_rows", "unmatched_cols")


def _check(path: str | Path, arrays: Mapping[str, Any], widths: tuple[int, int], score: float | None) -> None:
    """Check that each feature of both sides is in the matching exactly once, and that the score is its mean."""
    for side, width in zip(("rows", "cols"), widths, strict=True):
        named = np.concatenate([arrays[name] for name in (side, f"dead_{side}", f"unmatched_{side}")])
        if len(named) != width or not np.array_equal(np.sort(named), np.arange(width)):
            raise FormatError(f"{path}: the matching must name each of {width} {side} once: matched, dead or unmatched")
    if not len(arrays["rows"]) == len(arrays["cols"]) == len(arrays["scores"]):
        raise FormatError(f"{path}: rows, cols and scores of the matching differ in length")
    mean = _mean(arrays["scores"])
    if (mean is None) != (score is None) or (mean is not None and not math.isclose(mean, float(score or 0))):
        raise FormatError(f"{path}: pw_mcc is {score}, but the mean of the matched scores is {mean}")


def _similarity(a: SAE | FeatureStore, b: SAE | FeatureStore, measure: str, absolute: bool, force: bool) -> Similarity:
    if measure not in ("decoder", *TOKEN_MEASURES):
        raise FormatError(f"unknown measure {measure!r}; choose one of decoder, {', '.join(TOKEN_MEASURES)}")
    if isinstance(a, FeatureStore) != isinstance(b, FeatureStore):
        raise MismatchError("give two SAEs or two stores: their living features are not counted in the same way")
    if isinstance(a, FeatureStore) and isinstance(b, FeatureStore):
        if measure == "decoder":
            return Similarity.decoder(a, b, force=force, absolute=absolute)
        return Similarity.over_tokens(measure, a, b)
    if measure != "decoder":
        raise FormatError(f"{measure} compares activations over tokens, which an SAE does not hold; give two stores")
    if not force:
        _check_one_site(_identity(a), _identity(b))
    rows_a, rows_b = _decoder(a), _decoder(b)
    if rows_a.shape[1] != rows_b.shape[1]:
        raise MismatchError(f"decoder rows of widths {rows_a.shape[1]} and {rows_b.shape[1]}; a cosine needs one space")
    none_a, none_b = (np.zeros(len(rows), bool) for rows in (rows_a, rows_b))
    return Similarity(cosine_source(rows_a, rows_b, none_a, none_b, {}, absolute))


def _check_one_site(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    for what in ("model", "hook"):
        first, second = (_recorded(side[what]) for side in (a, b))
        if not first or not second:
            raise MismatchError(f"an SAE does not state its {what}, so whether both decoders share a basis is unknown; "
                                "pass force (--force) if they do")  # fmt: skip
        both = [key for key in ("hash", "name") if key in first and key in second]
        if not both:
            raise MismatchError(
                f"one SAE names its {what} and one records its hash ({_shown(first)}, {_shown(second)}), so whether "
                "both decoders share a basis is unknown; pass force (--force) if they do"
            )
        if first[both[0]] != second[both[0]]:
            raise MismatchError(f"the SAEs are of {what} {_shown(first)} and {_shown(second)}: their decoder "
                                "rows lie in unrelated bases; compare activations over tokens instead")  # fmt: skip


def _recorded(stated: Any) -> dict[str, str]:
    """Return the name and the hash that are recorded of a model or a hook."""
    parts = stated if isinstance(stated, dict) else {"name": stated}
    return {key: str(parts[key]) for key in ("name", "hash") if parts.get(key)}


def _shown(recorded: Mapping[str, str]) -> str:
    """Show the name (at most 60 characters), and twelve digits of the hash."""
    parts = [recorded["name"][:60]] if "name" in recorded else []
    return " ".join(parts + ([f"(hash {recorded['hash'][:12]})"] if "hash" in recorded else []))


def _decoder(side: SAE | FeatureStore) -> FloatArray:
    rows = side.decoder_rows() if isinstance(side, FeatureStore) else side.W_dec.detach().cpu().numpy()
    return rows.astype(np.float64)


def _identity(side: SAE | FeatureStore) -> dict[str, Any]:
    """Describe a dictionary: hash, model, hook, width; None for what is not recorded."""
    if isinstance(side, FeatureStore):
        recorded = side.provenance
        model, sae = recorded.get("model"), recorded.get("sae")
        return {
            "kind": "store",
            "name": side.path.name,
            "hash": sae.get("hash") if isinstance(sae, dict) else None,
            "content_hash": side.content_hash(),
            "tokens_hash": side.tokens_hash,
            "model": model if isinstance(model, dict) else None,
            "hook": recorded.get("site"),
            "width": side.n_features,
        }
    from universality.sae.formats.stated_hook import stated_hook, stated_name

    model = side.metadata.get("model")
    named = model if isinstance(model, str | dict) else side.metadata.get("model_name")
    return {
        "kind": "sae",
        "hash": side.hash,
        "architecture": side.architecture,
        "model": named,
        "hook": stated_hook(side.metadata) or stated_name(side.metadata),
        "hub": side.metadata.get("hub"),
        "width": side.d_sae,
        "d_in": side.d_in,
    }


def _null(
    a: SAE | FeatureStore, b: SAE | FeatureStore, matched: Match, replicates: int, seed: int, absolute: bool
) -> dict[str, Any]:
    """Match A with B rotated at random."""
    rows_a, rows_b = _decoder(a), _decoder(b)
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(replicates):
        rotated = rows_b @ _rotation(rows_b.shape[1], rng)
        sim = Similarity(cosine_source(rows_a, rotated, matched.dead_rows, matched.dead_cols, {}, absolute))
        scores.append(_mean(match(sim).scores))
    return {"kind": "random rotation of b", "replicates": replicates, "seed": seed, "pw_mcc": scores}


def _one_dictionary(a: SAE | FeatureStore, b: SAE | FeatureStore) -> bool:
    if isinstance(a, FeatureStore) and isinstance(b, FeatureStore):
        return is_one_dictionary(a, b)
    return bool(a.hash == b.hash) if not isinstance(a, FeatureStore) and not isinstance(b, FeatureStore) else False


def _began_alike(a: SAE | FeatureStore, b: SAE | FeatureStore) -> bool | None:
    """Return whether the order of the features shows a common start; None where it cannot."""
    if isinstance(a, FeatureStore) and isinstance(b, FeatureStore):
        agreement = agreement_of_stores(a, b)
        return None if agreement is None else agreement.began_alike
    rows_a, rows_b = _decoder(a), _decoder(b)
    if rows_a.shape != rows_b.shape or _one_dictionary(a, b):
        return None
    return index_agreement(rows_a, rows_b).began_alike


def _rotation(d: int, rng: np.random.Generator) -> FloatArray:
    """Draw an orthogonal matrix uniformly: QR of a Gaussian one, with R's diagonal made positive (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return np.asarray(q * np.sign(np.diag(r)))


def _matching(matched: Match) -> dict[str, Any]:
    def places(mask: BoolArray) -> list[int]:
        return [int(i) for i in np.flatnonzero(mask)]

    return {
        "method": matched.method,
        "gap": matched.gap,
        "rows": matched.rows.tolist(),
        "cols": matched.cols.tolist(),
        "scores": matched.scores.tolist(),
        "dead_rows": places(matched.dead_rows),
        "dead_cols": places(matched.dead_cols),
        "unmatched_rows": matched.unmatched_rows.tolist(),
        "unmatched_cols": matched.unmatched_cols.tolist(),
    }


def _mean(scores: FloatArray) -> float | None:
    return float(scores.mean()) if scores.size else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
