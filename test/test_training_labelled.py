"""Labelled scenes, the samples cut from them, and the loss of the answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_rooms import labelled_structure, three_boxes, two_boxes

from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import Decoded, LiftGS
from lift_gs_ros.model.mask_decoder import LayerOutput
from lift_gs_ros.model.naming import EVERYDAY_NOUNS
from lift_gs_ros.model.seeds import POSITION_CHANNELS
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.words import object_phrases
from training.contrast import CaptionContrast
from training.data.augment import Augmentation
from training.data.build import build_files
from training.data.labelled import (
    LabelledScene,
    Sentence,
    build_scene,
    load_scene,
    load_scenes,
    save_scene,
)
from training.data.labelled_sample import (
    LabelledQuery,
    LabelledSample,
    LabelledSampleSettings,
    make_labelled_sample,
)
from training.data.queries import Caption, Query, QueryMix
from training.data.room_cache import save_room
from training.data.rooms import STRUCTURE
from training.engine import Batch
from training.evaluation.rooms import EvaluationRoom, evaluation_room
from training.labelled_objective import LabelledObjective, LabelledWeights
from training.trainer import MODELS

VOXEL_SIZE = 0.05
PLAIN = Augmentation(brightness=0, tint=0, noise=0, jitter=0, dropout=0)
CHANNEL = {'red box': 0, 'green box': 1, 'blue box': 2}


def _sample(seed: int, scene: LabelledScene | None = None, **settings) -> LabelledSample:
    return make_labelled_sample(
        scene or three_boxes(),
        LabelledSampleSettings(**settings),
        VOXEL_SIZE,
        np.random.default_rng(seed),
    )


# Scenes and their files


def test_a_scene_comes_back_from_its_file_as_it_was(tmp_path):
    scene = three_boxes()
    save_scene(tmp_path / 'boxes.npz', scene)
    loaded = load_scene(tmp_path / 'boxes.npz')
    assert loaded.name == 'boxes'
    assert np.array_equal(loaded.positions, scene.positions)
    assert loaded.positions.dtype == loaded.colors.dtype == np.float32
    assert np.allclose(loaded.colors, scene.colors, atol=0.5 / 255 + 1e-6)
    assert np.array_equal(loaded.instance_ids, scene.instance_ids)
    assert loaded.captions == scene.captions
    assert loaded.sentences == scene.sentences
    assert [path.name for path in tmp_path.iterdir()] == ['boxes.npz']


def test_damaged_foreign_and_old_files_are_refused_by_name(tmp_path):
    path = tmp_path / 'boxes.npz'
    save_scene(path, three_boxes())
    data = dict(np.load(path))
    np.savez(path, **{**data, 'version': 1})
    with pytest.raises(ValueError, match=r'boxes\.npz has version 1, expected 2'):
        load_scene(path)
    np.savez(path, positions=data['positions'])
    with pytest.raises(ValueError, match=r'boxes\.npz is no labelled scene'):
        load_scene(path)
    np.savez(path, version=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match='damaged'):
        load_scene(path)
    save_scene(path, three_boxes())
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r'boxes\.npz is no labelled scene or is damaged'):
        load_scene(path)
    path.write_text('no archive at all')
    with pytest.raises(ValueError, match=r'damaged .*of ScanNet: training\.data\.scannet_labels'):
        load_scene(path)


def test_a_file_of_the_pretraining_cache_is_refused(tmp_path):
    save_room(tmp_path / 'room.npz', two_boxes())
    with pytest.raises(ValueError, match='no labelled scene'):
        load_scene(tmp_path / 'room.npz')


@pytest.mark.parametrize(
    ('ratio', 'names'), [(1.0, 'abcde'), (0.5, 'ab'), (0.6, 'abc'), (0.2, 'a'), (0.001, 'a')]
)
def test_a_data_ratio_takes_the_first_scenes_and_at_least_one(tmp_path, ratio, names):
    for name in 'cabed':
        save_scene(tmp_path / f'{name}.npz', three_boxes())
    (tmp_path / 'a0.tmp.npz').write_text('being written')
    assert ''.join(scene.name for scene in load_scenes(tmp_path, ratio)) == names


def test_a_folder_without_scenes_says_how_to_build_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'python -m training\.data\.labelled'):
        load_scenes(tmp_path)


def _write(path, text):
    path.write_text(text)


def test_building_a_cache_keeps_the_files_that_are_there(tmp_path):
    folder = tmp_path / 'new' / 'cache'
    build_files(_write, [(folder / '0', 'first')], 1)
    jobs = [(folder / '0', 'again'), (folder / '1', 'second'), (folder / '2', 'third')]
    build_files(_write, jobs, 2)
    assert [path.read_text() for path in sorted(folder.iterdir())] == ['first', 'second', 'third']


def test_a_file_that_can_not_be_built_is_an_error(tmp_path):
    with pytest.raises(TypeError):
        build_files(_write, [(tmp_path / '0', None)], 1)


# A simulated room


@pytest.fixture(scope='module')
def truth() -> EvaluationRoom:
    return evaluation_room(1, 'train')


@pytest.fixture(scope='module')
def simulated(truth) -> LabelledScene:
    with pytest.MonkeyPatch.context() as patch:  # once is enough
        patch.setattr('training.data.labelled.evaluation_room', lambda *_: truth)
        return build_scene(1, 'train')


def _is(room: Room, number: int, phrase: str) -> bool:
    return phrase in object_phrases(room.object(number))


def test_everything_with_a_point_has_a_caption_and_sentences_are_about_what_has_thirty(
    simulated, truth
):
    visible = truth.visible_ids
    assert sorted(simulated.captions) == sorted(
        set(simulated.instance_ids[simulated.instance_ids > 0])
    )
    things = {i: caption for i, caption in simulated.captions.items() if i < STRUCTURE}
    assert 3 < len(visible) < len(things) <= len(truth.room.objects)
    for number, caption in things.items():
        assert _is(truth.room, number, caption)
    told = {i for sentence in simulated.sentences for own in sentence.instances for i in own}
    assert told <= set(visible)
    assert simulated.instance_ids.min() == 0  # nobody's: noise far from any surface
    assert len(simulated.instance_ids) == len(simulated.positions) == len(simulated.colors)


def test_floor_and_walls_have_captions_or_they_would_be_taught_not_to_be_there(simulated):
    structure = {i: c for i, c in simulated.captions.items() if i >= STRUCTURE}
    assert sorted(set(structure.values())) == ['floor', 'wall']
    of = {text: simulated.positions[simulated.instance_ids == i] for i, text in structure.items()}
    assert np.abs(of['floor'][:, 2]).mean() < 0.05
    assert np.ptp(of['wall'][:, 2]) > 1
    assert np.isin(simulated.instance_ids, list(structure)).mean() > 0.3


def test_phrases_are_the_words_that_are_meant(simulated, truth):
    assert len(simulated.sentences) > 50
    checked = 0
    for sentence in simulated.sentences:
        assert len(sentence.phrases) == len(sentence.instances) >= 1
        for (begin, end), instances in zip(sentence.phrases, sentence.instances):
            words = sentence.text[begin:end]
            assert words
            assert words == words.strip()
            assert not words.startswith(('the ', 'a ', 'an '))
            assert sentence.text[begin - 1 : begin] in ('', ' ')
            assert sentence.text[end : end + 1] in ('', ' ', '?', ',')
            for number in instances:
                assert number in simulated.captions
                noun = words.split()[-1].rstrip('s')  # "second chair" and "red chairs" are chairs
                assert any(noun in phrase for phrase in object_phrases(truth.room.object(number)))
                checked += 1
    assert checked > 50


def test_sentences_about_absent_things_have_no_instances(simulated, truth):
    absent = [s for s in simulated.sentences if not all(s.instances)]
    assert len(absent) == 12  # as many as of the other kinds
    for sentence in absent:
        (begin, end), *_ = [
            phrase for phrase, own in zip(sentence.phrases, sentence.instances) if not own
        ]
        if len(sentence.phrases) == 1:  # others speak of a thing that is not on that table
            words = sentence.text[begin:end]
            assert not any(_is(truth.room, o.instance_id, words) for o in truth.room.objects)


def test_a_sentence_knows_whether_it_tells_left_from_right():
    sentences = three_boxes().sentences
    assert [sentence.is_sided for sentence in sentences] == [False, True, False, False]
    assert Sentence('Right of the bed, the lamp', [], []).is_sided


# Samples


def test_the_same_generator_state_gives_the_same_sample():
    kinds = set()
    for seed in range(12):
        first, again = _sample(seed, max_points=4000), _sample(seed, max_points=4000)
        assert np.array_equal(first.positions, again.positions)
        assert np.array_equal(first.colors, again.colors)
        assert np.array_equal(first.instance_ids, again.instance_ids)
        assert first.captions == again.captions
        for one, two in zip(first.queries, again.queries):
            assert one.query.texts == two.query.texts
            assert one.query.phrases == two.query.phrases
            assert np.array_equal(one.instances, two.instances)
            assert np.array_equal(one.satisfied, two.satisfied)
        kinds.add(tuple(query.query.texts[0] for query in first.queries))
    assert len(kinds) == 12  # other states give other ones


def test_the_instances_of_a_category_query_are_all_that_its_phrases_describe():
    several = 0
    for seed in range(40):
        sample = _sample(seed, sentences=0, queries=3)
        assert len(sample.queries) == 3
        for asked in sample.queries:
            query = asked.query
            said = [Caption.parse(query.texts[text][b:e]) for text, b, e in query.phrases]
            truth = np.array(
                [[phrase.describes(Caption.parse(c)) for phrase in said] for c in sample.captions]
            ).reshape(-1, len(said))
            assert asked.instances.tolist() == np.flatnonzero(truth.any(axis=1)).tolist()
            assert np.array_equal(asked.satisfied, truth[asked.instances])
            several += len(asked.instances) > 1
    assert several > 10


def test_the_instances_of_a_sentence_are_those_that_it_speaks_of():
    scene, seen = three_boxes(), set()
    for seed in range(30):
        sample = _sample(seed, scene, whole_scene=1, sentences=1)
        for asked in sample.queries:
            [sentence] = [s for s in scene.sentences if [s.text] == asked.query.texts]
            assert asked.query.phrases == [(0, begin, end) for begin, end in sentence.phrases]
            assert asked.satisfied.shape == (len(asked.instances), len(sentence.phrases))
            for phrase, meant in enumerate(sentence.instances):
                rows = asked.instances[asked.satisfied[:, phrase]]
                assert {sample.captions[row] for row in rows} == {scene.captions[i] for i in meant}
            assert asked.satisfied.any(axis=1).all()
            seen.add(sentence.text)
    assert seen == {sentence.text for sentence in scene.sentences}


def _handedness(sample: LabelledSample) -> float:
    red, blue, green = (
        sample.positions[sample.instance_ids == sample.captions.index(f'{color} box')].mean(axis=0)
        for color in ('red', 'blue', 'green')
    )
    (a, b), (c, d) = (blue - red)[:2], (green - red)[:2]
    return float(np.sign(a * d - b * c))


def test_a_mirrored_sample_never_asks_for_left_or_right():
    sided, hands = 0, {1.0: 0, -1.0: 0}
    for seed in range(40):
        sample = _sample(
            seed, whole_scene=1, sentences=1, augmentation=Augmentation(mirror=1.0)
        )  # half of those that ask sentences stay as they are all the same
        hand = _handedness(sample)
        hands[hand] += 1
        for asked in sample.queries:
            if 'left' in asked.query.texts[0]:
                assert hand == 1  # red left of blue, as in the scene
                sided += 1
    assert sided > 5
    assert min(hands.values()) > 10


def test_augmentation_keeps_labels_with_their_points():
    strong = Augmentation(any_yaw=1.0, dropout=0.5)
    for seed in range(20):
        sample = _sample(seed, max_points=4000, augmentation=strong)
        assert len(sample.positions) == len(sample.colors) == len(sample.instance_ids)
        for row, caption in enumerate(sample.captions):
            own = sample.instance_ids == row
            assert own.sum() >= 20
            assert (sample.colors[own].argmax(axis=1) == CHANNEL[caption]).all()
            spread = sample.positions[own] - sample.positions[own].mean(axis=0)
            assert np.abs(spread).max() < 0.8  # still one box, in one place


def test_an_instance_that_the_crop_cuts_is_not_asked_for():
    missing = 0
    for seed in range(30):
        sample = _sample(seed, whole_scene=0, max_points=3000, augmentation=PLAIN)
        assert len(sample.positions) <= 3000
        counts = np.bincount(sample.instance_ids + 1, minlength=len(sample.captions) + 1)[1:]
        assert (counts >= 0.8 * 900).all()
        for name, channel in CHANNEL.items():
            others = np.delete(sample.colors, channel, axis=1).max(axis=1)
            points = int((sample.colors[:, channel] > others + 0.2).sum())
            if name in sample.captions:
                assert points == counts[sample.captions.index(name)]
            else:
                missing += 1
                assert points < 0.8 * 900
        for asked in sample.queries:
            assert (asked.instances < len(sample.captions)).all()
    assert 10 < missing < 75  # of 90


def test_what_the_crop_cuts_is_not_asked_for_as_something_absent():
    mix = QueryMix(single=1, absent=1)
    for seed in range(60):
        sample = _sample(seed, whole_scene=0, max_points=3000, augmentation=PLAIN, query=mix)
        visible = {
            name
            for name, channel in CHANNEL.items()
            if (sample.colors[:, channel] > np.delete(sample.colors, channel, 1).max(1) + 0.2).any()
        }
        for asked in sample.queries:
            [(text, begin, end)] = asked.query.phrases
            phrase = Caption.parse(asked.query.texts[text][begin:end])
            assert not any(phrase.describes(Caption.parse(name)) for name in visible)


def test_a_crop_keeps_what_it_cuts_of_floor_and_walls_and_asks_for_it():
    scene, asked_for = labelled_structure(), set()
    whole = np.bincount(scene.instance_ids)
    settings = {'whole_scene': 0, 'max_points': 3000, 'augmentation': PLAIN}
    for seed in range(60):
        sample = _sample(seed, scene, query=QueryMix(stuff=1, absent=0.3), **settings)
        number = np.round(sample.colors[:, 0] * 7).astype(int)  # of the instance in the scene
        counts = np.bincount(number, minlength=7)
        cut = (counts > 0) & (counts < 0.8 * whole)
        assert set(np.flatnonzero(cut)) <= {1, 2, 3}  # half a chair is not there
        assert counts[1] > 500
        assert counts[4:].any()  # it lies around a chair
        assert (sample.instance_ids >= 0).all()
        for asked in sample.queries:
            names = [asked.query.texts[text][b:e] for text, b, e in asked.query.phrases]
            phrases = [Caption.parse(name) for name in names]
            meant = {
                i: phrase.kind
                for i, caption in scene.captions.items()
                for phrase in phrases
                if phrase.describes(Caption.parse(caption)) and counts[i] > 9
            }
            found = sorted(sample.captions[row] for row in asked.instances)
            assert found == sorted(scene.captions[i] for i in meant)
            asked_for |= {(kind, bool(cut[i])) for i, kind in meant.items()}
    assert {('chair', False), ('floor', True), ('wall', True), ('wall', False)} <= asked_for


def test_a_scene_of_nothing_but_floor_and_walls_is_cut_around_these():
    scene = labelled_structure()
    bare = scene.instance_ids <= 3
    empty = replace(
        scene,
        positions=scene.positions[bare],
        colors=scene.colors[bare],
        instance_ids=scene.instance_ids[bare],
        captions={i: scene.captions[i] for i in (1, 2, 3)},
    )
    for seed in range(5):
        sample = _sample(seed, empty, whole_scene=0, max_points=2000, augmentation=PLAIN)
        assert 1000 < len(sample.positions) <= 2000


def test_a_crop_that_would_hold_nothing_is_the_whole_scene():
    scene = three_boxes()
    things = scene.instance_ids > 0
    crowded = replace(
        scene,
        positions=scene.positions[things],
        colors=scene.colors[things],
        instance_ids=scene.instance_ids[things],
    )
    for seed in range(5):
        sample = _sample(seed, crowded, whole_scene=0, max_points=300, augmentation=PLAIN)
        assert len(sample.positions) == 2700
        assert len(sample.captions) == 3


def test_a_sentence_about_a_thing_that_lost_its_points_is_not_asked():
    scene = three_boxes()
    kept = np.ones(len(scene.positions), bool)
    kept[np.flatnonzero(scene.instance_ids == 6)[25:]] = False  # 25 points; 20 have to stay
    few = replace(
        scene,
        positions=scene.positions[kept],
        colors=scene.colors[kept],
        instance_ids=scene.instance_ids[kept],
        sentences=[Sentence('the green box', [(4, 13)], [[6]]), scene.sentences[0]],
    )
    for seed in range(20):
        sample = _sample(
            seed, few, whole_scene=1, sentences=1, augmentation=Augmentation(dropout=1.0)
        )
        for asked in sample.queries:
            if 'green box' not in sample.captions:
                assert asked.query.texts != ['the green box']


def test_a_scene_without_labels_is_asked_for_absent_things():
    scene = three_boxes()
    bare = replace(scene, instance_ids=0 * scene.instance_ids, captions={}, sentences=[])
    sample = _sample(0, bare)
    assert sample.captions == []
    assert (sample.instance_ids == -1).all()
    assert all(len(asked.instances) == 0 for asked in sample.queries)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'queries': 0}, 'queries is 0'),
        ({'max_points': 0}, 'max_points is 0'),
        ({'whole_scene': 1.5}, 'whole_scene is 1.5'),
        ({'sentences': -1}, 'sentences is -1'),
    ],
)
def test_wrong_sample_settings_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        LabelledSampleSettings(**changes)


# The objective


@pytest.fixture(scope='module')
def language():
    return load_language_encoder('minilm')


def _tiny() -> LiftGS:
    torch.manual_seed(0)
    return LiftGS(MODELS['tiny'](dropout=0.0), 'torch')


def _asked(text: str, phrases: dict[str, list[int]]) -> LabelledQuery:
    """A query whose phrases stand for rows of the sample's captions."""
    spans = [(0, text.index(phrase), text.index(phrase) + len(phrase)) for phrase in phrases]
    instances = np.array(sorted({row for rows in phrases.values() for row in rows}), np.int64)
    satisfied = np.array([[i in rows for rows in phrases.values()] for i in instances], bool)
    satisfied = satisfied.reshape(len(instances), len(phrases))
    return LabelledQuery(Query([text], spans, [satisfied]), instances, satisfied)


