"""What runs on a GPU, on a pretended one: every tensor where it should be, the same answers."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from pretended_gpu import pretended_gpu
from splat_scenes import CAMERA, make_scene

from lift_gs_ros.geometry import Camera, PointCloud, look_at
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.mapping.chunks import split_into_chunks
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.naming import Naming
from lift_gs_ros.model.relations import RelationHead
from lift_gs_ros.splat.render import _why_no_gsplat, render

SENTENCE = 'the red mug next to the sink'
CHUNK_SIZE = 1.6


@pytest.fixture
def without_cuda_toolkit(monkeypatch):
    """As gsplat's wheel is where there is no nvcc: all of Python, no kernels."""
    backend: object = ModuleType('gsplat.cuda._backend')
    monkeypatch.setattr(backend, '_C', None, raising=False)
    monkeypatch.setitem(sys.modules, 'gsplat.cuda._backend', backend)
    _why_no_gsplat.cache_clear()
    yield
    _why_no_gsplat.cache_clear()


@pytest.fixture(scope='module')
def language():
    return load_language_encoder('minilm')


def filled_grounder(language, width: float) -> Grounder:
    torch.manual_seed(0)
    model = LiftGS(LiftGSConfig.tiny(language_dim=language.dim), 'torch').eval()
    settings = GrounderSettings(
        chunk_size=CHUNK_SIZE, chunk_overlap=0.4, score_threshold=0.0, mask_threshold=0.2
    )
    naming = Naming(model, language)
    grounder = Grounder(model, language, settings, RelationHead(language.dim).eval(), naming)
    rng = np.random.default_rng(0)
    positions = rng.uniform([-0.7, -0.7, 0.1], [width, 0.7, 0.3], (1500, 3))
    cloud = PointCloud(positions, rng.uniform(0, 1, (1500, 3)))
    for key, chunk in split_into_chunks(cloud, CHUNK_SIZE).items():
        grounder.update(key, chunk)
    return grounder


@pytest.mark.parametrize('width', [0.7, 3.9], ids=['one chunk', 'three chunks'])
def test_a_gpu_answers_and_draws_what_a_cpu_does(language, width, without_cuda_toolkit):
    camera = Camera.from_focal(20, 20, 15.5, 11.5, 32, 24)
    pose = look_at((0, -3, 2), (0, 0, 0))
    grounder = filled_grounder(language, width)
    expected, picture = grounder.ground(SENTENCE), grounder.render(camera, pose)
    with pretended_gpu():
        grounder.to('cuda')
        answer = grounder.ground(SENTENCE)
        with pytest.warns(UserWarning, match='without gsplat.*install the CUDA toolkit'):
            drawn = grounder.render(camera, pose)
        assert grounder.device == 'cuda'
    language.to('cpu')
    assert len(answer.instances) == len(expected.instances) > 0
    for ours, theirs in zip(answer.instances, expected.instances):
        np.testing.assert_allclose(ours.points, theirs.points, atol=1e-6)
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)
    np.testing.assert_allclose(drawn.astype(int), picture.astype(int), atol=1)


def test_gsplat_without_its_kernels_is_refused_with_what_to_install(without_cuda_toolkit):
    scene, _ = make_scene(5, 0)
    with (
        pretended_gpu(),
        pytest.warns(UserWarning, match='many times slower'),
        pytest.raises(RuntimeError, match="'gsplat' cannot run: .*install the CUDA toolkit"),
    ):
        render(scene.to('cuda'), CAMERA, np.eye(4), backend='gsplat')
