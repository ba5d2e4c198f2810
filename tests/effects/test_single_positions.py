import numpy as np
import pytest
import torch

from tests.effects.conftest import STREAM
from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.effects.changes import multiply
from universality.effects.interventions import Intervention, edited_logits
from universality.effects.model_features import ModelFeatures
from universality.effects.single_positions import SinglePositions
from universality.models.forward import run_until, to_device
from universality.models.language_model import LanguageModel


@pytest.mark.parametrize(
    ("read", "written", "possible"),
    [
        ("blocks.1.mlp.hook_post", "blocks.1.mlp.hook_post", True),
        ("blocks.1.hook_resid_post", "blocks.1.hook_resid_post", True),
        ("blocks.1.mlp.hook_in", "blocks.1.mlp.hook_out", True),  # a transcoder's
        (STREAM, STREAM, False),
        ("blocks.1.hook_resid_pre", "blocks.1.mlp.hook_out", False),  # reads in front of the last attention
    ],
)
def test_only_what_follows_the_last_attention_is_continued(
    model: LanguageModel, read: str, written: str, possible: bool
) -> None:
    found = SinglePositions.of(ModelSite(model, read), ModelSite(model, written))
    assert (found is not None) == possible


def test_logits_are_those_of_whole_blocks(one_layer: dict[str, ModelFeatures], blocks: TokenBlocks) -> None:
    side = one_layer["A"]
    single = SinglePositions.of(side.site, side.site)
    assert single is not None
    tokens, text = to_device(blocks.take(np.arange(4)), side.site.device)
    edit = Intervention(side.site, side.sae, multiply(np.arange(40), 3.0))
    token = np.array([5, blocks.n_ctx + 3, 5, 3 * blocks.n_ctx + 1])
    with torch.no_grad():
        (stream,) = run_until(side.site.model.bridge, tokens, single.kept)
        plain = edited_logits(side.site, tokens, [], text).flatten(0, 1)
        edited = edited_logits(side.site, tokens, [edit], text).flatten(0, 1)
    after, before, place = single.logits(stream, token, edit)
    torch.testing.assert_close(after, edited[token], rtol=0, atol=1e-5)
    torch.testing.assert_close(before[place], plain[token], rtol=0, atol=1e-5)
    assert len(before) == 3
    assert (after - before[place]).abs().max() > 0.01
