"""Answers survive a killed process, are found by what was asked, and belong to one process at a time."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.labels.chat_model import prompt
from universality.errors import ConfigError, FormatError, UniversalityError
from universality.labels import Answer, AnswerCache, Endpoint, Message, Prompt, prompt_key

ANSWERS = [
    Answer("Days of the week\n“é” 한 \ud83d", "answered", 900, 7),  # ends with half an emoji
    Answer("", "refused", 12, 0, "No."),
    Answer("Day", "cut off", problem="limit"),
]
KEYS = [f"{number:064x}" for number in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels" / "answers.jsonl"


def fill(path: Path) -> None:
    with AnswerCache(path) as cache:
        for key, answer in zip(KEYS, ANSWERS, strict=True):
            cache.add(key, answer)


def test_answers_are_read_back_by_the_same_and_by_another_process(path: Path) -> None:
    with AnswerCache(path) as cache:
        for key, answer in zip(KEYS, ANSWERS, strict=True):
            assert cache.get(key) is None
            cache.add(key, answer)
            assert (cache.get(key), len(cache)) == (answer, KEYS.index(key) + 1)
    with AnswerCache(path) as cache:
        assert [cache.get(key) for key in KEYS] == ANSWERS
        assert KEYS[0] in cache
        cache.add("ff" * 32, Answer("later"))
    with AnswerCache(path) as cache:
        assert (len(cache), cache.get("ff" * 32), cache.get(KEYS[1])) == (4, Answer("later"), ANSWERS[1])


@pytest.mark.parametrize("lost", [1, 20])
def test_a_broken_last_line_is_removed_with_a_word(path: Path, lost: int) -> None:
    fill(path)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.warns(RuntimeWarning, match=r"answers.jsonl: removed line 4, the last"):
        cache = AnswerCache(path)
    with cache:
        assert [cache.get(key) for key in KEYS] == [*ANSWERS[:2], None]
        cache.add(KEYS[2], ANSWERS[2])
    with AnswerCache(path) as cache:  # no warning: the file is whole again
        assert [cache.get(key) for key in KEYS] == ANSWERS


def test_a_header_that_was_broken_is_written_again(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"form')
    with pytest.warns(RuntimeWarning, match="removed line 1, the last"):
        cache = AnswerCache(path)
    with cache:
        cache.add(KEYS[0], ANSWERS[0])
    with AnswerCache(path) as cache:
        assert cache.get(KEYS[0]) == ANSWERS[0]


@pytest.mark.parametrize(
    "line",
    [
        '{"key": "00"}',
        "[]",
        "not JSON",
        '{"key": "zz", "answer": {"text": ""}}',
        '{"key": "00", "answer": {"text": 3}}',
        '{"key": "00", "answer": {"text": "", "outcome": "odd"}}',
        '{"key": "00", "answer": {"text": "", "more": 1}}',
    ],
)
def test_a_corrupt_line_in_the_middle_is_an_error_and_stays(path: Path, line: str) -> None:
    fill(path)
    lines = path.read_text().splitlines(keepends=True)
    spoiled = "".join([*lines[:2], f"{line}\n", *lines[2:]])
    path.write_text(spoiled)
    with pytest.raises(FormatError, match=r"answers.jsonl: line 3 is not an answer; .* remove the line"):
        AnswerCache(path)
    assert path.read_text() == spoiled
    path.write_text("".join(lines))  # the lock was released
    AnswerCache(path).close()


def test_files_of_another_kind_or_version_are_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"format": "universality labels", "version": 1}\n')
    with pytest.raises(FormatError, match="expected a file of answers, found another; name another file"):
        AnswerCache(path)
    path.write_text('{"format": "universality answers", "version": 9}\n')
    with pytest.raises(FormatError, match="expected version 1 of universality answers, found 9"):
        AnswerCache(path)
    with pytest.raises(UniversalityError, match="a folder, where a file is expected"):
        AnswerCache(path.parent)


def test_a_second_writer_is_refused_until_the_first_is_done(path: Path) -> None:
    with AnswerCache(path) as cache:
        with pytest.raises(UniversalityError, match=r"answers.jsonl: another process is adding answers; wait for it"):
            AnswerCache(path)
        cache.add(KEYS[0], ANSWERS[0])
    AnswerCache(path).close()


ADDS = """
import sys
from universality.labels import Answer, AnswerCache
cache = AnswerCache(sys.argv[1])
for number in range(10**9):
    cache.add(f"{number:064x}", Answer("x" * 3000))
    print(number, flush=True)
