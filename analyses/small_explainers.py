"""What are explanations by a small language model on this machine worth, and do they carry over?

    python analyses/small_explainers.py RUN MODEL --name SmolLM2-135M-Instruct --out analyses/results/labels/smollm2

RUN is a finished run with second SAE seeds, such as the quickstart, and MODEL the folder of a model of transformers,
such as one that `unpack_models.py` makes. The model explains the features of some matched pairs of RUN and scores the
explanations beside floors and baselines, then on the partners. Answers and labels are kept in RUN, so that an
interrupted script resumes. The numbers of examples are smaller than the default's: a small model takes about as long
for a prompt of 49 examples as for 20 of its answers, and loses count in lists of ten.
"""

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd

from universality import Study, plot
from universality.labels import (
    LabelSettings,
    LabelTransfer,
    LocalModel,
    SpecificitySettings,
    TransferSettings,
    summarise,
)

SETTINGS = LabelSettings(
    scores=("detection",),
    explain_top=6, explain_random=5, explain_other=4,
    score_top=2, score_random=3, score_other=4,
    n_intervals=6, per_interval=1, logit_tokens=0,
    examples_a_prompt=3, explanation_tokens=40,
)  # fmt: skip
SPECIFICITY = SpecificitySettings(n_intervals=3, per_interval=1, silent=3)
TRANSFER = TransferSettings(non_partners=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", required=True, help="name of the model in the results")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--features", default="random 20", help="as for `universality label` (default: random 20)")
    parser.add_argument("--dtype", default="bfloat16", help="of the weights in memory (default: bfloat16)")
    given = parser.parse_args()
    model = LocalModel(given.model, name=given.name, dtype=given.dtype)
    with Study.open(given.run) as study:
        made = study.label(given.features, explainer=model, settings=SETTINGS, confirm=shown, replace=True)
        print(made, flush=True)
        moved = study.transfer(scorer=model, settings=TRANSFER, specificity=SPECIFICITY, confirm=shown)
        print(moved, flush=True)


def shown(plan: object) -> bool:
    print(plan, flush=True)
    return True


if __name__ == "__main__":
    main()
