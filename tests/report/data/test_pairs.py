"""Values of an excerpt."""

from universality.report import Example


def test_the_activation_of_an_example_is_that_in_focus() -> None:
    assert Example(("a", "b", "c"), (0.1, 0.9, 0.3), focus=1).activation == 0.9
