"""What a hook's name says about the activations there."""

import pytest

from universality.hooks import holds_neurons, in_residual_stream, place_of


@pytest.mark.parametrize(
    ("hook", "neurons", "stream"),
    [
        ("blocks.0.mlp.hook_post", True, False),
        ("blocks.11.mlp.out.hook_in", True, False),
        ("blocks.3.hook_resid_pre", False, True),
        ("blocks.3.hook_out", False, True),
        ("blocks.3.hook_mlp_out", False, True),
        ("blocks.3.attn.hook_out", False, True),
        ("blocks.3.attn.hook_z", False, False),
        ("blocks.3.attn.hook_pattern", False, False),
        ("blocks.x.hook_out", False, False),
        ("blocks.3.hook_out.more", False, False),
    ],
)
def test_neurons_and_the_residual_stream_are_told_by_name(hook: str, neurons: bool, stream: bool) -> None:
    assert (holds_neurons(hook), in_residual_stream(hook)) == (neurons, stream)


@pytest.mark.parametrize(
    ("hook", "place"),
    [
        ("blocks.3.hook_resid_mid", "the residual stream"),
        ("blocks.3.mlp.out.hook_in", "the MLP's neurons"),
        ("blocks.3.mlp.hook_out", "the MLP's output"),
        ("blocks.3.hook_attn_out", "the attention's output"),
        ("blocks.3.attn.hook_z", "the attention heads"),
        ("blocks.3.ln1.hook_scale", None),
    ],
)
def test_places_are_told_by_name(hook: str, place: str | None) -> None:
    assert place_of(hook) == place
