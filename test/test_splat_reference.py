"""The reference renderer against finite differences, geometry and closed forms."""

import numpy as np
import pytest
import torch
from scipy.special import lpmv
from splat_scenes import CAMERA, POSE, make_scene

from lift_gs_ros.geometry import Camera, look_at, transform_points
from lift_gs_ros.splat.gaussians import Gaussians
from lift_gs_ros.splat.projection import View, project
from lift_gs_ros.splat.reference import composite
from lift_gs_ros.splat.render import render
from lift_gs_ros.splat.spherical_harmonics import colors_to_sh, sh_basis, sh_to_colors

NAMES = ('means', 'quats', 'scales', 'opacities', 'sh', 'features')
KERNELS = pytest.mark.parametrize('kernel', ['3d', '2d'])


def single(mean=(0.0, 0.0, 2.0), opacity=0.9, scale=0.1, quat=(1.0, 0, 0, 0), color=(1, 0.5, 0.2)):
    def row(value):
        return torch.from_numpy(np.array([value], dtype=np.float64))

    scales = row(np.broadcast_to(scale, 3))
    return Gaussians(row(mean), row(quat), scales, row(opacity), colors_to_sh(row(color)))


@KERNELS
@pytest.mark.parametrize('backend', ['reference', 'compiled'])
def test_gradients_of_everything_match_finite_differences(kernel, backend):
    if backend == 'compiled':
        pytest.importorskip('numba')
    scene, features = make_scene(4, seed=1, channels=2, dtype=torch.float64, scale=0.5)
    tensors = [getattr(scene, name) for name in NAMES[:-1]] + [features]
    camera = Camera.from_focal(20, 21, 7.3, 5.6, 16, 12)
    generator = torch.Generator().manual_seed(0)
    sums = torch.randn(7 * 192, 6, generator=generator, dtype=torch.float64)  # a Jacobian of 6 rows

    def draw(*inputs):
        view = render(Gaussians(*inputs[:-1]), camera, POSE, inputs[-1], kernel, backend)
        images = view.color, view.features, view.alpha, view.depth
        return torch.cat([image.flatten() for image in images]) @ sums

    for name, tensor in zip(NAMES, tensors):
        tensor.requires_grad_()
        assert torch.autograd.gradcheck(draw, tensors), name
        gradient = torch.autograd.grad(draw(*tensors).sum(), tensor)[0]
        if name == 'scales' and kernel == '2d':
            gradient = gradient[:, :2]  # a surfel has no thickness
        assert (gradient != 0).any(), f'nothing reaches {name}'
        tensor.requires_grad_(False)


@KERNELS
def test_gaussian_is_brightest_where_the_camera_projects_its_centre(kernel):
    pose = look_at((1.0, 2.0, 1.5), (3.0, 3.0, 0.5))
    camera = Camera.from_focal(60, 64, 21.2, 14.7, 40, 30)
    pixel = np.array([27, 9])  # a pixel's centre is at integers
    ray = np.linalg.inv(camera.intrinsics) @ [*pixel, 1.0]
    mean = transform_points(pose, 2.5 * ray)
    np.testing.assert_allclose(camera.project(2.5 * ray)[0], pixel)
    normal_to_view = np.array([0.2, 0.1, 0.3, 0.9])
    view = render(single(mean, scale=0.03, quat=normal_to_view), camera, pose, None, kernel)
    v, u = divmod(int(view.alpha.argmax()), camera.width)
    assert (u, v) == tuple(pixel)
    assert view.alpha.max() == pytest.approx(0.9, abs=1e-6 if kernel == '3d' else 2e-3)
    assert view.normalised().depth[v, u] == pytest.approx(2.5, abs=1e-9)


def test_isotropic_gaussian_has_the_profile_of_its_projected_covariance():
    camera = Camera.from_focal(50, 50, 10, 10, 21, 21)
    view = render(single(scale=0.08), camera, np.eye(4), backend='reference')
    variance = (50 * 0.08 / 2) ** 2 + 0.3
    v, u = np.indices((21, 21))
    expected = 0.9 * np.exp(-((u - 10) ** 2 + (v - 10) ** 2) / (2 * variance))
    expected[expected < 1 / 255] = 0
    np.testing.assert_allclose(view.alpha, expected, atol=1e-12)
    np.testing.assert_allclose(view.color[..., 1], 0.5 * expected, atol=1e-12)


def test_surfel_seen_frontally_has_the_profile_of_its_disc():
    camera = Camera.from_focal(50, 50, 10, 10, 21, 21)
    view = render(single(scale=(0.08, 0.12, 9)), camera, np.eye(4), kernel='2d')
    v, u = np.indices((21, 21)) - 10.0
    expected = 0.9 * np.exp(-(u**2 / (2 * 2.0**2) + v**2 / (2 * 3.0**2)))
    expected[expected < 1 / 255] = 0
    np.testing.assert_allclose(view.alpha, expected, atol=1e-12)


