import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.effects.conftest import random_sae
from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.effects.changes import ablate
from universality.effects.interventions import Intervention, edited_losses
from universality.effects.loss_changes import measure_loss_changes
from universality.errors import UniversalityError
from universality.sae import SAE


def test_changes_are_those_of_one_ablation_at_a_time(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    codes = sae.encode(site.read(blocks))
    common, rare = (int(np.argsort(np.bincount(codes.indices, minlength=48))[rank]) for rank in (-1, 24))
    found = measure_loss_changes(site, sae, blocks, [common, rare])
    plain = edited_losses(site, blocks, [])
    assert_allclose(found.plain, plain, atol=1e-6)
    for row, feature in enumerate((common, rare)):
        ablated = edited_losses(site, blocks, [Intervention(site, sae, ablate([feature]))])
        assert_allclose(found.added[row], ablated - plain, atol=1e-5)
        assert np.abs(found.added[row]).max() > 1e-4


def test_nothing_changes_where_a_feature_never_fires(site: ModelSite, blocks: TokenBlocks) -> None:
    sae = random_sae(site.d_in, 48, seed=1)
    codes = sae.encode(site.read(blocks))
    block_of = np.repeat(np.arange(len(blocks)), blocks.length - 1)
    fires_in = np.array([np.unique(block_of[codes[:, i].nonzero()[0]]).size for i in range(48)])
    feature = int(np.flatnonzero((fires_in > 0) & (fires_in < len(blocks)))[0])
    found = measure_loss_changes(site, sae, blocks, feature).added[0]
    here = np.isin(block_of, block_of[codes[:, feature].nonzero()[0]])
    assert not found[~here].any()
    assert found[here].any()


def test_features_that_do_not_exist_are_refused(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    with pytest.raises(UniversalityError, match="indices from 0 to 47 exist, found 3 to 48"):
        measure_loss_changes(site, sae, blocks, [3, 48])
    with pytest.raises(UniversalityError, match="one is named twice"):
        measure_loss_changes(site, sae, blocks, [3, 3])
