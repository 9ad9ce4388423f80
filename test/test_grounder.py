"""The Grounder with the real network (random weights): what must hold whatever it has learned."""

import dataclasses

import numpy as np
import pytest
import torch

from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.grounding.instances import MapSummary
from lift_gs_ros.mapping.chunks import split_into_chunks
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.relations import RelationHead

CHUNK_SIZE = 1.6


@pytest.fixture(scope='module')
def language():
    return load_language_encoder('minilm')


@pytest.fixture
def grounder(language) -> Grounder:
    torch.manual_seed(0)
    config = LiftGSConfig.tiny(language_dim=language.dim)
    settings = GrounderSettings(
        chunk_size=CHUNK_SIZE, chunk_overlap=0.4, score_threshold=0.0, mask_threshold=0.2
    )
    return Grounder(LiftGS(config), language, settings)


def slab(seed: int = 0, count: int = 3000) -> PointCloud:
    """A floor of 3 m x 3 m in four chunks: a side is borders at -0.8, 0.8 and 2.4 m."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform([-0.75, -0.75, 0.05], [2.3, 2.3, 0.3], (count, 3))
    return PointCloud(positions, rng.uniform(0, 1, (count, 3)))


def fill(grounder: Grounder, cloud: PointCloud) -> None:
    for key, chunk in split_into_chunks(cloud, CHUNK_SIZE).items():
        grounder.update(key, chunk)
    grounder.set_map(MapSummary(version=7, voxels=len(cloud), chunks=4, keyframes=3), stamp=42)


def test_a_query_before_the_first_chunk_is_told_that_there_is_no_map(grounder):
    answer = grounder.ground('the red mug')
    assert answer.message == 'no map yet'
    assert answer.instances == []
    assert answer.none_score == 1.0


@pytest.mark.parametrize('query', ['', '  \n'])
def test_a_blank_query_has_no_answer(grounder, query):
    fill(grounder, slab())
    assert grounder.ground(query).message == 'empty query'


@pytest.mark.parametrize('query', ['???', '…', '\N{ROBOT FACE}', '--'])
def test_a_query_without_a_word_has_no_answer(grounder, query):
    fill(grounder, slab())
    assert grounder.ground(query).message == 'the query has no words'


def test_instances_are_made_of_map_points_each_once(grounder):
    cloud = slab()
    fill(grounder, cloud)
    answer = grounder.ground('the red mug next to the sink')
    assert answer.instances, 'with thresholds this low there must be something to check'
    known = {tuple(point) for point in cloud.positions.tolist()}
    for instance in answer.instances:
        points = [tuple(point) for point in instance.points.tolist()]
        assert len(set(points)) == len(points), 'a halo point was answered twice'
        assert set(points) <= known
        np.testing.assert_allclose(instance.box.lower, instance.points.min(axis=0), atol=1e-6)
        np.testing.assert_allclose(instance.box.upper, instance.points.max(axis=0), atol=1e-6)


def test_an_answer_names_its_phrases_its_map_and_its_time(grounder):
    query = 'the red mug next to the sink'
    fill(grounder, slab())
    answer = grounder.ground(query)
    for instance in answer.instances:
        assert query[slice(*instance.span)] == instance.phrase
        assert instance.is_target == (instance.phrase == 'the red mug')
        assert 0 <= instance.score <= 1
    assert (answer.map.version, answer.stamp, answer.frame_id) == (7, 42, 'map')
    assert answer.latency.total_ms >= answer.latency.decode_ms > 0
    order = [(not i.is_target, -i.score) for i in answer.instances]
    assert order == sorted(order)


def test_the_same_query_on_the_same_map_has_the_same_answer(grounder):
    fill(grounder, slab())
    first, second = grounder.ground('the red mug'), grounder.ground('the red mug')
    assert first.to_json()['instances'] == second.to_json()['instances']
    assert first.latency.encode_ms > 0
    assert second.latency.encode_ms == 0


def test_only_changed_chunks_and_neighbours_with_a_changed_halo_are_encoded_again(grounder):
    cloud = slab()
    chunks = split_into_chunks(cloud, CHUNK_SIZE)
    fill(grounder, cloud)
    grounder.encode()
    key = (0, 0, 0)
    positions = chunks[key].positions
    inner = (positions < CHUNK_SIZE / 2 - 0.4).all(axis=1)  # out of every neighbour's halo
    moved = positions.copy()
    moved[inner, 2] += 0.01
    grounder.update(key, PointCloud(moved, chunks[key].colors))
    assert grounder.num_dirty == 1
    grounder.update(key, PointCloud(positions + np.float32(0.01), chunks[key].colors))
    assert grounder.num_dirty == 4
    assert grounder.encode(budget=3) is True
    assert grounder.encode(budget=1) is False


def test_an_answer_names_the_map_that_was_encoded_and_not_one_that_has_only_arrived(grounder):
    fill(grounder, slab())
    assert grounder.ground('the red mug').map.version == 7
    fill(grounder, slab(seed=1))
    grounder.set_map(MapSummary(version=8), stamp=43)
    answer = grounder.ground('the red mug')
    assert (answer.map.version, answer.stamp) == (7, 42)
    grounder.encode(budget=1)
    answer = grounder.ground('the red mug')
    assert (answer.map.version, answer.stamp) == (8, 43)


def test_what_is_asked_in_the_midst_of_an_encoding_is_answered_from_what_was_encoded_before(
    grounder,
):
    fill(grounder, slab())
    breaks: list = []
    grounder.encode(budget=1, between=lambda: breaks.append(grounder.ground('the red mug')))
    assert not breaks, 'there is nothing to answer from'
    grounder.encode()
    before = grounder.ground('the red mug')
    fill(grounder, slab(seed=1))
    grounder.set_map(MapSummary(version=8), stamp=43)
    grounder.encode(between=lambda: breaks.append(grounder.ground('the red mug')))
    first, last = breaks[0], breaks[-1]
    assert (first.map.version, last.map.version) == (7, 8), 'one chunk after the other'
    assert first.to_json()['instances'] == before.to_json()['instances']
    after = grounder.ground('the red mug')
    grounder.clear()
    fill(grounder, slab(seed=1))
    undisturbed = grounder.ground('the red mug')
    assert [i.score for i in after.instances] == [i.score for i in undisturbed.instances]


def test_a_chunk_that_can_not_be_encoded_does_not_hold_up_the_others(grounder):
    cloud = slab()
    far = PointCloud(np.array([[0, 0, 0], [1e5, 0, 0]]), np.zeros((2, 3)))
    grounder.update((-9, 0, 0), far)
    fill(grounder, cloud)
    with pytest.raises(ValueError, match='stray points'):
        grounder.encode(budget=1)
    assert grounder.encode() is False
    assert grounder.ground('the red mug').instances


def test_a_map_of_which_nothing_can_be_encoded_is_said_to_be_so(grounder):
    far = PointCloud(np.array([[0, 0, 0], [1e5, 0, 0]]), np.zeros((2, 3)))
    grounder.update((-9, 0, 0), far)
    with pytest.raises(ValueError, match='stray points'):
        grounder.encode()
    assert grounder.ground('the red mug').message == 'no part of the map could be encoded'


def test_instances_of_one_answer_have_different_numbers(grounder):
    fill(grounder, slab())
    query = 'the red mug next to the red mug'
    for _ in range(2):
        numbers = [instance.instance_id for instance in grounder.ground(query).instances]
        assert len(set(numbers)) == len(numbers) > 1


def test_a_removed_chunk_is_not_answered_with(grounder):
    cloud = slab()
    fill(grounder, cloud)
    grounder.encode()
    for key in split_into_chunks(cloud, CHUNK_SIZE):
        if key[0] == 0:
            grounder.update(key, PointCloud.empty())
    answer = grounder.ground('the red mug')
    assert answer.instances
    assert all((instance.points[:, 0] >= CHUNK_SIZE / 2).all() for instance in answer.instances)


def test_moving_the_map_moves_the_answer_and_nothing_else(language):
    def ask(shift: np.ndarray) -> list:
        torch.manual_seed(0)
        settings = GrounderSettings(chunk_size=64.0, score_threshold=0.0, mask_threshold=0.2)
        config = LiftGSConfig.tiny(language_dim=language.dim)
        grounder = Grounder(LiftGS(config), language, settings)
        cloud = slab()
        grounder.update((0, 0, 0), PointCloud(cloud.positions + np.float32(shift), cloud.colors))
        return grounder.ground('the red mug').instances

    # A whole number of the coarsest voxels (0.8 m); float32 rounds positions a little.
    here, there = ask(np.zeros(3)), ask(np.array([8.0, 16.0, 0.0]))
    assert len(here) == len(there) > 0
    for one, other in zip(here, there):
        assert abs(one.score - other.score) < 1e-2
        np.testing.assert_allclose(one.box.center + [8, 16, 0], other.box.center, atol=0.1)


def test_a_large_map_is_asked_only_where_it_is_most_similar(language):
    torch.manual_seed(0)
    settings = GrounderSettings(
        chunk_size=CHUNK_SIZE, max_chunks=1, score_threshold=0.0, mask_threshold=0.2
    )
    grounder = Grounder(LiftGS(LiftGSConfig.tiny(language_dim=language.dim)), language, settings)
    fill(grounder, slab())
    for instance in grounder.ground('the red mug').instances:
        keys = np.unique(np.floor(instance.points / CHUNK_SIZE + 0.5), axis=0)
        assert len(keys) == 1


@pytest.mark.parametrize(
    ('field', 'value', 'words'),
    [
        ('score_threshold', 1.5, 'score_threshold is 1.5'),
        ('chunk_size', 0.0, 'chunk_size is 0.0'),
        ('max_chunks', 0, 'max_chunks is 0'),
        ('chunk_overlap', 9.0, 'chunk_overlap is 9.0 m'),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, value, words):
    with pytest.raises(ValueError, match=words):
        GrounderSettings(**{field: value})


def fail_to_encode(grounder, monkeypatch, times: int) -> list[int]:
    """Let the next encodings run out of memory; returns the sizes of those that were tried."""
    sizes: list[int] = []
    encode = grounder._model.encode

    def run_out_of_memory(clouds):
        sizes.append(len(clouds[0][0]))
        if len(sizes) <= times:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')
        return encode(clouds)

    monkeypatch.setattr(grounder._model, 'encode', run_out_of_memory)
    return sizes


def test_a_chunk_that_memory_does_not_suffice_for_is_encoded_without_context(grounder, monkeypatch):
    warnings: list[str] = []
    grounder.warn = warnings.append
    fill(grounder, slab())
    sizes = fail_to_encode(grounder, monkeypatch, times=1)
    assert grounder.ground('the red mug').instances
    assert sizes[1] < sizes[0]
    assert len(warnings) == 1
    assert '0.4 m of context' in warnings[0]


def test_without_any_memory_the_model_moves_to_the_cpu_and_says_so(grounder, monkeypatch):
    warnings: list[str] = []
    grounder.warn = warnings.append
    cloud = slab()
    fill(grounder, cloud)
    fail_to_encode(grounder, monkeypatch, times=2)
    answer = grounder.ground('the red mug')
    assert 'on the CPU from now on' in warnings[-1]
    assert grounder.device == 'cpu'
    assert grounder.num_dirty == 0
    undisturbed = Grounder(grounder._model, grounder._language, grounder.settings)
    fill(undisturbed, cloud)
    expected = undisturbed.ground('the red mug')
    assert [i.score for i in answer.instances] == [i.score for i in expected.instances]


def test_a_query_that_runs_out_of_memory_is_answered_on_the_cpu(grounder, monkeypatch):
    warnings: list[str] = []
    grounder.warn = warnings.append
    fill(grounder, slab())
    decode, calls = grounder._model.decode_many, []

    def run_out_of_memory(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        return decode(*arguments)

    monkeypatch.setattr(grounder._model, 'decode_many', run_out_of_memory)
    assert grounder.ground('the red mug').instances
    assert len(warnings) == 1


def test_queries_that_memory_does_not_suffice_for_together_are_decoded_one_by_one(
    grounder, monkeypatch
):
    warnings: list[str] = []
    grounder.warn = warnings.append
    fill(grounder, slab())
    expected = [grounder.ground(query) for query in QUERIES]
    decode, sizes = grounder._model.decode_many, []

    def too_many(tiles, questions):
        sizes.append(len(questions))
        if len(questions) > 1:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        return decode(tiles, questions)

    monkeypatch.setattr(grounder._model, 'decode_many', too_many)
    together = grounder.ground_many(QUERIES)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    assert all(same_answer(one, other) for one, other in zip(together, expected))
    assert warnings == ['2 of 4 questions at once'] + 2 * ['1 of 2 questions at once']


def test_a_model_that_moves_encodes_the_map_anew(grounder, monkeypatch):
    monkeypatch.setattr(grounder._language, 'to', lambda device: None)  # other tests share it
    fill(grounder, slab())
    grounder.ground('the red mug')
    grounder.to('cpu')  # is there already
    assert grounder.num_dirty == 0
    grounder.to('meta')  # stands for a GPU: another device, nothing to compute with
    assert grounder.num_dirty == 4
    assert not grounder._encoded


def test_a_query_longer_than_the_language_encoder_takes_says_so(grounder):
    fill(grounder, slab())
    assert grounder.ground('the red mug ' * 20).message == ''
    answer = grounder.ground('the red mug ' * 120)
    assert 'its end was not read' in answer.message
    assert answer.instances


def same_answer(one, other) -> bool:
    def plain(answer):
        return [(i.phrase, i.is_target, len(i.points)) for i in answer.instances]

    scores = [[i.score for i in answer.instances] for answer in (one, other)]
    return plain(one) == plain(other) and np.allclose(*scores, atol=1e-4)


QUERIES = ['the red mug', 'a chair next to the sink', 'lamp', 'the red mug on the table']


def test_queries_asked_at_once_are_answered_as_one_by_one(grounder, language):
    fill(grounder, slab())
    together = grounder.ground_many([*QUERIES, ' '])
    assert together[-1].message == 'empty query'
    for query, answer in zip(QUERIES, together):
        assert answer.query == query
        assert answer.instances
        assert same_answer(answer, grounder.ground(query))


def test_only_answers_whose_chunks_changed_are_given_again(grounder):
    grounder.settings = dataclasses.replace(grounder.settings, max_chunks=1)
    cloud = slab()
    fill(grounder, cloud)
    answers = grounder.ground_many(QUERIES)
    assert all(new is old for new, old in zip(grounder.ground_again(answers), answers))
    looked_at = [{key for key, _ in answer.basis[1]} for answer in answers]
    [changed] = looked_at[0]
    # Recoloured away from the borders: no other chunk is encoded again.
    chunk = split_into_chunks(cloud, CHUNK_SIZE)[changed]
    corner = (np.array(changed) - 0.5) * CHUNK_SIZE
    inner = (np.abs(chunk.positions - corner - CHUNK_SIZE / 2) < CHUNK_SIZE / 2 - 0.4).all(axis=1)
    moved = chunk.positions.copy()
    moved[inner, 2] += 0.01
    grounder.update(changed, PointCloud(moved, chunk.colors))
    grounder.set_map(MapSummary(version=8), stamp=43)
    assert grounder.num_dirty == 1
    grounder.encode()
    again = grounder.ground_again(answers)
    for before, after, keys in zip(answers, again, looked_at):
        now = {key for key, _ in after.basis[1]}
        assert (after is before) == (changed not in keys | now)
        assert after.map.version == (7 if after is before else 8)
    assert again[0] is not answers[0]


def test_a_standing_query_about_the_camera_is_answered_again_where_that_has_moved(shipped):
    shipped.clear()
    shipped.update((0, 0, 0), PointCloud(*red_box_on_grey_floor()))
    queries = ['the nearest red cube', 'what is next to me?', 'the red cube']
    shipped.camera = np.array([0.5, 0.0, 1.0])
    answers = shipped.ground_many(queries)
    shipped.camera = np.array([0.5, 0.0, 1.0])
    assert all(new is old for new, old in zip(shipped.ground_again(answers), answers))
    shipped.camera = np.array([1.5, 0.0, 1.0])
    again = shipped.ground_again(answers)
    shipped.camera = None
    assert [new is old for new, old in zip(again, answers)] == [False, False, True]


def test_on_a_large_map_what_is_nearest_is_looked_for_around_the_camera(language):
    torch.manual_seed(0)
    model = LiftGS(LiftGSConfig.tiny(language_dim=language.dim))
    settings = GrounderSettings(chunk_size=CHUNK_SIZE, chunk_overlap=0.0, max_chunks=1)
    grounder = Grounder(model, language, settings, RelationHead.load('minilm'))
    for i in range(12):
        shift = np.float32([i * CHUNK_SIZE, 0, 0])
        cloud = slab(i, 300)
        inner = (np.abs(cloud.positions[:, :2]) < CHUNK_SIZE / 2).all(axis=1)
        grounder.update((i, 0, 0), PointCloud(cloud.positions[inner] + shift, cloud.colors[inner]))
    for x in (0, 11):
        grounder.camera = np.array([x * CHUNK_SIZE, 0.0, 1.0])
        plain, nearest = grounder.ground_many(['the chair', 'the chair closest to me'])
        assert len(plain.basis[1]) == 1
        around = {key[0] for key, _ in nearest.basis[0][1]}
        assert around >= set(range(min(x, 3), max(x, 8) + 1))
        assert len(around) <= 10


def test_changed_settings_give_all_answers_again(grounder):
    fill(grounder, slab())
    answers = grounder.ground_many(QUERIES)
    grounder.settings = dataclasses.replace(grounder.settings, score_threshold=0.9)
    assert not any(new is old for new, old in zip(grounder.ground_again(answers), answers))


@pytest.fixture(scope='module')
def shipped():
    return Grounder.load('', 'cpu', GrounderSettings(score_threshold=0.2))


def red_box_on_grey_floor() -> tuple[np.ndarray, np.ndarray]:
    """Positions and colours (P, 3)."""
    rng = np.random.default_rng(0)
    floor = rng.uniform([-2.0, -2.0, -0.01], [2.0, 2.0, 0.01], (6000, 3))
    box = rng.uniform([0.3, 0.3, 0.05], [0.9, 0.9, 0.6], (6000, 3))
    shell = (np.abs(box - [0.6, 0.6, 0.325]) > np.array([0.27, 0.27, 0.25])).any(axis=1)
    positions = np.concatenate([floor, box[shell]])
    colors = np.full_like(positions, 0.55)
    colors[len(floor) :] = [0.8, 0.1, 0.1]
    return positions, colors


def test_an_object_keeps_its_number_in_several_queries_while_the_map_grows(shipped):
    """The weights that ship, on a red box on a grey floor that is seen bit by bit."""
    shipped.clear()
    positions, colors = red_box_on_grey_floor()
    truth = Box.from_corners(np.array([0.3, 0.3, 0.05]), np.array([0.9, 0.9, 0.6]))
    queries = ['the red cube', 'the red stool', 'a red cube']
    numbers = []
    for seen in (0.9, 1.4, 2.1):  # metres of x that have been mapped
        keep = positions[:, 0] < seen
        shipped.update((0, 0, 0), PointCloud(positions[keep], colors[keep]))
        shipped.encode()
        for answer in shipped.ground_many(queries):
            # It may be answered twice, as its top and its sides: the best answer comes first.
            own = [i.instance_id for i in answer.targets if i.box.iou(truth) > 0.5]
            numbers += own[:1]
    assert len(numbers) >= 6, 'the box is hardly found: the test says nothing'
    assert len(set(numbers)) == 1


def test_everything_on_something_is_found_and_named(shipped, monkeypatch):
    """The weights that ship, in two rooms of the validation split."""
    from lift_gs_ros.simulation.expressions import make_expressions
    from training.evaluation.benchmark import give_map
    from training.evaluation.rooms import evaluation_room

    monkeypatch.setattr(shipped, 'settings', shipped.settings)  # give_map changes them
    right, answered, names = 0, 0, set()
    for seed in (8, 24):
        room = evaluation_room(seed, 'val')
        expressions = make_expressions(room.room, 0, ('several',), room.visible_ids)
        [asked] = [e for e in expressions if e.relation == 'on']
        give_map(shipped, room.cloud)
        found = [answer for answer in shipped.ground(asked.text).targets if answer.score > 0.5]
        truth = [room.box(number) for number in asked.target_ids]
        right += sum(any(answer.box.iou(box) > 0.25 for answer in found) for box in truth)
        answered += len(found)
        begin, end = asked.target_span
        assert {answer.span for answer in found} == {(begin, end)}
        names |= {answer.phrase for answer in found}
    assert right >= 3
    assert answered <= right + 3
    assert 'everything' not in names
    assert names & {'pillow', 'book', 'laptop', 'monitor'}
