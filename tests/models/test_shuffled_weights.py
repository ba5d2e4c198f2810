import torch
from torch.testing import assert_close

from universality.models.language_model import load_model, weights
from universality.models.shuffled_weights import shuffled


def test_values_stay_and_places_change() -> None:
    model, moved = load_model("starter/seed0"), shuffled("starter/seed0", seed=3)
    for name, tensor in weights(model.bridge).items():
        other = weights(moved.bridge)[name]
        assert_close(tensor.flatten().sort().values, other.flatten().sort().values, rtol=0, atol=0)
        if tensor.unique().numel() > 100:
            assert not torch.equal(tensor, other), name
            both = torch.stack([tensor.flatten(), other.flatten()]).double()
            assert abs(torch.corrcoef(both)[0, 1]) < 0.3, name
    assert moved.hash == shuffled("starter/seed0", seed=3).hash
    assert len({model.hash, moved.hash, shuffled("starter/seed0", seed=4).hash}) == 3
    assert moved.name == "seed0-shuffled"
    assert moved.metadata["shuffled"] == {"source": "starter/seed0", "seed": 3, "hash": model.hash}


def test_what_was_learnt_is_gone() -> None:
    tokens = torch.arange(1, 400).view(3, 133)[:, :100]
    losses = []
    for model in (load_model("starter/seed0"), shuffled("starter/seed0", seed=0)):
        with torch.no_grad():
            logits = model.bridge(tokens, return_type="logits")
        losses.append(torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()))
    assert all(torch.isfinite(loss) for loss in losses)
    assert not torch.isclose(losses[0], losses[1], rtol=0.01)
