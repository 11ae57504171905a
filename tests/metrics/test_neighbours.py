from __future__ import annotations

import pytest
import torch

from mezzotint.metrics.neighbours import nearest


def test_the_nearest_come_in_order_with_their_rows() -> None:
    among = torch.tensor([[0.0], [1.0], [3.0]])
    distances, rows = nearest(torch.tensor([[0.9], [2.8]]), among, 2)
    assert rows.tolist() == [[1, 0], [2, 1]]
    assert distances.flatten().tolist() == pytest.approx([0.1, 0.9, 0.2, 1.8])
