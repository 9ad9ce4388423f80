"""Which of several candidates a sentence means: features, the shipped head, its training."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.proposals import Proposal
from lift_gs_ros.grounding.referring import resolve_reference
from lift_gs_ros.grounding.sentences import Sentence
from lift_gs_ros.model.checkpoint import CheckpointError
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.phrases import noun_phrases
from lift_gs_ros.model.relations import (
    DEFAULT_WEIGHTS,
    FEATURES,
    Reference,
    RelationHead,
    as_array,
    many_relation_features,
    relation_features,
)
from lift_gs_ros.simulation.relations import RoomFacts

MIDDLE = np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope='module')
def language():
    return load_language_encoder('minilm')


@pytest.fixture(scope='module')
def head():
    return RelationHead.load('minilm')


def box(x, y, z=0.5, size=(0.5, 0.5, 1.0)):
    return Box(np.array([x, y, z]), np.array(size))


def turned(thing):
    x, y, z = thing.center
    return Box(np.array([-y, x, z]), thing.size[[1, 0, 2]])


class TestFeatures:
    def test_do_not_depend_on_the_heading_of_the_map(self):
        candidates = [box(1, 0, size=(0.4, 0.8, 1)), box(2, 1), box(-1, 2)]
        anchors = [box(0, 3), box(3, 3, size=(1, 0.2, 2))]
        features = relation_features(candidates, np.ones(3), anchors, MIDDLE)
        again = relation_features(
            [turned(c) for c in candidates], np.ones(3), [turned(a) for a in anchors], MIDDLE
        )
        assert features.shape == (3, FEATURES)
        np.testing.assert_allclose(again, features, atol=1e-5)

    def test_tell_left_from_right(self):
        viewer, anchor = box(0, 0), box(3, 0)
        left, right = box(3, 1), box(3, -1)
        features = relation_features([left, right], np.ones(2), [viewer, anchor], MIDDLE)
        mirrored = relation_features([right, left], np.ones(2), [viewer, anchor], MIDDLE)
        assert not np.allclose(features[0], features[1])
        np.testing.assert_allclose(features, mirrored[::-1], atol=1e-6)

    def test_without_anchors_nothing_is_known_of_them(self):
        one = relation_features([box(1, 0), box(2, 0)], np.ones(2), [], MIDDLE)
        other = relation_features([box(1, 5), box(9, 0)], np.ones(2), [], MIDDLE)
        np.testing.assert_allclose(one, other)

    def test_what_is_hardly_a_candidate_does_not_make_the_next_one_the_second(self):
        near, between, far, anchors = box(1, 0), box(2, 0), box(4, 0), [box(0, 0), box(0, 3)]
        some = relation_features([near, between, far], np.array([1, 1e-6, 1]), anchors, MIDDLE)
        without = relation_features([near, far], np.ones(2), anchors, MIDDLE)
        different = (np.abs(some[[0, 2]] - without) > 1e-4).any(axis=0)
        assert different.sum() == 1  # how many there are
        ranked = relation_features([near, between, far], np.ones(3), anchors, MIDDLE)
        assert not np.allclose(ranked[2], some[2])

    def test_a_third_anchor_does_not_count(self):
        anchors = [box(0, 3), box(3, 3), box(-3, -3)]
        two, three = (
            relation_features([box(1, 0), box(2, 0)], np.ones(2), anchors[:count], MIDDLE)
            for count in (2, 3)
        )
        np.testing.assert_array_equal(two, three)


class TestReference:
    def test_links_are_the_words_before_an_anchor(self, language):
        text = 'the mug between the lamp and the sofa'
        tokens = language.encode(text)
        target, *anchors = [(p.begin, p.end) for p in noun_phrases(text)]
        reference = Reference.read(tokens, target, anchors)

        def word(name):
            begin = text.index(name)
            inside = (tokens.spans[:, 0] >= begin) & (tokens.spans[:, 1] <= begin + len(name))
            return tokens.embeddings[inside].mean(axis=0)

        np.testing.assert_allclose(reference.links[0], word('between'), atol=1e-6)
        np.testing.assert_allclose(reference.links[1], word('and'), atol=1e-6)
        np.testing.assert_array_equal(reference.words, tokens.embeddings)

    def test_of_a_sentence_without_anchors_has_no_links(self, language):
        tokens = language.encode('the tallest lamp')
        assert not Reference.read(tokens, (0, 16), []).links.any()


class TestShippedHead:
    def test_means_the_right_one_in_rooms_that_it_never_saw(self, language, head):
        from training.data.references import room_examples
        from training.relations import accuracy

        examples = [e for seed in range(900, 906) for e in room_examples(seed, 'val', language)]
        right = accuracy(head, examples, None)
        assert right['all'] > 0.9
        assert right['chance'] < 0.6
        assert right['none'] > 0.9
        assert right['anything'] > 0.9

    def test_of_another_language_encoder_there_is_none(self):
        assert RelationHead.load('open_clip') is None

    def test_a_foreign_file_is_refused(self, tmp_path):
        path = tmp_path / 'foreign.safetensors'
        save_file(load_file(DEFAULT_WEIGHTS), path, {'format': 'other', 'language': 'minilm'})
        with pytest.raises(ValueError, match="format 'other', expected 'lift_gs_ros/relations/3'"):
            RelationHead.load('minilm', path)
        path.write_bytes(DEFAULT_WEIGHTS.read_bytes()[:5000])
        with pytest.raises(CheckpointError, match=r'foreign.safetensors \(5000 bytes\) is damaged'):
            RelationHead.load('minilm', path)

    def test_survives_saving(self, head, tmp_path, language):
        path = tmp_path / 'head.safetensors'
        head.save(path, 'minilm', {'rooms': 1})
        again = RelationHead.load('minilm', path)
        reference = Reference.read(language.encode('the chair next to the bed'), (4, 9), [(18, 25)])
        features = relation_features([box(1, 0), box(4, 0)], np.ones(2), [box(0, 0)], MIDDLE)
        cases = features[None], np.ones((1, 2), bool), reference
        np.testing.assert_allclose(again.probabilities(*cases), head.probabilities(*cases))

    def test_many_cases_at_once_are_as_one_after_the_other(self, head, language):
        rng = np.random.default_rng(0)
        reference = Reference.read(language.encode('the chair next to the bed'), (4, 9), [(18, 25)])
        boxes = [box(*rng.uniform(-3, 3, 2)) for _ in range(6)]
        likelihood = np.zeros((3, 4))
        which, counts = rng.integers(6, size=(3, 4)), (4, 1, 3)
        middles = rng.uniform(-1, 1, (3, 3))
        for row, count in zip(likelihood, counts):
            row[:count] = [1, *rng.uniform(0.1, 1, count - 1)]
        for anchors in ([], [box(0, 1)], [box(0, 1), box(2, 2)]):
            many = many_relation_features(
                as_array(boxes)[which], likelihood, np.stack([as_array(anchors)] * 3), middles
            )
            found = head.probabilities(many, likelihood > 0, reference)
            for i, count in enumerate(counts):
                some = [boxes[k] for k in which[i, :count]]
                one = relation_features(some, likelihood[i, :count], anchors, middles[i])
                np.testing.assert_allclose(many[i, :count], one, rtol=1e-6)
                alone = head.probabilities(one[None], np.ones((1, count), bool), reference)[0]
                np.testing.assert_allclose(found[i, [*range(count), -1]], alone, rtol=1e-4)
                assert not found[i, count:-1].any()


def test_training_learns_more_than_chance_and_writes_its_log(language, tmp_path, monkeypatch):
    from training import relations
    from training.data.references import Disturbance, house_examples, room_examples
    from training.relations import accuracy, train_head

    monkeypatch.setattr(relations, 'CHECK_EVERY', 100)
    examples = [e for seed in range(12) for e in room_examples(seed, 'train', language)]
    validation = [e for seed in range(4) for e in room_examples(seed, 'val', language)]
    asked = {'rooms': validation, 'houses': house_examples(range(4, 7), 'val', language)}
    houses = house_examples(range(20, 22), 'train', language)
    head = train_head(examples, asked, 150, 0, tmp_path, houses)
    right = accuracy(head, validation, None)
    assert right['all'] > right['chance'] + 0.15
    with open(tmp_path / 'log.csv', newline='') as file:
        rows = {int(row['step']): row for row in csv.DictReader(file)}
    assert list(rows) == [20, 40, 60, 80, 100, 120, 140, 150]
    assert float(rows[140]['loss']) < float(rows[20]['loss'])
    assert [step for step, row in rows.items() if row['rooms_true_all']] == [100, 150]
    assert float(rows[150]['rooms_true_all']) == right['all']
    disturbed = accuracy(head, asked['houses'], Disturbance())
    assert float(rows[150]['houses_disturbed_all']) == disturbed['all']
    assert float(rows[150]['rate']) < float(rows[20]['rate'])


def test_sentences_about_a_house_have_candidates_in_several_rooms(language):
    from training.data.references import house_examples, room_examples

    seeds = range(30, 33)
    rooms = [e for seed in seeds for e in room_examples(seed, 'train', language)]
    alone = max(len(e.candidates) for e in rooms if not e.is_anything)
    examples = house_examples(seeds, 'train', language)
    assert max(len(example.candidates) for example in examples) > alone
    assert not any(example.is_anything for example in examples)
    rng = np.random.default_rng(0)
    for example in examples:
        features, wanted = example.draw(rng, None)
        assert len(features) == len(example.candidates)
        if not example.is_plain:
            assert ((wanted > 0) == example.is_target).all()


def mask(number, around, score, name=''):
    indices = np.arange(8 * number, 8 * number + 8)
    return Proposal(score, indices, np.ones(8, np.float32), around, name)


class TestResolving:
    """Three chairs in a row, a door before the first of them."""

    THINGS = (box(1, 0), box(2.5, 0), box(4, 0), box(-0.5, 0, 1, (0.1, 1, 2)))
    MIDDLE = np.mean([thing.center for thing in THINGS], axis=0)

    def proposal(self, number, score):
        return mask(number, self.THINGS[number], score)

    def resolve(self, head, language, text, chairs, doors, camera=None):
        text, phrases = Sentence.of_things(text, camera).to_judge
        names = [text[phrase.begin : phrase.end] for phrase in phrases]
        found = [{'the door': doors, 'door': doors, 'me': []}.get(n, chairs) for n in names]
        tokens = language.encode_prompt(text)
        return resolve_reference(head, tokens, phrases, found, lambda place: self.MIDDLE, camera)

    @pytest.mark.parametrize(
        ('text', 'number'),
        [
            ('the chair closest to the door', 0),
            ('the chair farthest from the door', 2),
            ('which chair is closest to the door?', 0),
        ],
    )
    def test_the_one_that_is_meant_comes_first(self, head, language, text, number):
        chairs = [self.proposal(1, 0.8), self.proposal(2, 0.75), self.proposal(0, 0.7)]
        resolved = self.resolve(head, language, text, chairs, [self.proposal(3, 0.9)])
        best = next(found for found, p in zip(resolved, noun_phrases(text)) if p.is_target)[0]
        assert best.point_indices[0] == 8 * number
        assert best.score == pytest.approx({0: 0.7, 2: 0.75}[number], rel=0.1)

    @pytest.mark.parametrize('x', [0.5, 2.6, 4.5])
    @pytest.mark.parametrize('text', ['the chair closest to me', 'find the chair nearest you'])
    def test_the_closest_to_the_camera_comes_first(self, head, language, text, x):
        chairs = [self.proposal(1, 0.8), self.proposal(2, 0.75), self.proposal(0, 0.7)]
        found = self.resolve(head, language, text, chairs, [], np.array([x, 1.5, 1.3]))[0]
        nearest = np.abs(np.array([1, 2.5, 4]) - x).argmin()
        assert found[0].point_indices[0] == 8 * nearest
        assert found[0].score > 0.6
        assert found[1].score < 0.2
        unknown = self.resolve(head, language, text, chairs, [])[0]
        assert unknown[0].point_indices[0] == 8, 'the likeliest'

    @pytest.mark.parametrize(
        ('text', 'number'),
        [
            ('the chair to the left of the door', 0),
            ('find the chair right of the door', 2),
            ('go to the chair on the left', 0),
            ('the right chair', 2),
        ],
    )
    @pytest.mark.parametrize('side', [-1, 1])
    def test_left_and_right_are_as_the_camera_sees_them(self, head, language, text, number, side):
        chairs = [self.proposal(0, 0.7), self.proposal(2, 0.8)]
        door = [mask(3, box(2.5, 0, 1, (0.9, 0.1, 2)), 0.9)]
        camera = np.array([2.3, 3.0 * side, 1.3])
        found = self.resolve(head, language, text, chairs, door, camera)[0]
        assert found[0].point_indices[0] == 8 * (number if side < 0 else 2 - number)
        assert found[0].score > 0.6
        assert found[1].score < 0.2

    def test_the_only_one_may_be_called_the_left_one(self, head, language):
        chairs = [self.proposal(2, 0.8)]
        assert self.resolve(head, language, 'the left chair', chairs, [], np.zeros(3))[0] == chairs

    def test_what_is_far_less_likely_is_no_candidate(self, head, language):
        chairs = [self.proposal(1, 0.8), self.proposal(2, 0.75), self.proposal(0, 0.1)]
        resolved = self.resolve(
            head, language, 'the chair closest to the door', chairs, [self.proposal(3, 0.9)]
        )
        assert resolved[0][0].point_indices[0] == 8
        assert [p.score for p in resolved[0] if p.point_indices[0] == 0] == pytest.approx(
            [0.1], rel=0.1
        )

    @pytest.mark.parametrize(('text', 'number'), [('the chair', 1), ('the chair by the door', 3)])
    def test_the_middle_is_that_of_the_anchors_room(self, head, language, text, number):
        asked, phrases = [], noun_phrases(text)
        chairs, doors = [self.proposal(1, 0.8), self.proposal(2, 0.75)], [self.proposal(3, 0.9)]
        found = [chairs if p.is_target else doors for p in phrases]
        resolve_reference(
            head, language.encode_prompt(text), phrases, found,
            lambda place: asked.append(place) or self.MIDDLE,
        )  # fmt: skip
        assert asked == [pytest.approx(self.THINGS[number].center)]

    def test_a_prompt_for_several_things_stays_as_it_is(self, head, language):
        chairs, doors = [self.proposal(1, 0.8), self.proposal(2, 0.7)], [self.proposal(3, 0.9)]
        assert self.resolve(head, language, 'chair. door', chairs, doors) == [chairs, doors]

    def test_a_single_candidate_without_anything_else_stays_as_it_is(self, head, language):
        chairs = [self.proposal(2, 0.8)]
        assert self.resolve(head, language, 'the tallest chair', chairs, []) == [chairs]

    def test_one_is_always_the_closest(self, head, language):
        text, chairs = 'the chair closest to the door', [self.proposal(2, 0.8)]
        (best, *_), _ = self.resolve(head, language, text, chairs, [self.proposal(3, 0.9)])
        assert best.score > 0.7

    def test_plain_phrases_keep_all_that_fit(self, head, language):
        chairs = [self.proposal(number, 0.8) for number in range(3)]
        (resolved,) = self.resolve(head, language, 'the chair', chairs, [])
        assert min(proposal.score for proposal in resolved) > 0.4


class TestNoneOfThem:
    """A table, a mug on it, and one on the floor."""

    THINGS = (box(2, 0, 0.37, (1.2, 0.8, 0.74)), box(2.2, 0.1, 0.79, (0.1, 0.1, 0.1)),
              box(-1, 2, 0.05, (0.1, 0.1, 0.1)))  # fmt: skip
    TABLE, ON_IT, ON_THE_FLOOR = (mask(i, thing, 0.8) for i, thing in enumerate(THINGS))

    def scores(self, head, language, text, mugs, tables=(TABLE,)):
        phrases = noun_phrases(text)
        found = [mugs if p.is_target else list(tables) for p in phrases]
        resolved = resolve_reference(
            head, language.encode_prompt(text), phrases, found, lambda place: MIDDLE
        )
        own = next(found for found, p in zip(resolved, phrases) if p.is_target)
        return {int(proposal.point_indices[0]) // 8: proposal.score for proposal in own}

    @pytest.mark.parametrize('text', ['the mug on the table', 'find the bottle on the desk'])
    def test_what_stands_on_it_keeps_its_score(self, head, language, text):
        scores = self.scores(head, language, text, [self.ON_THE_FLOOR, self.ON_IT])
        assert scores[1] > 0.6
        assert scores[2] < 0.3
        assert self.scores(head, language, text, [self.ON_IT])[1] > 0.6

    @pytest.mark.parametrize('text', ['the mug on the table', 'find the bottle on the desk'])
    def test_where_nothing_stands_on_it_all_lose(self, head, language, text):
        assert self.scores(head, language, text, [self.ON_THE_FLOOR])[2] < 0.4

    def test_it_may_be_the_table_that_is_less_likely(self, head, language):
        """Of two tables the mug is on the one with the lower score."""
        other = mask(3, box(-2, -2, 0.37, (1.2, 0.8, 0.74)), 0.9)
        text = 'the mug on the table'

        def best(tables, mugs):
            resolved = resolve_reference(
                head, language.encode_prompt(text), noun_phrases(text), [mugs, tables],
                lambda place: MIDDLE,
            )  # fmt: skip
            return resolved[0][0]

        found = best([other, self.TABLE], [self.ON_THE_FLOOR, self.ON_IT])
        assert found.point_indices[0] == 8
        assert found.score > 0.5
        assert best([other], [self.ON_THE_FLOOR, self.ON_IT]).score < 0.4

    def test_nothing_stands_beside_itself(self, head, language):
        """Two chairs side by side, a third, likelier one by itself."""
        found = [
            mask(i, box(x, 0, 0.45, (0.5, 0.5, 0.9)), score)
            for i, (x, score) in enumerate([(-3.0, 0.8), (1.0, 0.75), (1.6, 0.7)])
        ]
        text = 'the chair next to the chair'
        phrases = noun_phrases(text)
        assert [phrase.is_target for phrase in phrases] == [True, False]
        *_, last = resolve_reference(
            head, language.encode_prompt(text), phrases, [found, found],
            lambda place: MIDDLE,
        )[0]  # fmt: skip
        assert last.point_indices[0] == 0
        assert last.score < 0.2

    @pytest.mark.parametrize('text', ['the mug on the piano', 'the mugs on the piano'])
    def test_on_what_is_not_there_stands_nothing(self, head, language, text):
        mugs, piano = [self.ON_THE_FLOOR, self.ON_IT], replace(self.TABLE, score=0.03)
        assert max(self.scores(head, language, text, mugs, [piano]).values()) < 0.2

    @pytest.mark.parametrize(
        'text', ['the mug not on the table', "a mug that isn't on the table", 'mugs not on a table']
    )
    def test_what_is_denied_is_not_answered_with_the_opposite(self, head, language, text):
        scores = self.scores(head, language, text, [self.ON_THE_FLOOR, self.ON_IT])
        assert scores == {1: 0.8, 2: 0.8}

    def test_a_part_may_have_the_mask_of_the_whole(self, head, language):
        part = replace(self.TABLE, score=0.02)
        text = 'the table with four legs'
        assert self.scores(head, language, text, [self.TABLE], [part])[0] > 0.6

    def test_a_plain_name_is_no_matter_of_place(self, head, language):
        assert self.scores(head, language, 'the mug', [self.ON_THE_FLOOR]) == {2: 0.8}


class TestAnything:
    """A table with a mug and a book on it, a ball under it, and a chair beside it."""

    THINGS = {
        'table': box(2, 0, 0.37, (1.2, 0.8, 0.74)),
        'mug': box(2.2, 0.1, 0.79, (0.1, 0.1, 0.1)),
        'book': box(1.7, -0.1, 0.76, (0.2, 0.3, 0.04)),
        'ball': box(1.9, 0, 0.12, (0.24, 0.24, 0.24)),
        'chair': box(0.95, 0, 0.45, (0.5, 0.5, 0.9)),
        'lamp': box(-2, 3, 0.8, (0.4, 0.4, 1.6)),
    }

    def found(self, head, language, text, doubt=0.0):
        every = [
            mask(i, thing, 0.8 - 0.01 * i, name)
            for i, (name, thing) in enumerate(self.THINGS.items())
        ]
        text, phrases = Sentence.whole(text).to_judge
        anchor = [] if 'piano' in text else [replace(every[0], score=1 - doubt)]
        found = [every if p.is_target else anchor for p in phrases]
        resolved = resolve_reference(
            head, language.encode_prompt(text), phrases, found, lambda place: MIDDLE
        )
        own = next(found for found, p in zip(resolved, phrases) if p.is_target)
        return {proposal.name for proposal in own if proposal.score > 0.4}

    @pytest.mark.parametrize(
        ('text', 'names'),
        [
            ('everything on the table', {'mug', 'book'}),
            ('what is on the table?', {'mug', 'book'}),
            ('show me all the objects under the desk', {'ball'}),
            ('is there anything next to the table?', {'chair'}),
            # As if all were what the noun says.
            ('all the mugs on the table', {'mug', 'book'}),
            ('the chairs next to the table', {'chair'}),
        ],
    )
    def test_all_that_stands_so_is_meant(self, head, language, text, names):
        assert self.found(head, language, text) == names

    def test_on_what_is_not_there_stands_nothing(self, head, language):
        assert not self.found(head, language, 'everything on the piano')
        assert not self.found(head, language, 'everything on the table', doubt=0.8)

    @pytest.mark.parametrize('text', ['show me everything', 'what is in the room?'])
    def test_without_an_anchor_everything_is_meant(self, head, language, text):
        assert self.found(head, language, text) == set(self.THINGS)


def test_questions_for_anything_know_what_stands_where():
    from training.data.references import NEXT_TO, room_examples

    language = load_language_encoder('minilm')
    seen = dict.fromkeys(('on', 'under', 'next_to'), 0)
    rng, asked = np.random.default_rng(0), 0
    for seed in range(40):
        for example in room_examples(seed, 'train', language, limit=0):
            if not example.is_anything:
                continue
            [anchor], table = example.anchors, {True: [], False: []}
            for thing, is_meant in zip(example.candidates, example.is_target):
                table[bool(is_meant)].append(thing)
            assert anchor in table[False]
            if example.relation == 'on':
                assert {o.support for o in table[True]} <= {anchor.instance_id}
                assert anchor.instance_id not in {o.support for o in table[False]}
            for thing in table[True]:
                is_lower = thing.box.upper[2] < anchor.box.upper[2]
                assert is_lower or example.relation != 'under'
            if example.relation == 'next_to':
                facts = RoomFacts(example.room)
                gaps = {
                    m: [
                        facts.gap(o.instance_id, anchor.instance_id)
                        for o in table[m]
                        if o is not anchor
                    ]
                    for m in table
                }
                assert all(0 < gap <= NEXT_TO[0] for gap in gaps[True])
                assert all(gap == 0 or gap >= NEXT_TO[1] for gap in gaps[False])
            assert example.draw(rng, None)[0].shape == (1, FEATURES)
            seen[example.relation] += bool(table[True])
            asked += 1
    assert min(seen.values()) > 3
    assert sum(seen.values()) < asked  # some ask for what is not there
