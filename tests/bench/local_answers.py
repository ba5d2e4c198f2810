"""How fast a model in this process answers prompts that begin alike, beside plain ``generate`` in the same run.

    python -m tests.bench.local_answers [--model FOLDER --prompts 24]

Prompts ask which of three excerpts an explanation fits, as in detection. ``generate`` pads and answers them in batches
of the same size. Printed are processor seconds, their ratio, and how many answers are the same. Without a model, a
random one of the size of a small model is made, whose answers are as long as they may be.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.labels.chat_model import save_chat_model
from universality.labels import LocalModel, Prompt
from universality.labels.judging_excerpts import detection_prompt

BATCH = 12


def prompts(n: int) -> list[Prompt]:
    """Build prompts that differ in the explanation and the excerpts."""
    words = ("the", "cat", "sat", "on", "a", "mat", "while", "seven", "small", "birds", "sang", "of", "many", "days")
    lines = [[" ".join(words[(k + i + j) % len(words)] for j in range(9)) for i in range(3)] for k in range(n)]
    return [detection_prompt(f"the word {words[k % len(words)]!r}", some) for k, some in enumerate(lines)]


def generated(folder: Path, asked: list[Prompt]) -> list[str]:
    """Answer prompts by ``generate``."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    answers = []
    for first in range(0, len(asked), BATCH):
        batch = asked[first : first + BATCH]
        messages = [[{"role": m.role, "content": m.content} for m in one.messages] for one in batch]
        texts = [tokenizer.apply_chat_template(one, add_generation_prompt=True, tokenize=False) for one in messages]
        inputs = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
        written = model.generate(
            input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, do_sample=False,
            max_new_tokens=batch[0].max_tokens, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        answers += tokenizer.batch_decode(written[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return answers


def asked_here(folder: Path, asked: list[Prompt]) -> list[str]:
    """Answer prompts by `LocalModel`."""
    model = LocalModel(folder)
    model._batch_tokens = BATCH * (model.count_tokens(asked[0]) + asked[0].max_tokens)
    answers = dict(model.ask(asked))
    return [answers[place].text for place in range(len(asked))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--prompts", type=int, default=24)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or save_chat_model(Path(folder) / "random", context=2048)
        compare(model, prompts(given.prompts))


def compare(model: Path, asked: list[Prompt]) -> None:
    """Print the table."""
    found, seconds = {}, {}
    for name, answer in (("generate", generated), ("LocalModel", asked_here)):
        start = time.process_time()
        found[name] = answer(model, asked)
        seconds[name] = time.process_time() - start
        print(f"{name}: {seconds[name]:.1f} s of processor, loading included", flush=True)
    same = sum(a == b for a, b in zip(*found.values(), strict=True))
    print(f"{len(asked)} prompts, {same} answers the same, ratio {seconds['generate'] / seconds['LocalModel']:.2f}")


if __name__ == "__main__":
    main()
