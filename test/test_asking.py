"""A large map is asked part by part, and what holds of a part is not asked again."""

import numpy as np
import pytest
import torch
from test_grounder import same_answer

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.grounding import asking
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.grounding.sentences import Sentence
from lift_gs_ros.mapping.chunks import split_into_chunks
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.relations import RelationHead

CHUNK_SIZE = 2.4
CHUNKS = 6
QUERIES = ['the red mug', 'a chair next to the sink', 'lamp', 'all red chairs']


@pytest.fixture(autouse=True)
def every_map_is_large(monkeypatch):
    monkeypatch.setattr(asking, 'TOKENS_OF_ROOMS', 10)


@pytest.fixture(scope='module')
def language():
    return load_language_encoder('minilm')


def make(language, **changes) -> Grounder:
    """Masks of half a metre here and there, as training makes them."""
    torch.manual_seed(1)
    model = LiftGS(LiftGSConfig.tiny(language_dim=language.dim))
    with torch.no_grad():
        model.decoder.seeds.placement.weight.normal_(std=0.02)
        model.decoder.seeds.placement.bias[3] = -0.7
        model.mask_bias += 1.5
    settings = {'chunk_size': CHUNK_SIZE, 'chunk_overlap': 0.4, 'score_threshold': 0.0}
    relations = RelationHead.load('minilm')
    return Grounder(model, language, GrounderSettings(**settings | changes), relations)


def corridor(seed: int = 0) -> dict:
    """Six chunks in a row."""
    rng = np.random.default_rng(seed)
    length = CHUNKS * CHUNK_SIZE
    low, high = [-CHUNK_SIZE / 2, -0.9, 0.0], [length - CHUNK_SIZE / 2 - 1e-3, 0.9, 0.9]
    positions = rng.uniform(low, high, (6000, 3)).astype(np.float32)
    cloud = PointCloud(positions, rng.uniform(0, 1, (len(positions), 3)))
    return split_into_chunks(cloud, CHUNK_SIZE)


def repainted(cloud: PointCloud, key) -> PointCloud:
    """Another colour in the middle, where no neighbour's context is."""
    middle = np.abs(cloud.positions[:, 0] - key[0] * CHUNK_SIZE) < 0.6
    return PointCloud(cloud.positions, np.where(middle[:, None], 0.9, cloud.colors))


def fill(grounder: Grounder, chunks: dict) -> None:
    for key, cloud in chunks.items():
        grounder.update(key, cloud)
    grounder.encode()


def count_questions(grounder: Grounder, monkeypatch) -> list[int]:
    """Note the number of questions of each decoding from now on."""
    decode, counts = grounder._model.decode_many, []

    def counted(tiles, questions):
        counts.append(len(questions))
        return decode(tiles, questions)

    monkeypatch.setattr(grounder._model, 'decode_many', counted)
    return counts


@pytest.mark.parametrize('number', [0, 2, 5])
def test_after_a_change_the_answers_are_those_of_somebody_who_never_asked_before(
    language, monkeypatch, number
):
    grounder, chunks = make(language), corridor()
    fill(grounder, chunks)
    answers = grounder.ground_many(QUERIES)
    key = (number, 0, 0)
    chunks[key] = repainted(chunks[key], key)
    grounder.update(key, chunks[key])
    grounder.encode()
    counts = count_questions(grounder, monkeypatch)
    again = grounder.ground_again(answers)
    newcomer = make(language)
    fill(newcomer, chunks)
    others = count_questions(newcomer, monkeypatch)
    for query, answer in zip(QUERIES, again):
        assert answer.instances
        assert same_answer(answer, newcomer.ground(query))
    assert not all(same_answer(answer, before) for answer, before in zip(again, answers))
    assert 0 < sum(counts) < 0.7 * sum(others)


def test_what_has_not_changed_is_not_asked_again(language, monkeypatch):
    grounder = make(language)
    fill(grounder, corridor())
    counts = count_questions(grounder, monkeypatch)
    first = grounder.ground('the red mug')
    assert same_answer(first, grounder.ground('the red mug'))
    assert counts[0] >= CHUNKS / 2
    assert counts[1:] == [0]


