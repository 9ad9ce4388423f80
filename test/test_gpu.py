"""What runs on a GPU, on a pretended one: every tensor where it should be, the same answers."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from pretended_gpu import pretended_gpu
from splat_scenes import CAMERA, make_scene
from training_rooms import three_boxes, two_boxes

from lift_gs_ros.geometry import Camera, PointCloud, look_at
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.mapping.chunks import split_into_chunks
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.naming import Naming
from lift_gs_ros.model.relations import RelationHead
from lift_gs_ros.splat.render import _why_no_gsplat, render
from training.data.labelled_sample import LabelledSampleSettings, make_labelled_sample
from training.data.sample import SampleSettings, make_sample
from training.engine import Batch
from training.labelled_objective import LabelledObjective, LabelledWeights
from training.objective import ObjectiveWeights, PretrainObjective

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
        assert grounder.device == 'cuda:0'
        grounder.to('cuda')
        assert grounder.num_dirty == 0, 'encoded anew, though nothing has moved'
        language.to('cpu')  # for the other tests
    assert len(answer.instances) == len(expected.instances) > 0
    for ours, theirs in zip(answer.instances, expected.instances):
        np.testing.assert_allclose(ours.points, theirs.points, atol=1e-6)
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)
    np.testing.assert_allclose(drawn.astype(int), picture.astype(int), atol=1)


def mean_loss(objective: torch.nn.Module, sample: object) -> float:
    return objective(Batch([sample], np.random.default_rng(0), progress=1.0))[0].item()


@pytest.mark.filterwarnings('ignore:Gaussians are drawn without gsplat')
@pytest.mark.parametrize('stage', ['pretraining', 'fine-tuning'])
def test_the_losses_of_a_training_on_a_gpu_are_those_on_a_cpu(
    language, without_cuda_toolkit, stage
):
    torch.manual_seed(0)
    config = LiftGSConfig.tiny(language_dim=language.dim, proposals=24, max_proposals=24)
    model = LiftGS(config, 'torch')
    rng = np.random.default_rng(0)
    if stage == 'pretraining':
        sample = make_sample(two_boxes(), SampleSettings(min_points=10, views=1), 0.05, rng)
        objective = PretrainObjective(model, language, ObjectiveWeights())
    else:
        sample = make_labelled_sample(three_boxes(), LabelledSampleSettings(), 0.05, rng)
        objective = LabelledObjective(model, language, LabelledWeights())
    expected = mean_loss(objective, sample)
    with pretended_gpu():
        assert mean_loss(objective.to('cuda'), sample) == pytest.approx(expected, rel=1e-4)


def test_gsplat_without_its_kernels_is_refused_with_what_to_install(without_cuda_toolkit):
    scene, _ = make_scene(5, 0)
    with (
        pretended_gpu(),
        pytest.warns(UserWarning, match='many times slower'),
        pytest.raises(RuntimeError, match="'gsplat' cannot run: .*install the CUDA toolkit"),
    ):
        render(scene.to('cuda'), CAMERA, np.eye(4), backend='gsplat')
