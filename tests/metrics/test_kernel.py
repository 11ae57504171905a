from __future__ import annotations

import pytest
import torch

from metrics.peers import fidelity
from mezzotint.metrics.kernel import kernel_distance


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_kernel_distance_is_torch_fidelitys(shift: float) -> None:
    peer = fidelity("metric_kid")
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(400, 64, generator=draw, dtype=torch.float64)
    b = torch.randn(300, 64, generator=draw, dtype=torch.float64) + shift
    wanted = peer.kid_features_to_metric(
        a, b, kid_subsets=20, kid_subset_size=100, rng_seed=7, verbose=False
    )
    mean, std = kernel_distance(a, b, subsets=20, size=100, seed=7)
    assert mean == pytest.approx(wanted[peer.KEY_METRIC_KID_MEAN], rel=1e-6)
    assert std == pytest.approx(wanted[peer.KEY_METRIC_KID_STD], rel=1e-6)
