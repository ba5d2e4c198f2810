"""YAML with unique keys: PyYAML's own loader silently drops the first of two equal keys."""

from typing import Any

import yaml
from yaml.constructor import ConstructorError


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses duplicate keys of a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; a key that is merged in by ``<<`` may be given again, which replaces it."""
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int | float | None):
                continue  # left to SafeLoader, which refuses values that cannot be a key
            if key in lines:
                raise ConstructorError(
                    None, None, f"{key!r} is given twice, on lines {lines[key]} and {line}; leave one out",
                    key_node.start_mark,
                )  # fmt: skip
            lines[key] = line
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """Read a YAML document.

    Raises
    ------
    yaml.YAMLError
        If the text is not YAML, or a mapping has a key twice: the message names both lines.

    Examples
    --------
    >>> load_yaml("saes: {k: 16}")
    {'saes': {'k': 16}}
    """
    return yaml.load(text, _Loader)
