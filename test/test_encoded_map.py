"""Several encoded chunks as one map."""

import numpy as np
import pytest
import torch
from test_model import CONFIG, cloud

from lift_gs_ros.grounding.encoded_map import EncodedChunk, EncodedMap
from lift_gs_ros.model.lift_gs import LiftGS


@pytest.fixture(scope='module')
def chunks():
    """Two chunks beside each other, one far away, and one with nothing but a halo."""
    torch.manual_seed(0)
    model = LiftGS(CONFIG, 'torch').eval()
    clouds = [cloud(i, 200) for i in range(4)]
    shifts = [0.0, 3.0, 60.0, 61.0]
    moved = [(p + np.float32([x, 0, 0]), c) for x, (p, c) in zip(shifts, clouds)]
    with torch.inference_mode():
        encodings = model.encode(moved)
    sizes = [len(encoding.positions) for encoding in encodings]
    counts = [sizes[0] - 50, *sizes[1:3], 0]
    found = [EncodedChunk(e, count, i) for i, (e, count) in enumerate(zip(encodings, counts))]
    return dict(zip([(0, 0, 0), (1, 0, 0), (9, 0, 0), (10, 0, 0)], found))


def test_the_middle_is_that_of_the_chunks_around(chunks):
    encoded_map = EncodedMap(chunks)
    first = sum(chunk.num_core for chunk in list(chunks.values())[:2])
    near, far = encoded_map.positions[:first], encoded_map.positions[first:]
    middle = encoded_map.middle_around(np.array([1.0, 0, 0]))
    np.testing.assert_allclose(middle, near.mean(axis=0, dtype=float), atol=1e-5)
    for place in ([60.5, 0, 0], [500.0, 0, 0]):  # the nearest one, where none is near
        middle = encoded_map.middle_around(np.array(place))
        np.testing.assert_allclose(middle, far.mean(axis=0, dtype=float), atol=1e-5)
