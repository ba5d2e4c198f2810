"""Command line: one subcommand per stage, and ``run`` for all of them."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from universality import __version__
from universality.errors import ConfigError, UniversalityError
from universality.extras import check_installed, naming_extra
from universality.files import as_path
from universality.obstacles import obstacle

if TYPE_CHECKING:
    from universality.config import Config
    from universality.pipeline.label_run import LabelPlan
    from universality.pipeline.scoring_plan import ScoringPlan

_PATIENCE = 10  # seconds that other processes of a machine wait for the first one's message

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Do two networks trained apart learn the same features?

Start with `universality run quickstart`: it takes two shipped language models that
differ only in their seed, trains SAEs of three widths on both, matches their features, links families across widths,
and writes a report. A stage is skipped if nothing that it depends on has changed; an interrupted stage resumes.

Exit codes: 0 success; 1 an unexpected failure (a bug: please report the traceback); 2 bad input, explained in one
message; 130 interrupted (run the same command again to resume).""",
)

ConfigArgument = Annotated[Path, typer.Argument(help="YAML file of a study, or the name of a shipped one: quickstart.")]
OutOption = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it so
    typer.Option("--out", "-o", help="The run's folder. Default: runs/ and the name of the configuration file."),
]
HookOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--hook", help="Such as blocks.2.hook_resid_post. Default: the residual stream at half depth."),
]
WidthOption = Annotated[
    Optional[list[int]],  # noqa: UP045
    typer.Option("--width", help="Dictionary size; repeat for families. Default: about eight an activation."),
]
TokensOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--tokens", help="Tokens on which each SAE is trained."),
]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set saes.k=16 --set 'saes.widths=[64,128]'."),
]
ModelNameOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--model", help="Name of the model that answers, as the server at --url lists it."),
]
UrlOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--url", help="Address of an OpenAI-compatible server up to /v1. Default: OpenAI's."),
]
KeyOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--key-from", help="Environment variable with the key. Default: OPENAI_API_KEY."),
]
LocalOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--local", help="Folder or hub name of a model to run in this process instead."),
]
PriceInOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--price-in", help="Price of a million tokens that the model reads."),
]
PriceOutOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--price-out", help="Price of a million tokens that the model writes."),
]
TemperatureOption = Annotated[
    str, typer.Option("--temperature", help="0 for the most probable answer; none for models that refuse the setting.")
]
RequestOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--option", metavar="KEY=VALUE", help="Field of every request to a server, such as top_p=0.9."),
]
AtOnceOption = Annotated[int, typer.Option("--at-once", help="Requests that are under way at a time.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds until a request is given up.")]
HttpOption = Annotated[bool, typer.Option("--allow-http", help="Send text unencrypted to servers on other machines.")]
LabelledWidthOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--width", help="Width of the SAEs. Default: the headline's."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is sent.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"universality {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options of the program itself."""


def _stage(config: Path, out: Path | None, overrides: list[str] | None, until: str) -> None:
    from universality.pipeline import run

    with _interruptible():
        run(_load(config, overrides), out or Path("runs") / config.stem, until=until)


def _load(config: Path, overrides: list[str] | None) -> "Config":
    from universality.config import load_config

    try:
        return load_config(config, overrides or ())
    except ConfigError:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            # The first process of this machine refuses the same file and prints why; torchrun then ends this one.
            # Without the wait every process would print the same message.
            time.sleep(_PATIENCE)
            raise typer.Exit(2) from None
        raise


def _print_once(line: object) -> None:
    """Print a line, in the first of several processes (torchrun) only."""
    from universality.pipeline.runner import is_first_process

    if is_first_process():
        typer.echo(line)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Print how to resume after Ctrl-C; typer would exit silently."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("universality: interrupted; run the same command again to resume", err=True)
        raise typer.Exit(130) from None


