"""Backends against each other, the weights matrix, and input that is empty, odd or wrong."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from splat_scenes import CAMERA, POSE, make_scene

from lift_gs_ros.geometry import Camera
from lift_gs_ros.splat.gaussians import Gaussians
from lift_gs_ros.splat.projection import View, gsplat_intrinsics, project
from lift_gs_ros.splat.render import _why_no_gsplat, compositing_weights, render
from lift_gs_ros.splat.spherical_harmonics import sh_to_colors

pytest.importorskip('numba')
KERNELS = pytest.mark.parametrize('kernel', ['3d', '2d'])
BACKENDS = pytest.mark.parametrize('backend', ['compiled', 'reference'])


def outputs(view):
    return torch.cat([view.color, view.features, view.alpha[..., None], view.depth[..., None]], -1)


def gradients(gaussians, features, camera, kernel, backend):
    """Image (H, W, 5 + C) and gradients of a random sum of it, moved to the CPU."""
    image = outputs(render(gaussians, camera, POSE, features, kernel, backend))
    weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(7)).to(image)
    inputs = [getattr(gaussians, field.name) for field in fields(gaussians)] + [features]
    grads = torch.autograd.grad((image * weights).sum(), inputs)
    return image.detach().cpu(), [grad.cpu() for grad in grads]


def assert_close(actual, expected, tolerance):
    """Compare in units of the largest value, which is what sums of many terms are good to."""
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < tolerance


@KERNELS
@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_compiled_and_its_gradients_equal_the_reference(kernel, seed, dtype, tolerance):
    scene, features = make_scene(
        400, seed, channels=7, dtype=dtype, scale=[0.02, 0.1, 0.5][seed], requires_grad=True
    )
    image, grads = gradients(scene, features, CAMERA, kernel, 'compiled')
    expected, expected_grads = gradients(scene, features, CAMERA, kernel, 'reference')
    assert expected[..., -2].max() > 0.9
    assert_close(image, expected, tolerance)
    for grad, expected_grad in zip(grads, expected_grads):
        assert_close(grad, expected_grad, tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@KERNELS
def test_gsplat_and_its_gradients_equal_the_reference(kernel):
    if reason := _why_no_gsplat():
        pytest.skip(reason)
    # Surfels of some pixels: gsplat misses part of smaller ones at the border of its tiles.
    scene, features = make_scene(300, 0, channels=95, scale=0.2)
    scene, features = scene.to('cuda'), features.cuda()
    for tensor in [getattr(scene, field.name) for field in fields(scene)] + [features]:
        tensor.requires_grad_()
    image, grads = gradients(scene, features, CAMERA, kernel, 'gsplat')
    expected, expected_grads = gradients(scene, features, CAMERA, kernel, 'reference')
    assert_close(image, expected, 2e-3)
    for grad, expected_grad in zip(grads, expected_grads):
        assert_close(grad, expected_grad, 1e-2)


@KERNELS
def test_number_of_threads_does_not_change_a_bit(kernel):
    scene, features = make_scene(500, 5, requires_grad=True)
    threads = torch.get_num_threads()
    results = []
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            image, grads = gradients(scene, features, CAMERA, kernel, 'compiled')
        finally:
            torch.set_num_threads(threads)
        results.append([image, grads[-1]])
    for one, three in zip(*results):
        assert torch.equal(one, three)


def test_several_threads_of_a_program_may_render_at_once():
    scene, features = make_scene(300, 2)
    expected = render(scene, CAMERA, POSE, features).features
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(render, scene, CAMERA, POSE, features) for _ in range(8)]
    assert all(torch.equal(job.result().features, expected) for job in jobs)


@KERNELS
def test_weights_times_features_are_the_rendered_features(kernel):
    scene, features = make_scene(300, 1, channels=6, dtype=torch.float64)
    weights = compositing_weights(scene, CAMERA, POSE, kernel)
    view = render(scene, CAMERA, POSE, features, kernel, 'reference')
    assert weights.shape == (CAMERA.height * CAMERA.width, 300)
    torch.testing.assert_close((weights @ features).reshape(view.features.shape), view.features)
    rows = (weights @ torch.ones(300, 1, dtype=torch.float64)).reshape(view.alpha.shape)
    torch.testing.assert_close(rows, view.alpha)
    columns = weights.col_indices()
    for start, stop in zip(weights.crow_indices()[:-1], weights.crow_indices()[1:]):
        assert (columns[start:stop].diff() > 0).all()


@KERNELS
def test_weights_are_the_same_with_and_without_numba(kernel, monkeypatch):
    scene, _ = make_scene(200, 4, dtype=torch.float64)
    compiled = compositing_weights(scene, CAMERA, POSE, kernel)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    plain = compositing_weights(scene, CAMERA, POSE, kernel)
    torch.testing.assert_close(compiled.to_dense(), plain.to_dense(), rtol=0, atol=1e-12)


def test_gradient_reaches_features_through_the_weights():
    scene, features = make_scene(100, 1, channels=3, requires_grad=True)
    target = torch.randn(CAMERA.height * CAMERA.width, 3)
    weights = compositing_weights(scene, CAMERA, POSE)
    (through_weights,) = torch.autograd.grad(((weights @ features) * target).sum(), features)
    rendered = render(scene, CAMERA, POSE, features).features.reshape(-1, 3)
    (through_render,) = torch.autograd.grad((rendered * target).sum(), features)
    torch.testing.assert_close(through_weights, through_render, rtol=1e-4, atol=1e-5)


@KERNELS
@BACKENDS
def test_masks_from_rendered_features_equal_masks_rendered_one_by_one(kernel, backend):
    scene, features = make_scene(150, 6, channels=8, dtype=torch.float64)
    embeddings = torch.randn(5, 8, dtype=torch.float64)
    at_once = render(scene, CAMERA, POSE, features, kernel, backend).features @ embeddings.T
    for mask, embedding in enumerate(embeddings):
        alone = render(scene, CAMERA, POSE, (features @ embedding)[:, None], kernel, backend)
        torch.testing.assert_close(at_once[..., mask], alone.features[..., 0])


@KERNELS
@BACKENDS
def test_nothing_to_see_is_an_empty_image_with_gradients_of_zero(kernel, backend):
    scene, features = make_scene(20, 0, requires_grad=True)
    behind = replace(scene, means=scene.means - 10 * torch.from_numpy(POSE[:3, 2]).float())
    transparent = replace(scene, opacities=scene.opacities * 0)
    for gaussians, own in [(scene[:0], features[:0]), (behind, features), (transparent, features)]:
        view = render(gaussians, CAMERA, POSE, own, kernel, backend)
        assert outputs(view).shape == (43, 61, 9)
        assert not outputs(view).any()
        assert not outputs(view.normalised()).any()
        gradient = torch.autograd.grad(outputs(view).sum(), scene.means, allow_unused=True)[0]
        assert gradient is None or not gradient.any()
        assert compositing_weights(gaussians, CAMERA, POSE, kernel)._nnz() == 0


@KERNELS
@BACKENDS
def test_gaussian_at_the_camera_is_left_out(kernel, backend):
    scene, features = make_scene(1, 0)
    for distance in (0.0, 0.009, -1e-6):
        mean = torch.from_numpy(POSE[:3, 3] + distance * POSE[:3, 2]).float()[None]
        view = render(replace(scene, means=mean), CAMERA, POSE, features, kernel, backend)
        assert not view.alpha.any()


@KERNELS
@BACKENDS
@pytest.mark.parametrize('scale', [0.0, 1e-30, 1e-6, 50.0, 1e6])
def test_degenerate_scales_give_finite_images_and_gradients(kernel, backend, scale):
    scene, features = make_scene(30, 3)
    scales = scene.scales.clone()
    scales[:, 0] = scale
    scales[:15, 1] = scale
    scene = Gaussians(
        *(
            tensor.detach().requires_grad_()
            for tensor in (scene.means, scene.quats, scales, scene.opacities, scene.sh)
        )
    )
    image, grads = gradients(scene, features.requires_grad_(), CAMERA, kernel, backend)
    assert image.isfinite().all()
    assert (image[..., -2] <= 1).all()
    for grad in grads:
        assert grad.isfinite().all()


@pytest.mark.parametrize('name', ['means', 'quats', 'scales', 'opacities', 'sh', 'features'])
def test_nan_is_refused_by_name(name):
    scene, features = make_scene(5, 0)
    ({'features': features}.get(name, getattr(scene, name, None)))[3] = torch.nan
    with pytest.raises(ValueError, match=f'{name} hold NaN'):
        render(scene, CAMERA, POSE, features)


def test_wrong_input_is_refused_with_what_was_expected():
    scene, features = make_scene(5, 0)
    with pytest.raises(ValueError, match=r'features have shape \(4, 4\), expected \(5, C\)'):
        render(scene, CAMERA, POSE, features[:4])
    with pytest.raises(ValueError, match=r'quats have shape \(5, 3\), expected \(5, 4\)'):
        replace(scene, quats=scene.scales)
    with pytest.raises(TypeError, match='sh are torch.bfloat16, expected torch.float32'):
        replace(scene, sh=scene.sh.bfloat16())
    with pytest.raises(ValueError, match='sh are torch.float64 on cpu, expected torch.float32'):
        replace(scene, sh=scene.sh.double())
    with pytest.raises(ValueError, match="kernel is '4d'"):
        render(scene, CAMERA, POSE, kernel='4d')
    with pytest.raises(ValueError, match="backend is 'opengl'"):
        render(scene, CAMERA, POSE, backend='opengl')
    with pytest.raises(RuntimeError, match="backend 'gsplat' needs Gaussians on a CUDA device"):
        render(scene, CAMERA, POSE, backend='gsplat')
    with pytest.raises(ValueError, match='transform holds NaN'):
        render(scene, CAMERA, np.full((4, 4), np.nan))


def test_features_of_mixed_precision_are_rendered_in_the_precision_of_the_gaussians():
    scene, features = make_scene(50, 0)
    expected = render(scene, CAMERA, POSE, features.bfloat16().float())
    for backend in ('compiled', 'reference'):
        with torch.autocast('cpu', torch.bfloat16):
            view = render(scene, CAMERA, POSE, features.bfloat16(), backend=backend)
        torch.testing.assert_close(outputs(view), outputs(expected))


def test_pose_may_be_a_tensor():
    scene, features = make_scene(50, 0)
    with_tensor = render(scene, CAMERA, torch.from_numpy(POSE), features)
    assert torch.equal(outputs(with_tensor), outputs(render(scene, CAMERA, POSE, features)))


def test_images_that_are_no_multiple_of_a_block_agree_with_crops_of_a_large_one():
    scene, _ = make_scene(100, 0, dtype=torch.float64)
    large = render(scene, CAMERA, POSE, kernel='2d', backend='reference')
    for width, height in [(5, 3), (16, 16), (33, 20)]:
        camera = Camera(CAMERA.intrinsics, width, height)
        crop = render(scene, camera, POSE, kernel='2d', backend='reference')
        torch.testing.assert_close(crop.alpha, large.alpha[:height, :width])
        torch.testing.assert_close(crop.depth, large.depth[:height, :width])


def test_projection_and_harmonics_are_those_of_gsplat():
    """Against the pure-torch functions that gsplat keeps beside its CUDA kernels."""
    torch_impl = pytest.importorskip('gsplat.cuda._torch_impl')
    torch_impl_2dgs = pytest.importorskip('gsplat.cuda._torch_impl_2dgs')
    scene, _ = make_scene(300, 8, scale=0.3)
    view = View.from_pose(CAMERA, POSE, scene.means)
    viewmat = torch.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = view.rotation, view.translation
    arguments = (
        viewmat[None],
        torch.from_numpy(gsplat_intrinsics(CAMERA)).float()[None],
        CAMERA.width,
        CAMERA.height,
    )
    covariances, _ = torch_impl._quat_scale_to_covar_preci(scene.quats, scene.scales, True, False)
    radii, means2d, depths, conics, _ = torch_impl._fully_fused_projection(
        scene.means, covariances, *arguments
    )
    splats = project(scene, view, '3d')
    assert set(splats.indices.tolist()) <= set(radii[0].all(dim=-1).nonzero()[:, 0].tolist())
    assert len(splats.indices) > 100
    expected = torch.cat([means2d[0] - 0.5, scene.opacities[:, None], conics[0]], dim=1)
    torch.testing.assert_close(splats.geometry, expected[splats.indices], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(splats.depths, depths[0, splats.indices])
    assert (splats.depths.diff() >= 0).all()

    _, means2d, _, to_pixels, _ = torch_impl_2dgs._fully_fused_projection_2dgs(
        scene.means, scene.quats, scene.scales, *arguments
    )
    splats = project(scene, view, '2d')
    own = splats.geometry[:, 3:].unflatten(1, (3, 3)).clone()
    own[:, :2] += 0.5 * own[:, 2:]  # pixel centres at +0.5
    torch.testing.assert_close(own, to_pixels[0, splats.indices], rtol=1e-3, atol=1e-3)
    centers = splats.geometry[:, :2] + 0.5
    torch.testing.assert_close(centers, means2d[0, splats.indices], rtol=1e-3, atol=1e-2)

    directions = scene.means - view.center
    colors = (torch_impl._spherical_harmonics(3, directions, scene.sh) + 0.5).clamp_min(0)
    torch.testing.assert_close(sh_to_colors(scene.sh, directions), colors)
