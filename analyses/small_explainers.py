"""What are explanations by a small language model on this machine worth, and do they carry over?

    python analyses/small_explainers.py RUN MODEL --name SmolLM2-135M-Instruct --out analyses/results/labels/smollm2

RUN is a finished run with second SAE seeds, such as the quickstart, and MODEL the folder of a model of transformers,
such as one that `unpack_models.py` makes. The model explains the features of some matched pairs of RUN, and scores the
explanations beside floors and baselines, then on the partners. Answers and labels are kept in RUN, and the same command
resumes an interrupted one; labels of another model are replaced.

There are fewer examples than by default, and three in a prompt: small models lose count in lists of ten.
"""

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from universality import Study, plot
from universality.export import write_csv
from universality.labels import Labels, LabelSettings, LocalModel, SpecificitySettings, TransferSettings, summarise
from universality.pipeline.run_transfer import RunTransfer

SETTINGS = LabelSettings(
    scores=("detection",),
    explain_top=6, explain_random=5, explain_other=4,
    score_top=2, score_random=3, score_other=4,
    n_intervals=6, per_interval=1, logit_tokens=0,
    examples_a_prompt=3, explanation_tokens=40,
)  # fmt: skip
TRANSFER = TransferSettings(non_partners=1)
SPECIFICITY = SpecificitySettings(n_intervals=3, per_interval=1, silent=3)
SCORE = "detection"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", required=True, help="name of the model in the results")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--features", default="random 20", help="as for `universality label` (default: random 20)")
    parser.add_argument("--dtype", default="bfloat16", help="type of the weights in memory (default: bfloat16)")
    given = parser.parse_args()
    model = LocalModel(given.model, name=given.name, dtype=given.dtype)
    given.out.mkdir(parents=True, exist_ok=True)
    with Study.open(given.run) as study:
        made = study.label(given.features, explainer=model, settings=SETTINGS, confirm=shown, replace=True)
        write_labels(made.labels, given.out)
        write_csv(count_answers(given.run / "labels" / "answers.jsonl"), given.out / "answers.csv")
        transfer = study.transfer(scorer=model, settings=TRANSFER, specificity=SPECIFICITY, confirm=shown)
        write_transfer(transfer, given.out)
    for path in sorted((given.run / "labels").glob("*-s0.jsonl")):
        shutil.copyfile(path, given.out / path.name)
    report = f"{made}\n\n{transfer}\n".replace(f"{given.run}/", "")
    (given.out / "summary.txt").write_text(report, encoding="utf-8")
    print(report)


def shown(plan: object) -> bool:
    """Print a plan, and go on."""
    print(plan, flush=True)
    return True


def write_labels(labels: Mapping[str, Labels], folder: Path) -> None:
    """Write the scores of each explanation, and their means over features."""
    means = pd.concat([summarise(found).assign(side=side) for side, found in labels.items()])
    write_csv(means.round(3), folder / "scores.csv")
    explained = pd.concat([explanations(found).assign(side=side) for side, found in labels.items()])
    write_csv(explained.round(3), folder / "explanations.csv")


def explanations(labels: Labels) -> pd.DataFrame:
    """One row a feature: its explanation, and the score of each predictor."""
    known = labels.to_frame()
    scores = known[known["name"] == SCORE].pivot_table(index="feature", columns="by", values="value", dropna=False)
    made = [(feature, one.explanation, one.outcome, one.density) for feature, one in sorted(labels.labels.items())]
    table = pd.DataFrame(made, columns=["feature", "explanation", "outcome", "density"])
    return table.join(scores.add_prefix(f"{SCORE} by "), on="feature")


def count_answers(path: Path) -> pd.DataFrame:
    """Count the different answers of yes and no: a scorer that reads the excerpts gives many."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    texts = [json.loads(line)["answer"]["text"].strip() for line in lines]
    verdicts = Counter(text.replace("\n", ", ") for text in texts if text.startswith("1:"))
    table = pd.DataFrame(verdicts.most_common(), columns=["answer", "n"])
    return table.assign(share=(table["n"] / table["n"].sum()).round(3))


def write_transfer(measured: RunTransfer, folder: Path) -> None:
    """Write the tables and the figure of transfer, and the specificity of both sides."""
    transfer = measured.transfer
    tables = {"transfer": transfer.summary(), "given_r": transfer.given_r(), "same": transfer.same_explanation()}
    sides = [found.summary().assign(side=side) for side, found in measured.specificity.items()]
    for name, table in (tables | {"specificity": pd.concat(sides)}).items():
        write_csv(table.round(3), folder / f"{name}.csv")
    plot.label_transfer(transfer, name=SCORE).figure.savefig(folder / "transfer.png", dpi=150)


if __name__ == "__main__":
    main()
