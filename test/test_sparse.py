"""Sparse convolutions against dense ones, and the two backends against each other."""

import importlib.util

import pytest
import torch
from torch.nn import functional

from lift_gs_ros.model import sparse
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.sparse import DownConv, SparseTensor, SubmanifoldConv, UpConv, load_backend
from lift_gs_ros.model.unet import SparseUNet, mean_rows, voxelize
from lift_gs_ros.model.voxel_grid import MAX_EXTENT, VoxelGrid, pack, unpack

SIZE = 8
needs_spconv = pytest.mark.skipif(
    importlib.util.find_spec('spconv') is None, reason='spconv is not installed'
)


def random_tensor(channels: int, seed: int = 0) -> SparseTensor:
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(2, SIZE, SIZE, SIZE, generator=generator) < 0.2
    keys = pack(occupied.nonzero())
    features = torch.randn(len(keys), channels, generator=generator)
    return SparseTensor(features.requires_grad_(), VoxelGrid(keys))


def densify(x: SparseTensor, size: int = SIZE) -> torch.Tensor:
    dense = x.features.new_zeros(2, size, size, size, x.features.shape[1])
    return dense.index_put(x.indices.unbind(1), x.features).permute(0, 4, 1, 2, 3)


def read(dense: torch.Tensor, x: SparseTensor) -> torch.Tensor:
    cloud, i, j, k = x.indices.unbind(1)
    return dense[cloud, :, i, j, k]


