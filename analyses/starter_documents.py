"""Record which documents the shipped models were trained on, beside each of them.

    python analyses/starter_documents.py

Builds the starter corpus as the models read it (a fifth held out, split seed 0), and refuses unless its hash is the
one in each model's config.json. Takes half a minute.
"""

import json

from universality.corpus import build_corpus
from universality.errors import MismatchError
from universality.models.shipped import STARTER
from universality.models.training_documents import TrainingDocuments

blocks = build_corpus("starter", tokenizer="starter", n_ctx=128, held_out=0.2, split_seed=0).blocks
documents = TrainingDocuments.of(blocks)
for folder in sorted(STARTER.glob("seed*")):
    recorded_hash = json.loads((folder / "config.json").read_text(encoding="utf-8"))["corpus_hash"]
    if recorded_hash != blocks.hash:
        raise MismatchError(
            f"{folder}: trained on blocks {recorded_hash[:12]}, but the corpus built here has {blocks.hash[:12]}"
        )
    file = documents.save(folder)
    print(f"{file}: {len(documents):,} documents, {file.stat().st_size:,} bytes")
held_out = blocks.select("choose", "report")
print(
    f"of the {len(set(held_out.document.tolist())):,} documents held out, {documents.count_in(held_out)} are among them"
)
