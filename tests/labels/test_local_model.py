"""A model of transformers in this process; its answers do not depend on the prompts beside them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.labels.chat_model import prompt, save_chat_model
from universality.errors import ConfigError, ModelError
from universality.labels import Answer, LocalModel, Message, Prompt, prompt_key
from universality.labels.attention_cache import Prefix

WORDS = ["hello", "a much longer prompt about cats and dogs " * 3, "why", "Monday Tuesday", "1 2 3"]


@pytest.fixture(scope="module")
def greedy(chat_folder: Path) -> LocalModel:
    return LocalModel(chat_folder)


def test_answers_are_the_most_probable_tokens_one_by_one(greedy: LocalModel, chat_folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(chat_folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
    answers = dict(greedy.ask([prompt(word, 6) for word in WORDS]))
    for index, word in enumerate(WORDS):
        tokens = tokenizer(f"user: {word}\nassistant: ").input_ids
        n_prompt = len(tokens)
        with torch.no_grad():
            for _ in range(6):
                tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        assert answers[index].text == tokenizer.decode(tokens[n_prompt:])
        assert (answers[index].prompt_tokens, answers[index].answer_tokens) == (n_prompt, 6)
    assert greedy.count_tokens(prompt(WORDS[0])) == answers[0].prompt_tokens


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_do_not_depend_on_the_batch(chat_folder: Path, temperature: float) -> None:
    together = LocalModel(chat_folder, temperature=temperature)
    alone = LocalModel(chat_folder, temperature=temperature, batch_tokens=1)
    prompts = [prompt(word, 3 + index) for index, word in enumerate(WORDS)]
    assert dict(together.ask(prompts)) == dict(alone.ask(prompts))
    assert dict(together.ask(prompts))[3] == next(alone.ask([prompts[3]]))[1]


def test_the_seed_decides_the_draws_and_the_temperature_their_spread(chat_folder: Path) -> None:
    asked = [prompt("hello", 6)]

    def text(**options: float) -> str:
        return next(LocalModel(chat_folder, **options).ask(asked))[1].text

    state = torch.random.get_rng_state()
    assert text(temperature=1.0, seed=1) == text(temperature=1.0, seed=1) != text(temperature=1.0, seed=2)
    assert text(temperature=1e-4, seed=1) == text(temperature=1e-4, seed=2) == text()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_models_own_sampling_settings_change_nothing(greedy: LocalModel, chat_folder: Path, tmp_path: Path) -> None:
    folder = copied(chat_folder, tmp_path / "copy")
    own = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 9.0, "num_beams": 3, "eos_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(own))
    asked = [prompt(word, 6) for word in WORDS]
    assert dict(LocalModel(folder).ask(asked)) == dict(greedy.ask(asked))


def test_an_answer_ends_at_any_of_the_models_end_tokens(greedy: LocalModel, chat_folder: Path, tmp_path: Path) -> None:
    asked = prompt("hello", 6)
    tokens = greedy._tokenizer(next(greedy.ask([asked]))[1].text).input_ids
    third = greedy._decode([encoded(greedy, asked)], Prefix())[0][2]
    assert len(tokens) > 2
    folder = copied(chat_folder, tmp_path / "copy")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [third, 0]}))
    answer = next(LocalModel(folder).ask([asked]))[1]
    assert (answer.outcome, answer.answer_tokens, answer.problem) == ("answered", 3, "")
    assert next(greedy.ask([asked]))[1].text.startswith(answer.text)


def test_a_prompt_beyond_the_context_fails_alone(greedy: LocalModel) -> None:
    answers = dict(greedy.ask([prompt("hello"), prompt("hello " * 400), prompt("why")]))
    assert [answers[index].outcome == "failed" for index in range(3)] == [False, True, False]
    assert answers[1].problem.startswith("expected at most 256 tokens, the context of the model; found ")
    fitting = greedy.context - greedy.count_tokens(prompt("why"))
    assert next(greedy.ask([prompt("why", fitting + 1)]))[1].outcome == "failed"


def test_a_common_beginning_is_read_once(
    greedy: LocalModel, chat_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = (Message("user", "Which of these are days of the week? " * 3), Message("assistant", "Monday, Tuesday"))
    asked = [Prompt((*turns, Message("user", word)), 6) for word in WORDS] + [prompt(word, 6) for word in WORDS]
    alone = {index: next(greedy.ask([one]))[1] for index, one in enumerate(asked)}
    read: list[int] = []
    model = LocalModel(chat_folder)
    forward = model._model.model.forward

    def counted(input_ids: torch.Tensor, **options: object) -> object:
        read.append(input_ids.shape[1])
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(model._model.model, "forward", counted)
    assert dict(model.ask(asked)) == alone
    whole = max(greedy.count_tokens(one) for one in asked)
    shared = greedy.count_tokens(Prompt(turns, 6)) - len(greedy._tokenizer("assistant: ").input_ids)
    assert read[0] == pytest.approx(shared, abs=3)
    assert read[1] == whole - read[0]  # the rest of the longest
    assert sorted(set(read))[:1] == [1]


def test_prompts_are_drawn_in_windows(greedy: LocalModel) -> None:
    drawn = []

    def prompts() -> Iterator[Prompt]:
        for number in range(600):
            drawn.append(number)
            yield prompt(f"{number}", 1)

    assert next(greedy.ask(prompts()))[1].text
    assert len(drawn) == 256


def test_memory_that_runs_out_halves_the_batch(greedy: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [prompt(word, 4) for word in WORDS]
    expected = dict(greedy.ask(asked))
    decode = LocalModel._decode

    def small_card(self: LocalModel, batch: list[object], prefix: Prefix) -> list[list[int]]:
        if len(batch) > 1 or "cats" in batch[0].prompt.messages[0].content:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return decode(self, batch, prefix)

    monkeypatch.setattr(LocalModel, "_decode", small_card)
    answers = dict(greedy.ask(asked))
    assert (answers[1].outcome, answers[1].problem[:34]) == ("failed", "the GPU has no memory for a prompt")
    assert {index: answers[index] for index in (0, 2, 3, 4)} == {index: expected[index] for index in (0, 2, 3, 4)}


def test_a_model_without_a_chat_template_continues_a_plain_conversation(tmp_path: Path) -> None:
    model = LocalModel(save_chat_model(tmp_path / "base", template=None))
    asked = Prompt((Message("system", "Be brief."), Message("user", "Why?")), 50)
    text = model._tokenizer.decode(encoded(model, asked).tokens, skip_special_tokens=True)
    assert text == "System: Be brief.\n\nUser: Why?\n\nAssistant:"
    tail = model._tokenizer(" Days.\n\nUser: And", add_special_tokens=False).input_ids
    assert model._read(encoded(model, asked), tail).text == " Days."


def test_a_model_without_a_chat_template_stops_at_the_next_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LocalModel(save_chat_model(tmp_path / "base", template=None))
    for turn in ("User", "Assistant"):
        script = model._tokenizer(f" Days.\n\n{turn}: And so on for ever", add_special_tokens=False).input_ids
        logits = torch.nn.functional.one_hot(torch.tensor(script), len(model._tokenizer)).float()
        at = iter(range(len(script)))
        monkeypatch.setattr(model._decoder, "_logits", lambda *_, logits=logits, at=at: logits[next(at)][None])
        answer = next(model.ask([prompt("Why?", 50)]))[1]
        assert (answer.text, answer.outcome) == (" Days.", "answered")
        assert answer.answer_tokens < len(script)


def test_a_template_that_refuses_system_messages_gets_them_with_the_first(tmp_path: Path) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for message in messages %}[{{ message.content }}]{% endfor %}"
    )
    model = LocalModel(save_chat_model(tmp_path / "strict", template))
    asked = Prompt((Message("system", "Be brief."), Message("user", "Why?")), 5)
    assert model._tokenizer.decode(encoded(model, asked).tokens) == "[Be brief.\n\nWhy?]"
    with pytest.raises(ModelError, match="its chat template refuses the prompt: no system"):
        model.count_tokens(Prompt((Message("system", "alone"),), 5))


def test_other_weights_under_the_same_name_are_another_key(
    greedy: LocalModel, chat_folder: Path, tmp_path: Path
) -> None:
    folder = copied(chat_folder, tmp_path / "copy")
    same = LocalModel(folder, name=greedy.name)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    other = LocalModel(folder, name=greedy.name)
    keys = [prompt_key(model, prompt("hello")) for model in (greedy, same, other)]
    assert keys[0] == keys[1] != keys[2]
    assert greedy.settings["dtype"] == "float32"


def test_models_that_cannot_be_used_are_refused(chat_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a temperature of at least 0 and batch_tokens of at least 1, found -1 and"):
        LocalModel(chat_folder, temperature=-1)
    with pytest.raises(ModelError, match=r"nowhere: no such model; expected a folder with config.json"):
        LocalModel(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="starter/seed0: a model that was trained here, which only continues"):
        LocalModel("starter/seed0")
    folder = copied(chat_folder, tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled: expected weights in safetensors files, found none; save the model"):
        LocalModel(folder)
    folder = copied(chat_folder, tmp_path / "truncated")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="truncated: transformers cannot load it as a causal language model: "):
        LocalModel(folder)
    folder = copied(chat_folder, tmp_path / "mute")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="mute: no tokenizer that transformers can read"):
        LocalModel(folder)


def test_code_beside_a_model_is_not_run(chat_folder: Path, tmp_path: Path) -> None:
    folder = copied(chat_folder, tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "odd", "auto_map": {"AutoConfig": "code.Odd", "AutoModelForCausalLM": "code.Odd"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="coded: "):
        LocalModel(folder)
    assert not (tmp_path / "ran").exists()


def encoded(model: LocalModel, asked: Prompt) -> object:
    from universality.labels.local_model import _Encoded

    return _Encoded(0, asked, model._encode(asked))


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_answers_are_answers(greedy: LocalModel) -> None:
    assert isinstance(next(greedy.ask([prompt("hello")]))[1], Answer)
    assert list(greedy.ask([])) == []
