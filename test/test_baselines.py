import numpy as np
import pytest

from lift_gs_ros.geometry import Camera, PointCloud, look_at, transform_points
from lift_gs_ros.mapping.chunks import split_into_chunks
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.simulation.rooms import make_room
from training.baselines.chance import ChanceGrounder, training_sizes
from training.baselines.lifting import (
    LiftingGrounder,
    LiftingSettings,
    TeacherView,
    embed,
    lift_features,
    teacher_views,
)
from training.data.labels import TeacherErrors
from training.data.room_cache import fixed_weights
from training.evaluate import evaluate

CAMERA = Camera.from_focal(60, 60, 39.5, 29.5, 80, 60)
CAPTIONS = ['red chair', 'blue sofa', 'wall']
WALL = 2.0  # metres in front of the camera


@pytest.fixture(scope='module')
def language():
    return load_language_encoder()


def _view(captions=CAPTIONS) -> TeacherView:
    """A wall at y = 2 with a chair on its left, a sofa on its right, and a smaller chair below."""
    depth = np.full((60, 80), WALL, np.float32)
    semantics = np.full((60, 80), 2, np.int16)
    semantics[5:30, 8:28] = 0
    semantics[5:30, 52:72] = 1
    semantics[42:54, 34:46] = 0
    return TeacherView(CAMERA, look_at([0, 0, 0], [0, 1, 0]), depth, semantics, captions)


def _wall_points(view: TeacherView, row, column) -> np.ndarray:
    surface = view.camera.unproject(view.depth)[row, column].reshape(-1, 3)
    return transform_points(view.world_from_camera, surface).astype(np.float32)


def _grounder(view, language, **lifting) -> LiftingGrounder:
    grounder = LiftingGrounder([view], language, LiftingSettings(**lifting))
    points = _wall_points(view, slice(None), slice(None))
    cloud = PointCloud(points, np.zeros_like(points))
    for key, chunk in split_into_chunks(cloud, grounder.settings.chunk_size).items():
        grounder.update(key, chunk)
    grounder.encode()
    return grounder


def test_a_point_gets_the_caption_of_its_pixel_only_where_it_is_visible(language):
    view = _view()
    on_chair = _wall_points(view, 15, 15)[0]
    behind, before, outside, backwards = (
        on_chair * 1.2, on_chair * 0.8, on_chair + [9, 0, 0], -on_chair
    )  # fmt: skip
    points = np.array([on_chair, on_chair * 1.03, behind, before, outside, backwards], np.float32)
    features = lift_features(points, [view], language, LiftingSettings())
    chair = embed('red chair', language)
    assert features @ chair == pytest.approx([1, 1, 0, 0, 0, 0], abs=1e-5)


def test_pixels_without_depth_or_mask_say_nothing(language):
    view = _view()
    points = _wall_points(view, 15, slice(10, 13))
    view.depth[15, 10] = 0
    view.semantics[15, 11] = -1
    lengths = np.linalg.norm(lift_features(points, [view], language, LiftingSettings()), axis=1)
    assert lengths == pytest.approx([0, 0, 1], abs=1e-5)


def test_views_that_disagree_are_averaged(language):
    views = [_view(), _view(), _view(['brown chair', 'blue sofa', 'wall'])]
    points = _wall_points(views[0], 15, slice(15, 16))
    feature = lift_features(points, views, language, LiftingSettings())[0]
    mean = 2 * embed('red chair', language) + embed('brown chair', language)
    assert feature == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_splatted_features_are_the_closed_form_of_the_splat_feature_solver(language):
    view = _view()
    front = _wall_points(view, slice(None), slice(None))
    points = np.concatenate([front, (1.5 * front)[::7]])
    lifted = lift_features(points, [view], language, LiftingSettings(aggregation='splat'))
    weights = fixed_weights(points, view.camera, view.world_from_camera)
    pixels = np.stack([embed(text, language) for text in CAPTIONS])[view.semantics.ravel()]
    sums = np.asarray(weights.sum(axis=0))
    seen = sums > 0
    solved = (weights.T @ pixels)[seen] / sums[seen, None]
    solved /= np.linalg.norm(solved, axis=1, keepdims=True)
    np.testing.assert_allclose(lifted[seen], solved, atol=1e-4)
    assert seen[: len(front)].mean() > 0.9
    assert (sums[len(front) :] < 0.2).all()  # hidden by the wall


