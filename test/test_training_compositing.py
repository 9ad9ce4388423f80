import numpy as np
import torch
from scipy.sparse import random_array

from training.compositing import CompositingWeights, _torch_product


def _weights(pixels: int = 12, points: int = 9) -> CompositingWeights:
    matrix = random_array(
        (pixels, points), density=0.4, rng=np.random.default_rng(0), format='csr', dtype=np.float32
    )
    return CompositingWeights(matrix)


def test_rendering_and_its_gradient_are_those_of_the_dense_product():
    weights = _weights()
    dense = torch.from_numpy(weights.matrix.toarray())
    features = torch.randn(9, 5, requires_grad=True)
    target = torch.randn(12, 5)
    (weights.render(features) * target).sum().backward()
    gradient, features.grad = features.grad, None
    (dense @ features * target).sum().backward()
    assert torch.allclose(weights.render(features), dense @ features, atol=1e-6)
    assert torch.allclose(gradient, features.grad, atol=1e-6)
    assert torch.allclose(weights.alpha, dense.sum(dim=1), atol=1e-6)


def test_rendering_as_on_a_gpu_is_in_full_precision_also_under_autocast():
    weights = _weights()
    features, target = torch.randn(9, 5, requires_grad=True), torch.randn(12, 5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rendered = _torch_product(weights.matrix, features)  # what no CPU takes by itself
    (rendered * target).sum().backward()
    dense = torch.from_numpy(weights.matrix.toarray())
    assert rendered.dtype == torch.float32
    assert torch.allclose(rendered, dense @ features, atol=1e-6)
    assert torch.allclose(features.grad, dense.T @ target, atol=1e-6)


def test_a_crop_keeps_its_own_share_of_every_pixel():
    weights = _weights()
    points = np.array([1, 0, 1, 1, 0, 0, 1, 1, 0], bool)
    pixels = np.array([3, 0, 7])
    crop = weights.select(pixels, points)
    assert np.allclose(crop.matrix.toarray(), weights.matrix.toarray()[pixels][:, points])
    assert (crop.alpha <= weights.alpha[pixels] + 1e-6).all()