def test_surfel_is_cut_by_rays_at_the_plane_of_its_disc():
    """A tilted disc, pixel by pixel, from the intersection of ray and plane in the world."""
    camera = Camera.from_focal(50, 50, 10, 10, 21, 21)
    angle = 0.9
    surfel = single(scale=0.4, quat=(np.cos(angle / 2), np.sin(angle / 2), 0, 0))
    view = render(surfel, camera, np.eye(4), kernel='2d')
    tangent = np.array([0, np.cos(angle), np.sin(angle)])
    normal = np.array([0, -np.sin(angle), np.cos(angle)])
    rays = camera.unproject(np.ones((21, 21)))
    hits = rays * (normal[2] * 2 / (rays @ normal))[..., None] - [0, 0, 2]
    expected = 0.9 * np.exp(-0.5 * (hits[..., 0] ** 2 + (hits @ tangent) ** 2) / 0.4**2)
    expected[expected < 1 / 255] = 0
    low_pass = np.zeros((21, 21), bool)
    low_pass[9, 10] = True  # the middle of the projected ellipse, which is not its centre's image
    np.testing.assert_allclose(view.alpha[~low_pass], expected[~low_pass], atol=1e-12)
    assert view.alpha[9, 10] > expected[9, 10]


def test_nearer_gaussian_hides_the_farther_one_in_any_order():
    near, far = single((0, 0, 1.0), 0.6, 0.05, color=(1, 0, 0)), single((0, 0, 3.0), 0.5, 0.3)
    camera = Camera.from_focal(30, 30, 5, 5, 11, 11)
    for order in ([near, far], [far, near]):
        both = Gaussians(*(torch.cat([getattr(g, name) for g in order]) for name in NAMES[:-1]))
        view = render(both, camera, np.eye(4), backend='reference')
        weights = np.array([0.6, 0.4 * 0.5])
        np.testing.assert_allclose(view.color[5, 5], weights @ [[1, 0, 0], [1, 0.5, 0.2]])
        assert view.alpha[5, 5] == pytest.approx(weights.sum())
        assert view.depth[5, 5] == pytest.approx(weights @ [1.0, 3.0])


@KERNELS
def test_leaving_out_what_is_out_of_bounds_changes_nothing(kernel):
    scene, _ = make_scene(60, seed=0, dtype=torch.float64, scale=0.4)
    splats = project(scene, View.from_pose(CAMERA, POSE, scene.means), kernel)
    in_bounds = composite(splats, splats.depths[:, None])
    splats.bounds[:, :2] = 0
    splats.bounds[:, 2:] = 1000
    for bounded, everywhere in zip(in_bounds, composite(splats, splats.depths[:, None])):
        torch.testing.assert_close(bounded, everywhere, rtol=0, atol=1e-12)


def test_alpha_stays_below_one_and_hidden_gaussians_do_not_count():
    wall = [single((0, 0, 1 + 0.1 * i), 1.0, 5.0, color=(i == 0, i == 1, i == 2)) for i in range(4)]
    stack = Gaussians(*(torch.cat([getattr(g, name) for g in wall]) for name in NAMES[:-1]))
    view = render(stack, Camera.from_focal(30, 30, 5, 5, 11, 11), np.eye(4), backend='reference')
    # Alpha is clamped to 0.999: the second one would leave 1e-6 < 1e-4, so it is not drawn.
    assert view.alpha[5, 5] == pytest.approx(0.999)
    np.testing.assert_allclose(view.color[5, 5], [0.999, 0, 0], atol=1e-12)


def test_background_fills_what_the_gaussians_leave():
    camera = Camera.from_focal(30, 30, 5, 5, 11, 11)
    background = torch.tensor([0.2, 0.4, 0.6])
    view = render(single(color=(0, 0, 0), opacity=0.7), camera, np.eye(4), background=background)
    np.testing.assert_allclose(view.color[0, 0], background, atol=1e-7)
    np.testing.assert_allclose(view.color[5, 5], 0.3 * background, atol=1e-7)


def _real_harmonic(degree, order, directions):
    """Real harmonics from associated Legendre functions (scipy's have Condon-Shortley's phase)."""
    m = abs(order)
    x, y, z = directions.T
    factor = np.prod(np.arange(degree - m + 1, degree + m + 1), dtype=float)
    value = np.sqrt((2 * degree + 1) / (4 * np.pi) / factor) * lpmv(m, degree, z)
    azimuth = np.arctan2(y, x)
    if order == 0:
        return value
    return np.sqrt(2) * value * (np.cos(m * azimuth) if order > 0 else np.sin(m * azimuth))


def test_harmonics_are_the_real_spherical_harmonics_in_order():
    directions = np.random.default_rng(0).normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    basis = sh_basis(torch.from_numpy(directions)).numpy()
    index = 0
    for degree in range(4):
        for order in range(-degree, degree + 1):
            expected = _real_harmonic(degree, order, directions)
            np.testing.assert_allclose(basis[:, index], expected, atol=1e-12)
            index += 1


def test_colours_survive_the_way_to_harmonics_and_back():
    colors = torch.rand(10, 3, dtype=torch.float64)
    torch.testing.assert_close(
        sh_to_colors(colors_to_sh(colors), torch.randn(10, 3).double()), colors
    )


def test_colour_depends_on_the_side_from_which_it_is_seen():
    gaussian = single(mean=(0.0, 0.0, 0.0))
    gaussian.sh[0, 2, 0] = 0.5  # red grows with z of the direction of view
    camera = Camera.from_focal(30, 30, 5, 5, 11, 11)
    above = render(gaussian, camera, look_at((0, 0, 2), (0, 0, 0), up=(0, 1, 0)))
    below = render(gaussian, camera, look_at((0, 0, -2), (0, 0, 0), up=(0, 1, 0)))
    difference = 0.9 * 2 * 0.5 * np.sqrt(3 / (4 * np.pi))
    # Seen from above the direction of view is -z; 1 + ... is not clamped from above.
    assert below.color[5, 5, 0] - above.color[5, 5, 0] == pytest.approx(difference)
