"""YAML in which every key stands once: of two alike, YAML's own loader drops the first without a word."""

from typing import Any

import yaml
from yaml.constructor import ConstructorError


class _Loader(yaml.SafeLoader):
    """Refuses keys that a mapping has twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As SafeLoader's; a key that is merged in by ``<<`` may be given again, which replaces it."""
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int | float | None):
                continue  # SafeLoader refuses what cannot be a key
            if key in lines:
                raise ConstructorError(
                    None, None, f"{key!r} is given twice, on lines {lines[key]} and {line}; leave one out",
                    key_node.start_mark,
                )  # fmt: skip
            lines[key] = line
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """The value of a YAML document; raises yaml.YAMLError, of a key that is given twice with both lines."""
    return yaml.load(text, _Loader)
