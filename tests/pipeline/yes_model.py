"""A model that explains each feature by words of its own and says yes to everything."""

from collections.abc import Iterable, Iterator

from tests.labels.planted import question
from universality.labels import Answer, Prompt


class Yes:
    """Explains every feature in its own words, and says yes to everything."""

    settings, context = {}, None

    def __init__(self, name: str = "yes", most: int = 10**6) -> None:
        self.name, self.asked, self._most = name, 0, most

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        for place, prompt in enumerate(prompts):
            if self.asked == self._most:
                raise KeyboardInterrupt
            self.asked += 1
            kind, _ = question(prompt)
            text = {"explain": f"word {place}", "same": "yes"}.get(kind, "\n".join(f"{k}: yes" for k in range(1, 40)))
            yield place, Answer(text, prompt_tokens=100, answer_tokens=10)
