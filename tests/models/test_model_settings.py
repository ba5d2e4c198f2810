import pytest

from universality.errors import ConfigError
from universality.models.model_settings import ModelArchitecture, ModelSeeds, ModelTraining


def test_settings_are_recorded_under_their_names() -> None:
    assert ModelSeeds(init=3, order=4).as_dict() == {"init": 3, "order": 4}
    assert ModelArchitecture(d_model=64).as_dict() == {
        "n_layers": 1, "d_model": 64, "n_heads": 4, "d_mlp": 512, "act_fn": "relu",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be more than 0, found 0"),
        ({"warmup_share": 1.0}, "warmup_share must be at least 0 and less than 1, found 1.0"),
        ({"products": "float16"}, "products must be float32 or bfloat16, found 'float16'"),
    ],
)
def test_training_that_cannot_work_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelTraining(**options)
