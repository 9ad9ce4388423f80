"""Several encoded chunks as one map."""

import numpy as np
import pytest
import torch
from test_model import CONFIG, cloud

from lift_gs_ros.grounding.encoded_map import EncodedChunk, EncodedMap
from lift_gs_ros.model.lift_gs import LiftGS


@pytest.fixture
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
    count = sum(chunk.num_core for chunk in chunks.values())
    near = encoded_map.positions[np.arange(first)]
    far = encoded_map.positions[np.arange(first, count)]
    middle = encoded_map.middle_around(np.array([1.0, 0, 0]))
    np.testing.assert_allclose(middle, near.mean(axis=0, dtype=float), atol=1e-5)
    for place in ([60.5, 0, 0], [500.0, 0, 0]):  # the nearest one, where none is near
        middle = encoded_map.middle_around(np.array(place))
        np.testing.assert_allclose(middle, far.mean(axis=0, dtype=float), atol=1e-5)


def test_points_are_read_from_their_chunks_and_rows_counted_either_way(chunks):
    encoded_map = EncodedMap(chunks)
    parts = [chunk.encoding.positions[: chunk.num_core] for chunk in chunks.values()]
    everything = torch.cat(parts).numpy()
    rows = np.sort(np.random.default_rng(0).choice(len(everything), 200, replace=False))
    np.testing.assert_array_equal(encoded_map.positions[rows], everything[rows])
    assert encoded_map.positions[np.zeros(0, np.int64)].shape == (0, 3)
    by_chunk = encoded_map.by_chunk(rows)
    assert sum(len(own) for own in by_chunk.values()) == len(rows)
    np.testing.assert_array_equal(encoded_map.together(by_chunk), rows)
    del chunks[(0, 0, 0)]  # rows of the others stay what they are
    del by_chunk[0]
    left = encoded_map.positions[encoded_map.together(by_chunk)]
    fewer = EncodedMap(chunks)
    np.testing.assert_array_equal(fewer.positions[fewer.together(by_chunk)], left)


def test_a_chunk_owns_the_tokens_that_lie_among_its_own_points(chunks):
    encoded_map = EncodedMap(chunks)
    owned = encoded_map.owned.split(encoded_map.tiles.counts)
    for chunk, own in zip(chunks.values(), owned):
        core = chunk.encoding.positions[: chunk.num_core]
        for position, is_own in zip(chunk.encoding.token_positions, own):
            inside = len(core) > 0 and bool(
                ((position >= core.amin(dim=0)) & (position <= core.amax(dim=0))).all()
            )
            assert bool(is_own) == inside
    assert not owned[3].any()
    assert owned[1].all()