def assert_same_values_and_gradients(actual, expected, x, layer):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(actual)
    inputs = [x.features, layer.weight]
    ours = torch.autograd.grad((actual * weights).sum(), inputs)
    theirs = torch.autograd.grad((expected * weights).sum(), inputs)
    for our, their in zip(ours, theirs):
        torch.testing.assert_close(our, their, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('kernel', [3, 5])
def test_submanifold_convolution_is_the_dense_one_on_the_same_voxels(kernel):
    x, layer = random_tensor(3), SubmanifoldConv(3, 4, kernel)
    dense = functional.conv3d(densify(x), layer.weight.permute(0, 4, 1, 2, 3), padding=kernel // 2)
    assert_same_values_and_gradients(layer(x).features, read(dense, x), x, layer)


def test_down_convolution_is_the_dense_one_of_stride_two():
    x, layer = random_tensor(3), DownConv(3, 4, 2)
    y = layer(x)
    dense = functional.conv3d(densify(x), layer.weight.permute(0, 4, 1, 2, 3), stride=2)
    assert_same_values_and_gradients(y.features, read(dense, y), x, layer)


def test_up_convolution_is_the_dense_transposed_one_on_the_finer_voxels():
    fine, layer = random_tensor(3), UpConv(3, 4, 2)
    grid = fine.grid.coarser
    x = SparseTensor(torch.randn(len(grid.keys), 3, requires_grad=True), grid)
    y = layer(x)
    assert torch.equal(y.indices, fine.indices)
    dense = functional.conv_transpose3d(
        densify(x, SIZE // 2), layer.weight.permute(4, 0, 1, 2, 3), stride=2
    )
    assert_same_values_and_gradients(y.features, read(dense, y), x, layer)


def test_index_maps_are_computed_once_for_all_layers_of_a_resolution():
    x = random_tensor(3)
    assert x.grid.neighbours(3) is x.grid.neighbours(3)
    assert x.grid.coarser is x.grid.coarser


def test_keys_hold_the_largest_indices_and_neighbours_never_wrap_around():
    last = MAX_EXTENT - 1
    corners = torch.tensor([[0, 0, 0, 0], [0, 0, 0, last], [0, last, last, last], [1, 0, 0, 0]])
    grid = VoxelGrid(pack(corners).sort().values)
    assert torch.equal(unpack(grid.keys), corners)
    assert all(pair is None or len(pair[0]) == 0 for pair in grid.neighbours(5))


def room_cloud(seed: int, points: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    """A floor, a wall and a box, not on a grid."""
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(points, 3, generator=generator) * torch.tensor([2.0, 1.5, 1.0])
    positions[: points // 2, 2] = 0.02
    positions[points // 2 : points * 3 // 4, 0] = 0.03
    return positions - 0.7, torch.rand(points, 3, generator=generator)


@needs_spconv
@pytest.mark.parametrize(
    ('size', 'stem'), [('tiny', 3), ('tiny', 5), ('small', 3)], ids=lambda value: str(value)
)
def test_both_backends_give_the_same_features_tokens_and_gradients(size, stem):
    config = getattr(LiftGSConfig, size)(stem_kernel=stem)
    voxels = voxelize([room_cloud(0), room_cloud(1)], config.voxel_size)
    results = []
    for name in ('torch', 'spconv'):
        torch.manual_seed(0)
        net = SparseUNet(config, load_backend(name))
        features, tokens, indices = net(voxels)
        torch.manual_seed(0)
        loss = (features * torch.randn_like(features)).sum() / len(features)
        (loss + (tokens * torch.randn_like(tokens)).sum() / len(tokens)).backward()
        gradients = {key: value.grad for key, value in net.named_parameters()}
        results.append((features, tokens, indices, gradients))
    ours, theirs = results
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-4, rtol=1e-3)
    assert torch.equal(ours[2], theirs[2])
    for name, gradient in theirs[3].items():
        error = (ours[3][name] - gradient).norm() / gradient.norm().clamp(min=1e-6)
        assert error < 1e-2, name  # a ReLU at zero may go either way


@needs_spconv
def test_a_network_that_was_made_for_a_gpu_runs_on_a_cpu_too(monkeypatch):
    config = LiftGSConfig.tiny()
    voxels = voxelize([room_cloud(0)], config.voxel_size)
    expected = SparseUNet(config, load_backend('torch')).eval()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    net = SparseUNet(config, load_backend('auto')).eval()
    assert net.backend.name == 'spconv'
    net.load_state_dict(expected.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(net(voxels)[0], expected(voxels)[0], atol=1e-4, rtol=1e-3)


@needs_spconv
@pytest.mark.parametrize('name', ['torch', 'spconv'])
def test_convolutions_are_summed_in_full_precision_under_autocast_too(name):
    backend, x = load_backend(name), random_tensor(3)
    layer = backend.submanifold(3, 4, 3, 0)
    features = x.features.detach().bfloat16()
    expected = layer(backend.tensor(features.float(), x.indices, 2)).features
    with torch.autocast('cpu', torch.bfloat16):
        summed = layer(backend.tensor(features, x.indices, 2)).features
    assert summed.dtype == torch.float32
    assert torch.equal(summed, expected)


def test_voxels_of_a_cloud_do_not_depend_on_where_the_map_begins():
    positions, colors = room_cloud(0)
    positions = (positions / 0.05).round() * 0.05 + 0.005  # away from the borders of voxels
    here = voxelize([(positions, colors)], 0.05)
    there = voxelize([(positions + torch.tensor([-8.0, 16.0, 0.8]), colors)], 0.05)
    assert torch.equal(here.indices, there.indices)
    torch.testing.assert_close(here.features, there.features, atol=1e-3, rtol=0)


def test_points_of_one_voxel_are_averaged_and_every_point_finds_its_voxel():
    positions = torch.tensor([[-0.015] * 3, [0.235, -0.015, -0.015], [0.015, -0.015, -0.015]])
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    voxels = voxelize([(positions, colors)], 0.05)
    assert len(voxels.features) == 2
    assert voxels.voxel_of_point.tolist() == [0, 1, 0]
    torch.testing.assert_close(voxels.features[0], torch.tensor([0, -1, -1, 0, -0.6, -0.6]))


def test_mean_rows_of_an_empty_group_is_zero():
    means = mean_rows(torch.ones(2, 1), torch.tensor([2, 2]), 3)
    assert means.flatten().tolist() == [0, 0, 1]


def test_backends_are_chosen_by_what_is_there(monkeypatch):
    if not torch.cuda.is_available():
        assert load_backend('auto').name == 'torch'
    monkeypatch.setattr(sparse.importlib.util, 'find_spec', lambda name: None)
    assert load_backend('auto').name == 'torch'
    with pytest.raises(ImportError, match='spconv-cu120'):
        load_backend('spconv')
    with pytest.raises(ValueError, match='sparse backend is'):
        load_backend('minkowski')