def test_a_chunk_that_comes_or_goes_is_noticed_around_it(language):
    grounder, chunks = make(language), corridor()
    last = chunks.pop((CHUNKS - 1, 0, 0))
    fill(grounder, chunks)
    grounder.ground_many(QUERIES)
    fill(grounder, {(CHUNKS - 1, 0, 0): last})
    whole = make(language)
    fill(whole, chunks | {(CHUNKS - 1, 0, 0): last})
    for query in QUERIES:
        assert same_answer(grounder.ground(query), whole.ground(query))
    grounder.update((CHUNKS - 1, 0, 0), PointCloud.empty())
    grounder.encode()
    without = make(language)
    fill(without, chunks)
    for query in QUERIES:
        assert same_answer(grounder.ground(query), without.ground(query))


def test_looking_at_few_chunks_at_once_changes_no_answer(language, monkeypatch):
    usual, careful = make(language), make(language)
    for grounder in (usual, careful):
        fill(grounder, corridor())
    expected = usual.ground_many(QUERIES)
    monkeypatch.setattr(asking, 'LOOKS_AT_ONCE', 5)
    for one, other in zip(careful.ground_many(QUERIES), expected):
        assert same_answer(one, other)


def test_another_mask_threshold_is_another_answer(language):
    grounder = make(language)
    fill(grounder, corridor())
    few = grounder.ground('lamp')
    grounder.settings = GrounderSettings(
        chunk_size=CHUNK_SIZE, chunk_overlap=0.4, score_threshold=0.0, mask_threshold=0.3
    )
    more = grounder.ground('lamp')
    assert max(len(i.points) for i in more.instances) > max(len(i.points) for i in few.instances)


def test_only_the_chunks_chosen_are_asked(language):
    grounder = make(language, max_chunks=2)
    fill(grounder, corridor())
    for answer in grounder.ground_many(QUERIES):
        chunks = {key for key, _ in answer.basis[1]}
        alone = {
            text: {key for key, _ in grounder.ground(text).basis[1]}
            for text in Sentence.of_things(answer.query).texts
        }
        assert all(len(own) == 2 for own in alone.values())
        assert chunks == set.union(*alone.values())
        for instance in answer.instances:
            keys = np.unique(np.floor(instance.points / CHUNK_SIZE + 0.5), axis=0)
            assert {tuple(key) for key in keys} <= alone.get(instance.phrase, chunks)


def test_what_was_asked_long_ago_is_forgotten(language, monkeypatch):
    monkeypatch.setattr(asking, 'TEXTS', 3)
    grounder = make(language)
    fill(grounder, corridor())
    queries = ['the red mug', 'lamp', 'all chairs', 'a sofa']
    for query in queries:
        grounder.ground(query)
    assert list(grounder._asker._known) == queries[1:]
    answers = grounder.ground_many([*queries, 'a desk'])  # more than are kept, at once
    assert all(answer.instances for answer in answers)


@pytest.mark.parametrize('leave', [Grounder.clear, lambda grounder: grounder.to('meta')])
def test_what_was_found_goes_with_the_map_and_with_the_device(language, monkeypatch, leave):
    monkeypatch.setattr(language, 'to', lambda device: None)  # other tests share it
    grounder = make(language)
    fill(grounder, corridor())
    grounder.ground('lamp')
    [known] = grounder._asker._known.values()
    assert known.parts
    leave(grounder)
    assert not grounder._asker._known


def test_what_is_known_of_a_phrase_serves_all_sentences_with_it(language, monkeypatch):
    grounder = make(language)
    fill(grounder, corridor())
    counts = count_questions(grounder, monkeypatch)
    one, two = grounder.ground_many(['the mug next to the sink', 'the lamp beside the sink'])
    assert {i.phrase for i in one.instances} == {'the mug', 'the sink'}
    assert {i.phrase for i in two.instances} == {'the lamp', 'the sink'}
    grounder.ground_many(['the lamp', 'the mug above the lamp'])
    assert set(grounder._asker._known) == {'the mug', 'the sink', 'the lamp'}
    assert counts[0] >= 3 * CHUNKS / 2
    assert counts[1:] == [0]


def test_a_list_of_things_is_asked_at_once(language):
    grounder = make(language)
    fill(grounder, corridor())
    grounder.ground('the sink. the lamp')
    assert set(grounder._asker._known) == {'the sink. the lamp'}


def test_a_query_that_names_nothing_has_no_answer_beside_one_that_does(language):
    grounder = make(language)
    fill(grounder, corridor())
    nothing, lamp = grounder.ground_many(['???', 'lamp'])
    assert (nothing.instances, nothing.none_score) == ([], 1.0)
    assert lamp.instances
    again = grounder.ground_again([grounder.ground('???'), lamp])
    assert [answer.instances for answer in again] == [[], lamp.instances]