BOTH = _asked('the red box next to the blue box', {'red box': [0], 'blue box': [1]})
ABSENT = _asked('the piano', {'piano': []})


def _boxes(*queries: LabelledQuery) -> LabelledSample:
    scene = three_boxes()
    rows = np.full(7, -1)
    rows[[1, 4, 6]] = [0, 1, 2]
    captions = ['red box', 'blue box', 'green box']
    return LabelledSample(
        scene.positions, scene.colors, rows[scene.instance_ids], captions, list(queries), 'boxes'
    )


class _Answers:
    """Objective around a model that decodes to what it is told; rows of masks are captions'."""

    def __init__(self, language, sample: LabelledSample) -> None:
        weights = LabelledWeights(feature=0.0)
        self.objective = LabelledObjective(_tiny(), language, weights)
        self.sample = sample
        self.tokens, self.phrases = sample.queries[0].query.tokens(language)
        model = self.objective.model
        with torch.no_grad():
            [encoding] = model.encode([(sample.positions, sample.colors)])
        width = 3 + POSITION_CHANNELS
        features = torch.zeros(len(sample.positions), width)
        for row in range(3):
            features[:, row] = torch.from_numpy(sample.instance_ids == row).float()
        self._encoding = replace(encoding, mask_features=features)
        model.encode = lambda clouds: [self._encoding]

    def perfect(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks (5, 8) and correspondences (5, T + 1): nothing, red, blue, nothing, green."""
        masks = torch.zeros(5, 3 + POSITION_CHANNELS)
        masks[[1, 2, 4], [0, 1, 2]] = 80.0
        names = torch.full((5, self.phrases.shape[1] + 1), 1e-9)
        names[:, -1] = 1.0
        for proposal, phrase in zip((1, 2), self.phrases):
            names[proposal] = 1e-9
            names[proposal, :-1][phrase] = 1 / phrase.sum()
        return masks, names.log()

    def score(
        self, masks: torch.Tensor, names: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        layers = [LayerOutput(masks, names)] * 2
        bias = torch.tensor(-20.0)

        def decode(encodings, tokens):
            assert tokens.text == self.tokens.text
            return Decoded(encodings[0], (len(self.sample.positions),), tokens, layers, bias)

        self.objective.model.decode = decode
        return self.objective(Batch([self.sample], np.random.default_rng(0)))


def test_a_perfect_answer_costs_nothing(language):
    answers = _Answers(language, _boxes(BOTH))
    loss, log = answers.score(*answers.perfect())
    assert loss.item() == pytest.approx(0, abs=1e-3)
    for name in ('mask', 'dice', 'correspondence'):
        assert log[name] == pytest.approx(0, abs=1e-4), name
    assert log['named'] == 1
    assert log['oracle_iou'] == 1


def test_masks_are_compared_at_all_points_in_and_around_a_small_thing(language):
    sample = _boxes(_asked('the blue box', {'blue box': [1]}))
    kept = np.ones(len(sample.positions), bool)
    kept[np.flatnonzero(sample.instance_ids == 1)[20:]] = False  # of 900
    small = replace(
        sample,
        positions=sample.positions[kept],
        colors=sample.colors[kept],
        instance_ids=sample.instance_ids[kept],
    )
    weights = LabelledWeights(instance_points=3000, background_points=1)
    chosen = LabelledObjective(_tiny(), language, weights)._points(
        small, small.queries[0], np.random.default_rng(0)
    )
    center = small.positions[small.instance_ids == 1].mean(axis=0)
    distance = np.abs(small.positions - center).max(axis=1)
    assert np.isin(np.flatnonzero(distance < 0.4), chosen).all()
    assert (small.instance_ids[chosen] == 1).sum() == 20
    assert len(chosen) < 0.3 * len(small.positions)


def test_each_way_to_be_wrong_costs_something(language):
    answers = _Answers(language, _boxes(BOTH))
    masks, names = answers.perfect()
    swapped = [0, 2, 1, 3, 4]
    mute = names.clone()
    mute[:] = names[0]
    empty = torch.zeros_like(masks)
    too_much = masks.clone()
    too_much[1, 1] = 80.0  # the red box's mask holds the blue one too
    absent = names.clone()
    absent[4] = names[1]  # a third thing is called the red box
    _, log = answers.score(masks, names[swapped])
    assert log['loss'] > 5
    assert log['correspondence'] > 5
    assert log['named'] == 0
    _, log = answers.score(masks, mute)
    assert log['correspondence'] > 5
    assert log['mask'] == pytest.approx(0, abs=1e-4)
    _, log = answers.score(empty, names)
    assert log['mask'] > 0.3
    assert log['dice'] > 0.9
    assert log['oracle_iou'] == 0
    _, log = answers.score(too_much, names)
    assert log['dice'] > 0.1
    _, log = answers.score(masks, absent)
    assert log['correspondence'] > 0.5
    assert log['dice'] == pytest.approx(0, abs=1e-4)


def test_instances_share_a_phrase_and_phrases_share_an_instance(language):
    all_boxes = _asked('boxes and the red box', {'boxes': [0, 1], 'red box': [0]})
    answers = _Answers(language, _boxes(all_boxes))
    masks, names = answers.perfect()
    both = answers.phrases.any(axis=0)
    names[1] = names[2] = 1e-9
    names[1, :-1][both] = 1 / both.sum()  # red: the tokens of both phrases
    names[2, :-1][answers.phrases[0]] = 1 / answers.phrases[0].sum()  # blue: "boxes" alone
    names[1:3] = names[1:3].log()
    _, log = answers.score(masks, names)
    assert log['correspondence'] == pytest.approx(0, abs=1e-4)
    _, log = answers.score(masks, names[[0, 2, 1, 3, 4]])
    assert log['correspondence'] > 0.5


def test_an_absent_thing_gives_loss_through_no_object_alone(language):
    answers = _Answers(language, _boxes(ABSENT))
    masks, names = answers.perfect()
    count = names.shape[1]
    masks = masks.requires_grad_()
    names = torch.full((5, count), math.log(1 / count)).requires_grad_()
    loss, log = answers.score(masks, names)
    assert log['mask'] == log['dice'] == 0
    assert log['correspondence'] == pytest.approx(math.log(count), rel=1e-5)
    loss.backward()
    assert (names.grad[:, -1] < 0).all()  # more of "no object"
    assert names.grad[:, :-1].abs().max() == 0
    assert masks.grad.abs().max() == 0
    assert 'named' not in log
    silent = torch.full((5, count), -40.0)
    silent[:, -1] = 0
    assert answers.score(masks, silent)[1]['loss'] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('feature', [0.0, 2.0])
def test_the_gradient_reaches_encoder_decoder_and_text(language, feature):
    objective = LabelledObjective(_tiny(), language, LabelledWeights(feature=feature))
    sample = _boxes(BOTH, ABSENT)
    loss, log = objective(Batch([sample], np.random.default_rng(0)))
    assert np.isfinite(list(log.values())).all()
    loss.backward()
    model = objective.model
    for part in (
        model.unet, model.mask_head, model.text_to_feature, *model.decoder.layers,
        model.decoder.seeds, model.decoder.correspondence, model.decoder.language_in,
    ):  # fmt: skip
        grads = [p.grad.abs().sum() for p in part.parameters() if p.grad is not None]
        assert torch.stack(grads).sum() > 0
    assert all(p.grad is None for p in model.gaussian_head.parameters())  # nothing is rendered
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert {name.split('.')[0] for name in without} == {'gaussian_head'}


def test_the_loss_of_a_batch_is_the_mean_over_its_samples_and_their_queries(language):
    model = _tiny().eval()  # normalised alike alone and in company
    objective = LabelledObjective(model, language, LabelledWeights(feature=0.0))

    def loss(*samples: LabelledSample) -> float:
        everything = LabelledWeights(feature=0.0, background_points=10**6, instance_points=10**6)
        objective.weights = everything  # no random choice of points
        return objective(Batch(samples, np.random.default_rng(0)))[0].item()

    both, absent, pair = _boxes(BOTH), _boxes(ABSENT), _boxes(BOTH, ABSENT)
    alone = [loss(both), loss(absent)]
    assert alone[0] != pytest.approx(alone[1], rel=0.01)
    assert loss(pair) == pytest.approx(np.mean(alone), rel=1e-4)
    assert loss(both, absent) == pytest.approx(np.mean(alone), rel=1e-4)


def test_a_sample_that_shows_no_instance_still_teaches_no_object(language):
    objective = LabelledObjective(_tiny(), language, LabelledWeights())
    sample = replace(_boxes(ABSENT), captions=[])
    sample.instance_ids[:] = -1
    loss, log = objective(Batch([sample], np.random.default_rng(0)))
    loss.backward()
    assert log['feature'] == log['mask'] == 0
    assert log['correspondence'] > 0


def test_everyday_nouns_leave_the_words_as_they_are_encoded_alone(language):
    """What the feature loss reads must not depend on what was encoded before a run was resumed."""
    used = load_language_encoder('minilm')
    contrast = CaptionContrast(_tiny(), used, 0.1, 1.0, everyday_nouns=True)
    contrast(torch.randn(2, 8), np.arange(2), ['black monitor', 'potted plant'])
    for noun in (*EVERYDAY_NOUNS, 'monitor', 'plant'):
        alone = language.encode(noun)
        assert np.array_equal(used.encode(noun).embeddings, alone.embeddings), noun
        assert np.array_equal(used.encode(noun).sentence, alone.sentence), noun


def test_negative_or_empty_weights_are_refused_by_name():
    with pytest.raises(ValueError, match='noun is -1'):
        LabelledWeights(noun=-1)
    with pytest.raises(ValueError, match='instance_points is 0'):
        LabelledWeights(instance_points=0)


def test_points_that_are_no_numbers_are_left_out_of_a_scene(tmp_path):
    scene = three_boxes()
    positions = scene.positions.copy()
    positions[3], positions[700, 1] = np.nan, np.inf
    save_scene(tmp_path / 'a.npz', replace(scene, positions=positions))
    loaded = load_scene(tmp_path / 'a.npz')
    kept = np.delete(np.arange(len(positions)), [3, 700])
    np.testing.assert_array_equal(loaded.positions, scene.positions[kept])
    np.testing.assert_array_equal(loaded.instance_ids, scene.instance_ids[kept])
    assert len(loaded.colors) == len(kept)