@pytest.mark.parametrize('aggregation', ['projection', 'splat'])
def test_a_query_is_answered_with_each_part_that_resembles_it(language, aggregation):
    view = _view()
    grounder = _grounder(view, language, aggregation=aggregation)
    answer = grounder.ground('find the red chair')
    assert [instance.phrase for instance in answer.targets] == ['the red chair'] * 2
    large = max(answer.targets, key=lambda instance: len(instance.points))
    truth = _wall_points(view, slice(5, 30), slice(8, 28))
    assert large.box.lower == pytest.approx(truth.min(axis=0), abs=0.05)
    assert large.box.upper == pytest.approx(truth.max(axis=0), abs=0.05)
    assert large.box.size == pytest.approx(np.ptp(large.points, axis=0), abs=1e-5)


def test_anchors_are_answered_but_are_not_targets(language):
    answer = _grounder(_view(), language).ground('the sofa next to the red chair')
    assert {(i.phrase, i.is_target) for i in answer.instances} == {
        ('the sofa', True),
        ('the red chair', False),
    }
    assert answer.instances[0].is_target


def test_what_is_absent_has_the_higher_none_score(language):
    grounder = _grounder(_view(), language)
    present, absent = grounder.ground('the red chair'), grounder.ground('the piano')
    assert present.none_score < 0.5 < absent.none_score
    assert not absent.instances  # below the robot's own threshold


def test_an_article_makes_no_difference(language):
    assert embed('the red chair', language) == pytest.approx(embed('red chair', language))
    assert embed('All the red chairs', language) == pytest.approx(embed('red chairs', language))
    assert np.isfinite(embed('the', language)).all()


def test_without_a_map_or_a_mask_nothing_is_found(language):
    for views in ([_view()], [_view([])]):
        views[0].semantics[:] = -1
        grounder = LiftingGrounder(views, language)
        grounder.encode()
        assert grounder.ground('the chair').none_score == 1
    grounder.update((0, 0, 0), PointCloud(np.ones((20, 3)), np.ones((20, 3))))
    grounder.encode()
    assert grounder.ground('the chair').instances == []
    assert ChanceGrounder().ground('the chair').none_score == 1


@pytest.mark.parametrize(
    ('name', 'value'),
    [('views', 0), ('min_points', 0), ('aggregation', 'mean'), ('occlusion_tolerance', 0.0),
     ('relative_threshold', 0.0)],
)  # fmt: skip
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        LiftingSettings(**{name: value})


def test_the_teacher_says_the_same_again_and_errs_as_it_is_told():
    room = make_room(2, 'val')
    first, again = teacher_views(room, 2), teacher_views(room, 2)
    for one, other in zip(first, again):
        np.testing.assert_array_equal(one.semantics, other.semantics)
        assert one.captions == other.captions
        assert one.semantics.max() == len(one.captions) - 1
    blind = teacher_views(room, 1, TeacherErrors(missed=1.0))[0]
    assert blind.captions == []
    assert (blind.semantics == -1).all()


def _chance(seed: int) -> ChanceGrounder:
    points = np.random.default_rng(0).uniform(-2, 2, (5000, 3))
    grounder = ChanceGrounder(seed)
    grounder.update((0, 0, 0), PointCloud(points, points * 0))
    grounder.encode()
    return grounder


def test_chance_answers_with_an_object_sized_box_around_a_map_point():
    answer = _chance(0).ground('chair. lamp. door. sofa. bed')
    assert answer.instances
    assert all(instance.score >= 0.5 for instance in answer.instances)
    for instance in answer.instances:
        assert (training_sizes() == instance.box.size).all(axis=1).any()
        assert instance.box.contains(instance.points).all()
        assert np.abs(instance.points - instance.box.center).max(axis=1).min() < 1e-6


def test_chance_is_fixed_by_its_seed():
    first, same, other = (_chance(seed).ground('the red chair').none_score for seed in (0, 0, 1))
    assert first == same != other


def test_lifting_beats_chance_in_the_benchmark_and_both_fill_its_layout():
    lifting, chance = (evaluate('', 0, 1, 'val', baseline=name) for name in ('lifting', 'chance'))
    assert {name: set(part) for name, part in lifting.items()} == {
        name: set(part) for name, part in chance.items()
    }
    assert lifting['colour_nouns']['acc25'] > chance['colour_nouns']['acc25']
    assert lifting['nouns']['AP25'] > chance['nouns']['AP25'] + 0.2
    with pytest.raises(ValueError, match="'guess'"):
        evaluate('', 0, 1, 'val', baseline='guess')