"""


def test_what_was_added_survives_a_kill(path: Path) -> None:
    adding = subprocess.Popen([sys.executable, "-c", ADDS, str(path)], stdout=subprocess.PIPE, text=True)
    assert adding.stdout is not None
    added = [int(adding.stdout.readline()) for _ in range(30)]
    adding.send_signal(signal.SIGKILL)
    added += [int(line) for line in adding.stdout.read().split()]
    adding.wait()
    adding.stdout.close()
    with AnswerCache(path) as cache:  # a write was whole or had not begun: no warning
        assert added == list(range(len(added)))
        assert len(cache) - len(added) in (0, 1)


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def half(file: int, line: bytes) -> int:
        if len(line) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, line[: len(line) - 30])

    with AnswerCache(path) as cache:
        cache.add(KEYS[0], ANSWERS[0])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            with pytest.raises(UniversalityError, match="no space left on the disk"):
                cache.add(KEYS[1], ANSWERS[1])
        assert KEYS[1] not in cache
        cache.add(KEYS[2], ANSWERS[2])
    with AnswerCache(path) as cache:
        assert [cache.get(key) for key in KEYS] == [ANSWERS[0], None, ANSWERS[2]]


def test_the_key_changes_with_all_that_decides_an_answer_and_with_nothing_else() -> None:
    def model(name: str = "tiny", url: str = "http://localhost:1/v1", **options: Any) -> Endpoint:
        return Endpoint(name, url, **options)

    asked = prompt("hello", 5)
    keys = [
        prompt_key(model(), asked),
        prompt_key(model("other"), asked),
        prompt_key(model(temperature=0.5), asked),
        prompt_key(model(options={"top_p": 1.0}), asked),
        prompt_key(model(), prompt("hello", 6)),
        prompt_key(model(), prompt("hello ", 5)),
        prompt_key(model(), Prompt((Message("system", "hello"),), 5)),
        prompt_key(model(), Prompt((Message("user", "hel"), Message("user", "lo")), 5)),
    ]
    assert len(set(keys)) == len(keys)
    same = model(url="http://localhost:2/v1", at_once=3, timeout=1.0, retries=0, key_variable=None)
    assert prompt_key(same, prompt("hello", 5)) == keys[0]
    recorded = "684bb84ec881ad4c30fa799172b27806114dc55fa273be0cd3b7ae87f23586ab"
    assert keys[0] == recorded  # another key would lose what was paid for


def test_settings_that_are_no_json_are_refused() -> None:
    with pytest.raises(ConfigError, match="settings of tiny: expected values that JSON can hold"):
        prompt_key(Endpoint("tiny", options={"top_p": float("nan")}), prompt("hello"))
    with pytest.raises(ConfigError, match="settings of tiny: expected values that JSON can hold"):
        prompt_key(Endpoint("tiny", options={"stop": {1, 2}}), prompt("hello"))


def test_the_file_is_json_lines_with_a_header(path: Path) -> None:
    fill(path)
    header, *lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    assert header == {"format": "universality answers", "version": 1}
    assert [line["key"] for line in lines] == KEYS
    assert lines[1]["answer"] == {
        "text": "",
        "outcome": "refused",
        "prompt_tokens": 12,
        "answer_tokens": 0,
        "problem": "No.",
    }