@app.command()
def run(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Run all stages: corpus, models, SAEs, features, matches, families, effects, export, report.

    The folder holds the resolved configuration, provenance and one subfolder per stage. Stages that are complete and
    up to date are skipped.
    """
    _stage(config, out, overrides, "report")


@app.command()
def compare(
    models: Annotated[
        list[str], typer.Argument(help="Two models or more: folders, names on the hub, starter/seed0 (shipped).")
    ],
    text: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--text", help="Text files, folders or a data set; may be repeated. Default: the shipped text."),
    ] = None,
    hook: HookOption = None,
    width: WidthOption = None,
    tokens: TokensOption = None,
    sae: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--sae", help="SAEs to load instead of training: once for each model, in the models' order."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="The run's folder. Default: runs/, the models' names and a hash."),
    ] = None,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the configuration and its cost; run nothing.")
    ] = False,
) -> None:
    """Compare the features of models, with settings that suit them; prints the configuration that `run` would take.

    The same command resumes an interrupted comparison.
    """
    from universality.config import set_key
    from universality.pipeline.compare_models import prepare
    from universality.pipeline.given_inputs import named_models
    from universality.pipeline.runner import run

    settings: dict[str, object] = {}
    for override in overrides or ():
        set_key(settings, override)
    names = list(named_models(models))
    if sae and len(sae) != len(names):
        raise ConfigError(f"--sae: expected one for each of {', '.join(names)}, found {len(sae)}")
    with _interruptible():
        prepared = prepare(
            models,
            (text[0] if len(text) == 1 else [Path(part) for part in text]) if text else "starter",
            hook=hook,
            width=width,
            tokens=tokens,
            saes=dict(zip(names, sae, strict=True)) if sae else None,
            out=out,
            settings=settings,
        )
        prepared.announce()
        if not dry_run:
            run(prepared.config, prepared.folder)


@app.command()
def init(
    models: Annotated[
        list[str], typer.Argument(help="Two models: folders, names on the hub, or starter/seed0 (shipped).")
    ],
    text: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--text", help="Text files or folders; may be repeated. Default: the shipped text."),
    ] = None,
    hook: HookOption = None,
    width: WidthOption = None,
    tokens: TokensOption = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="The new YAML file. Default: it is printed."),
    ] = None,
) -> None:
    """Write a commented configuration for two models: their hooks, a width, tokens and hours.

    Reads configurations and tokenizers of the models, not their weights. Edit the file, then `universality run` it.
    """
    from universality.pipeline.given_inputs import named_models
    from universality.pipeline.starting_config import starting_config, write_starting_config

    with _interruptible():
        source = (text[0] if len(text) == 1 else text) if text else None
        content = starting_config(
            {name: str(model) for name, model in named_models(models).items()},
            text=source, hook=hook, width=width, tokens=tokens,
        )  # fmt: skip
        if out is None:
            typer.echo(content, nl=False)
        else:
            typer.echo(write_starting_config(out, content))


@app.command()
def plan(
    config: ConfigArgument,
    overrides: SetOption = None,
    gpu: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--gpu", help="Also estimate hours on a GPU: h100, a100, rtx4090, l4 (data sheet, assumed share)."
        ),
    ] = None,
) -> None:
    """Estimate the cost of a run: tokens, FLOP, memory, disk and hours per stage, in seconds, without downloads."""
    check_installed("plan", ["torch"])
    from universality.pipeline.cost.machine import describe_plan

    with _interruptible():
        for line in describe_plan(_load(config, overrides), gpu):
            typer.echo(line)


@app.command("train-models")
def train_models(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Cut the text into token blocks, then train (or load and check) the language models."""
    _stage(config, out, overrides, "train-models")


@app.command()
def cache(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Write all activations to the folder activations.cache, for later runs and machines without the models."""
    from universality.pipeline.runner import make_cache

    with _interruptible():
        _print_once(make_cache(_load(config, overrides), out or Path("runs") / config.stem))


@app.command("train-saes")
def train_saes(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Train the grid of SAEs (models × widths × seeds) on one token stream; runs earlier stages if needed."""
    _stage(config, out, overrides, "train-saes")


@app.command()
def collect(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Store which features fire on which held-out tokens (HDF5); runs earlier stages if needed."""
    _stage(config, out, overrides, "collect")


@app.command()
def match(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Match features across models, with held-out scores and null distributions; runs earlier stages if needed."""
    _stage(config, out, overrides, "match")


@app.command()
def controls(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Compare the study with floors (shuffled models, untrained SAEs, …) and ceilings; runs earlier stages if needed.

    Writes controls/controls.csv and a figure, which the next report shows too. Four more SAEs are trained on each of
    the first two models.
    """
    from universality.pipeline.runner import run_controls

    with _interruptible():
        table = run_controls(_load(config, overrides), out or Path("runs") / config.stem)
    _print_once(table.read_text(encoding="utf-8"))


@app.command()
def crosscoder(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Train one dictionary for the first two models together, and compare it with the matching.

    Runs earlier stages if needed. Writes crosscoder/: the crosscoder, its features, a comparison of relative decoder
    norms (shared or exclusive) with the SAEs' partners, by feature and by class, and a figure, which the next report
    shows too.
    """
    from universality.pipeline.runner import run_crosscoder

    with _interruptible():
        for line in run_crosscoder(_load(config, overrides), out or Path("runs") / config.stem):
            _print_once(line)


@app.command()
def families(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Link each model's features across dictionary sizes; runs earlier stages if needed."""
    _stage(config, out, overrides, "families")


@app.command()
def effects(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Measure what matched features do to the models' predictions; runs earlier stages if needed.

    Writes effects/: first-order and exact effects, fingerprints, the loss that shared features carry, and whether
    partners agree.
    """
    _stage(config, out, overrides, "effects")


@app.command("map")
def draw_map(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Draw maps of the features, of each model and of every two; runs earlier stages if needed."""
    _stage(config, out, overrides, "map")


@app.command()
def export(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Write matches and families as tables and graphs for other tools; runs earlier stages if needed."""
    _stage(config, out, overrides, "export")


@app.command("pw-mcc")
def pw_mcc(
    a: Annotated[str, typer.Argument(help="An SAE (folder, file or name, of any tool), or a feature store (.h5).")],
    b: Annotated[str, typer.Argument(help="Another one of the same kind.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSON file to write.")] = Path("pw-mcc.json"),
    measure: Annotated[
        str, typer.Option("--measure", help="decoder; for stores also a measure over tokens, such as activation.")
    ] = "decoder",
    signed: Annotated[bool, typer.Option("--signed", help="Use cosines with their sign, not their size.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Compare decoders of unknown or different models.")] = False,
    replicates: Annotated[
        int, typer.Option("--replicates", min=0, help="Matchings with a random rotation of B, for the null.")
    ] = 1,
) -> None:
    """Score the agreement of two dictionaries (PW-MCC): the mean similarity of features matched one to one.

    Writes the score, its null, the complete matching and the identity of both dictionaries as one JSON file.
    """
    from contextlib import ExitStack

    from universality.export.pw_mcc_file import pw_mcc_record, write_pw_mcc
    from universality.features import FeatureStore

    with _interruptible(), ExitStack() as stack:
        sides: list[Any] = []
        for name in (a, b):
            if name.endswith(".h5"):
                sides.append(stack.enter_context(FeatureStore.open(name)))
            else:
                from universality.sae import SAE

                sides.append(SAE.load(name))
        record = pw_mcc_record(*sides, measure=measure, absolute=not signed, force=force, replicates=replicates)
        path = write_pw_mcc(out, record)
    score, null = record["score"]["pw_mcc"], record["null"]
    shown = "none: no pair" if score is None else f"{score:.4f} over {record['population']['pairs']:,} pairs"
    chance = "" if null is None else f"; random rotation {', '.join(f'{value:.4f}' for value in null['pw_mcc'])}"
    typer.echo(f"PW-MCC {shown}{chance}; {path}")
    if record["one_dictionary"]:
        typer.echo("Both are one dictionary, which agrees with itself.", err=True)
    if record["began_alike"]:
        typer.echo("Both began from the same weights, which by itself keeps features alike.", err=True)


@app.command()
def report(config: ConfigArgument, out: OutOption = None, overrides: SetOption = None) -> None:
    """Draw the figures and write the HTML report; runs earlier stages if needed.

    Given the folder of an incomplete run instead of a configuration, the command runs no stage: the report shows the
    results so far and names those that are missing.
    """
    if as_path(config).is_dir():
        from universality.pipeline.reporting.report_pages import report_as_it_is

        typer.echo(report_as_it_is(config))
        return
    _stage(config, out, overrides, "report")


@app.command()
def figures(
    run: Annotated[Path, typer.Argument(help="A run's folder, complete or not.")],
    formats: Annotated[str, typer.Option("--format", help="Some of pdf,svg,png.")] = "pdf,svg,png",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="Folder for the figures. Default: figures/print in the run."),
    ] = None,
) -> None:
    """Draw a run's figures for a paper, each from its table in figures/tables (text remains editable)."""
    from universality.pipeline.reporting.figure_data import draw_figures

    files = draw_figures(run, formats.split(","), out)
    typer.echo(f"{len(files)} files in {files[0].parent}")


@app.command()
def steer(
    run: Annotated[Path, typer.Argument(help="A run's folder, with matched features.")],
    feature: Annotated[str, typer.Option("--feature", help="Model and number, such as A:1380.")],
    prompt: Annotated[str, typer.Option("--prompt", help="Text to continue. Default: the text begins.")] = "",
    times: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--times", help="Set the feature to this multiple of its maximum. Default: 4."),
    ] = None,
    value: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--value", help="Set it to this activation instead, and its partner to the same multiple."),
    ] = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Set it and its partner to 0 instead.")] = False,
    width: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--width", help="Width of the SAE. Default: the model's largest."),
    ] = None,
    sae_seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--sae-seed", help="Seed of the SAE. Default: the run's first."),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", help="Tokens to write.")] = 40,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of sampling; 0 takes the most probable token.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the sampling noise.")] = 0,
) -> None:
    """Print what both models write, plain and with a feature or its partner set to another value.

    The feature is set at every token of the text. Both texts of a model share their sampling noise.
    """
    check_installed("steer", ["torch", "transformer_lens"])
    from universality.pipeline.finished_study import Study

    with _interruptible(), Study.open(run) as study:
        steering = study.steer(
            feature, prompt, times=times, value=value, ablate=ablate, width=width, sae_seed=sae_seed,
            n_tokens=tokens, temperature=temperature, seed=seed,
        )  # fmt: skip
        typer.echo(str(steering))


@app.command()
def serve(
    run: Annotated[Path, typer.Argument(help="A run's folder, with its report; it is only read.")],
    host: Annotated[
        str, typer.Option("--host", help="Interface: an address of this machine, or 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any free one.")] = 8765,
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token on the loopback too; other interfaces always do.")
    ] = False,
    allow_host: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--allow-host", help="Name of this machine under which the page may be opened."),
    ] = None,
) -> None:
    """Serve the report of a run as a live page: type a text, see which features fire, steer, search all features.

    Only this machine can open it unless --host names another interface, and then with the token in the link alone.
    Stop it with Ctrl-C.
    """
    check_installed("serve", ["starlette", "uvicorn", "torch", "transformer_lens"])
    from universality.serve import serve as serve_run

    serve_run(
        run, host=host, port=port, token=token, names=allow_host or (),
        ready=lambda address: typer.echo(f"{run} at {address} (Ctrl-C stops it)"),
    )  # fmt: skip


@app.command()
def label(
    run: Annotated[Path, typer.Argument(help="A run's folder, with matched features.")],
    features: Annotated[
        str,
        typer.Option("--features", help="matched; best 200 or random 200 (pairs); or A:1380,B:7, with their partners."),
    ] = "matched",
    model: ModelNameOption = None,
    url: UrlOption = None,
    key_from: KeyOption = None,
    local: LocalOption = None,
    price_in: PriceInOption = None,
    price_out: PriceOutOption = None,
    scorer_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scorer-model", help="Another model that scores. Default: the explainer."),
    ] = None,
    scorer_url: Annotated[Optional[str], typer.Option("--scorer-url", help="As --url.")] = None,  # noqa: UP045
    scorer_key_from: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scorer-key-from", help="As --key-from."),
    ] = None,
    scorer_local: Annotated[Optional[str], typer.Option("--scorer-local", help="As --local.")] = None,  # noqa: UP045
    scorer_price_in: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--scorer-price-in", help="As --price-in."),
    ] = None,
    scorer_price_out: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--scorer-price-out", help="As --price-out."),
    ] = None,
    temperature: TemperatureOption = "0",
    option: RequestOption = None,
    at_once: AtOnceOption = 16,
    timeout: TimeoutOption = 120.0,
    allow_http: HttpOption = False,
    scores: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scores", help="Some of simulation,detection,fuzzing. Default: all."),
    ] = None,
    settings: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--settings", help="YAML file of settings: numbers of examples, floors, seed (docs/labels.md)."),
    ] = None,
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="KEY=VALUE", help="One of these settings: --set explain_top=5 --set seed=1."),
    ] = None,
    width: LabelledWidthOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Begin again where labels were made with other features or settings.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Have a language model explain matched features of both models, and score the explanations beside floors.

    Prints what it will cost and asks before it goes on. Without a terminal, --yes is needed if text leaves this machine
    or a price is given. Writes labels/ in the run's folder; the same command resumes an interrupted one, and no prompt
    is paid for twice. The next export and report show the labels.
    """
    from universality.pipeline.explainers import ModelOptions, read_label_settings
    from universality.pipeline.finished_study import Study

    shared: dict[str, Any] = {
        "temperature": temperature, "options": tuple(option or ()), "at_once": at_once, "timeout": timeout,
        "allow_http": allow_http,
    }  # fmt: skip
    explaining = ModelOptions(model, url, key_from, local, price_in, price_out, **shared)
    scoring = ModelOptions(
        scorer_model, scorer_url, scorer_key_from, scorer_local, scorer_price_in, scorer_price_out, **shared
    )
    chosen = [] if scores is None else [f"scores=[{scores}]"]
    label_settings = read_label_settings(settings, [*(overrides or ()), *chosen])
    with _interruptible(), Study.open(run) as study:
        explainer = explaining.open("explainer")
        scorer = scoring.open("scorer") if scoring.given else None
        made = study.label(
            features, explainer=explainer.model, prices=explainer.prices,
            scorer=None if scorer is None else scorer.model, scorer_prices=None if scorer is None else scorer.prices,
            settings=label_settings, width=width, replace=replace, confirm=lambda plan: _agreed(plan, yes),
        )  # fmt: skip
        typer.echo(str(made))
        typer.echo(f"`universality report {run / 'config.yaml'} --out {run}` shows them in the report and the tables")


@app.command("label-transfer")
def label_transfer(
    run: Annotated[Path, typer.Argument(help="A run's folder, with labels of its features.")],
    model: ModelNameOption = None,
    url: UrlOption = None,
    key_from: KeyOption = None,
    local: LocalOption = None,
    price_in: PriceInOption = None,
    price_out: PriceOutOption = None,
    temperature: TemperatureOption = "0",
    option: RequestOption = None,
    at_once: AtOnceOption = 16,
    timeout: TimeoutOption = 120.0,
    allow_http: HttpOption = False,
    non_partners: Annotated[
        int, typer.Option("--non-partners", min=0, help="Other features of B on which each explanation is tried.")
    ] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random features and resamples.")] = 0,
    yes: YesOption = False,
) -> None:
    """Measure whether the explanations of a labelled run carry over to the other model's features.

    Scores each explanation of the first model on the feature's partner, beside second SAE seeds and other features at
    equal r, and judges whether explanations hold where their features fire. Prints what it will cost and asks before
    it goes on. Writes labels/*.transfer.npz and labels/*.specificity.npz; an interrupted command resumes.
    """
    from universality.labels import TransferSettings
    from universality.pipeline.explainers import ModelOptions
    from universality.pipeline.finished_study import Study

    options = ModelOptions(
        model, url, key_from, local, price_in, price_out, temperature, tuple(option or ()), at_once, timeout, allow_http
    )
    settings = TransferSettings(non_partners=non_partners, seed=seed)
    with _interruptible(), Study.open(run) as study:
        scorer = options.open("scorer")
        measured = study.transfer(
            scorer=scorer.model, prices=scorer.prices, settings=settings, confirm=lambda plan: _agreed(plan, yes)
        )
        typer.echo(str(measured))


@app.command()
def literature(
    run: Annotated[Path, typer.Argument(help="A run's folder, with labels of its features.")],
    reported: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(
            help="Published explanations: a list of concepts (.csv, .jsonl), labels of this package (.jsonl), an export"
            " of Neuronpedia, or a folder of delphi's results. Default: the concepts that Bricken et al. name."
        ),
    ] = None,
    model: ModelNameOption = None,
    url: UrlOption = None,
    key_from: KeyOption = None,
    local: LocalOption = None,
    price_in: PriceInOption = None,
    price_out: PriceOutOption = None,
    temperature: TemperatureOption = "0",
    option: RequestOption = None,
    at_once: AtOnceOption = 16,
    timeout: TimeoutOption = 120.0,
    allow_http: HttpOption = False,
    most: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--most", min=1, help="Search for so many of the published concepts, drawn at random."),
    ] = None,
    shortlist: Annotated[int, typer.Option("--shortlist", min=1, help="Features that are scored for a concept.")] = 5,
    replicates: Annotated[int, typer.Option("--replicates", min=1, help="Draws of the null for a concept.")] = 20,
    embed_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--embed-model", help="Model of embeddings that chooses the shortlist. Default: shared words."),
    ] = None,
    embed_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--embed-url", help="Address of its server. Default: that of --url."),
    ] = None,
    width: LabelledWidthOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the null's features.")] = 0,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="JSON file to write. Default: in labels/ of the run's folder."),
    ] = None,
    yes: YesOption = False,
) -> None:
    """Search for published concepts among the labelled features of a run: reported in the literature, found here?

    Features whose labels resemble a concept are scored by its published description, beside as many random features.
    Prints what it will cost and asks before it goes on. Writes the table as JSON and CSV; an interrupted command
    resumes, and no prompt is paid for twice.
    """
    from universality.labels import CONCEPTS, LiteratureSettings, read_reported
    from universality.pipeline.explainers import ModelOptions
    from universality.pipeline.finished_study import Study

    options = ModelOptions(
        model, url, key_from, local, price_in, price_out, temperature, tuple(option or ()), at_once, timeout, allow_http
    )
    concepts = CONCEPTS if reported is None else read_reported(reported)
    settings = LiteratureSettings(shortlist=shortlist, replicates=replicates, seed=seed)
    with _interruptible(), Study.open(run) as study:
        scorer = options.open("scorer")
        found = study.literature(
            concepts, scorer=scorer.model, prices=scorer.prices, settings=settings, most=most, width=width, out=out,
            embed=options.embedding(embed_model, embed_url), confirm=lambda plan: _agreed(plan, yes),
        )  # fmt: skip
        typer.echo(str(found))


def _agreed(plan: "LabelPlan | ScoringPlan", yes: bool) -> bool:
    """Print a plan, and return whether to go on: `yes`, the answer on a terminal, or else if nothing is at stake."""
    typer.echo(str(plan))
    if yes or not sum(plan.unfinished):
        return True
    if sys.stdin.isatty():
        return typer.confirm("Go on?")
    if plan.needs_consent:
        raise UniversalityError(
            "text would leave this machine, or money be spent, and there is no terminal to ask on: give --yes to agree"
        )
    return True


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A run's folder, a store, model, SAE, match, families or labels.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read everything and check it against its hashes.")] = False,
) -> None:
    """Describe any artifact of this package; with --verify, check that it is complete and unchanged."""
    from universality.pipeline.info import describe

    for line in describe(path, verify=verify):
        typer.echo(line)


@app.command()
def doctor() -> None:
    """Print versions, devices, memory, disk, whether the hub answers, and what is missing for which feature.

    Exits with 1 if something that a plain study needs is broken; its line begins with an exclamation mark.
    """
    from universality.pipeline.doctor import examine, report

    findings = list(examine(Path()))
    for line in report(findings):
        typer.echo(line)
    if any(finding.broken for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an expected error becomes one message and exit code 2.

    An OSError that this package raises has no number. One of the system is expected if `obstacle` explains it (a full
    disk, no permission). Any other error is a bug and keeps its traceback.
    """
    try:
        with naming_extra("this command"):
            app()
    except (UniversalityError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError) and error.errno is not None:
            reason = obstacle(error)
            if reason is None:
                raise
            message = f"{error.filename or 'a file'}: {reason}"
        typer.echo(f"universality: {message}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
