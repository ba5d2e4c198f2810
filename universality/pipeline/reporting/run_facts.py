"""Facts about a run that its page lists: text, tokens, hook, SAEs, nulls."""

from universality.config import Config
from universality.files import read_json
from universality.formatting import percent
from universality.pipeline.reporting.run_results import RunResults
from universality.pipeline.stages.sae_likeness import file_of
from universality.pipeline.stages.training_overlap import seen_in_training
from universality.pipeline.study import headline_width, sae_grid
from universality.report.data import LanguageModels

SPLITS = (("train", "train"), ("choose", "choose partners"), ("report", "report"))


def run_facts(results: RunResults, models: LanguageModels) -> tuple[tuple[str, str], ...]:
    """List (name, value) of what a run was made with."""
    config, tokens = results.config, results.corpus["tokens"]
    statistics = config.statistics
    documents = f"{results.corpus['documents']:,} documents, blocks of {config.corpus.n_ctx}"
    overlap = [seen_in_training(model.name, model.held_out, model.seen) for model in models.rows]
    return (
        ("Corpus", f"{config.corpus.source}: {documents}"),
        ("Tokens", ", ".join(f"{tokens[split]:,} {purpose}" for split, purpose in SPLITS)),
        *text_left_out(results),
        *([("Token units", _segments(results))] if config.models.tokenizers else []),
        *_shared_strings(results),
        ("Hash of the token blocks", results.corpus["blocks_hash"]),
        ("Trained on held-out text", "; ".join(overlap)),
        ("Hook", _hook(config)),
        ("SAEs", _saes(config)),
        ("SAE seeds", ", ".join(f"{model} {width}: {seed}" for model, width, seed in sae_grid(config))),
        ("Initial dictionaries", _initial_distance(results)),
        (
            "Nulls",
            f"{', '.join(statistics.nulls)}, {statistics.replicates} replicates each, seed {statistics.seed}",
        ),
        ("Intervals", f"{statistics.bootstrap} bootstrap resamples of works"),
    )


def text_left_out(results: RunResults) -> list[tuple[str, str]]:
    """List facts on text that was not read, and on text that occurs twice."""
    special = results.corpus.get("special_left_out", 0)
    repeated = results.corpus.get("repeated_documents", 0)
    facts = [("Left out of the text", note) for note in results.corpus.get("notes", [])]
    if special:
        facts.append(("Special tokens in the text", f"{special:,}, left out; the text after each begins a new block"))
    if repeated:
        facts.append(("Held-out documents whose exact text is in another split too", f"{repeated:,}"))
    return facts


def _hook(config: Config) -> str:
    read = _by_model(config.hook, config.hooks)
    if config.hook_out is None:
        return read
    written = _by_model(config.hook_out, config.hooks_out)
    return f"transcoders: codes read at {read}; written at {written}"


def _by_model(setting: str | dict[str, str], hooks: dict[str, str]) -> str:
    return setting if isinstance(setting, str) else "; ".join(f"{name} {hook}" for name, hook in hooks.items())


def _segments(results: RunResults) -> str:
    n_tokens = ", ".join(f"{name} {n:,}" for name, n in results.corpus.get("own_tokens", {}).items())
    return (
        "stretches of text between boundaries that all tokenizers share; tokens of each tokenizer: "
        f"{n_tokens}. A feature's activation on a stretch is the {results.config.features.pool} over its tokens"
    )


def _shared_strings(results: RunResults) -> list[tuple[str, str]]:
    """State over which token strings logit weights are compared where the headline's models have two vocabularies."""
    compared = results.headline
    if compared is None or compared.by_logit is None:
        return []
    shared = compared.by_logit.match.provenance.get("shared_strings")
    if shared is None:
        return []
    shares = ", ".join(
        f"{percent(shared['share_of_tokens'][side])} of {name}'s tokens"
        for side, name in zip("ab", compared.comparison.models, strict=True)
    )
    return [
        (
            "Logit weights",
            f"over {shared['counted']:,} token strings that both vocabularies hold and that are frequent enough in the "
            f"training text of both ({shared['in_both']:,} are in both); they cover {shares} of that text",
        )
    ]


def _saes(config: Config) -> str:
    saes = config.saes
    widths = f"widths {', '.join(map(str, saes.widths))}"
    if saes.widths_of:
        widths = "widths " + "; ".join(f"{name} {', '.join(map(str, of))}" for name, of in saes.widths_of.items())
    if saes.load:
        return f"loaded, {widths}: {'; '.join(path for paths in saes.load.values() for path in paths)}"
    return f"{saes.architecture}, {widths}, k {saes.k}, {saes.tokens:,} tokens each"


def _initial_distance(results: RunResults) -> str:
    """Describe how far apart the compared dictionaries began: equal initial weights alone can make features agree."""
    if results.config.saes.load:
        return _initial_distance_of_loaded(results)
    path = results.folder.root / "saes" / "beginnings.json"
    if not results.has("the distances between the SAEs' initial weights", path):
        return "not known"
    of_width = f"/w{headline_width(results.config)}-"
    pairs = [pair for pair in read_json(path)["pairs"] if of_width in pair["a"]]
    distances = [f"{pair['a']} and {pair['b']} {pair['distance']:.2f}" for pair in pairs]
    return f"distance {'; '.join(distances)} (0: equal)" if distances else "no two of equal width"


def _initial_distance_of_loaded(results: RunResults) -> str:
    """Name loaded SAEs of the headline's width whose features agree index by index.

    Only SAEs that began from the same weights do: training moves features, but does not reorder them.
    """
    path = file_of(results.folder)
    if not results.has("the comparison of the loaded SAEs", path):
        return "not known"
    of_width = f"/w{headline_width(results.config)}-"
    pairs = [pair for pair in read_json(path)["pairs"] if of_width in pair["a"]]
    alike = [f"{pair['a']} and {pair['b']}" for pair in pairs if pair["began_alike"]]
    if alike:
        return f"equal, as the order of their features shows: {'; '.join(alike)}"
    return "no two loaded SAEs of this width agree index by index, as SAEs with equal initial weights do"
