import threading

import numpy as np
import pytest
from training_rooms import read_rooms, two_boxes

from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.simulation.vocabulary import HELD_OUT_PAIRS
from training.contrast import CAPTION_BANK
from training.data.augment import Augmentation, augment
from training.data.load import open_rooms
from training.data.queries import Caption, Query, QueryMix, make_query, reworded
from training.data.room_cache import load_room, save_room
from training.data.sample import SampleSettings, _draw_crop, make_sample


def test_captions_describe_each_other_as_far_as_they_tell():
    office = Caption.parse('red office chair')
    assert office == Caption('red', 'office chair')
    assert office.kind == 'chair'
    assert Caption.parse('chair').describes(office)
    assert Caption.parse('red swivel chair').describes(office)
    assert not office.describes(Caption.parse('red chair'))  # it may be of another sort
    assert not Caption.parse('blue chair').describes(office)
    assert Caption.parse('gray couch').describes(Caption.parse('grey sofa'))
    assert not Caption.parse('red wall').describes(Caption.parse('wall'))


def test_words_of_a_vlm_that_no_thesaurus_has_are_taken_for_what_they_end_in():
    wooden = Caption.parse('wooden office chair')
    assert wooden.kind == 'chair'
    assert Caption.parse('chair').describes(wooden)
    assert wooden.describes(wooden)
    assert not wooden.describes(Caption.parse('office chair'))  # it may be of plastic
    assert not Caption.parse('box near the wall').describes(Caption.parse('wall'))
    assert Caption.parse('red chair').may_be(wooden)  # no negative for its features
    assert not Caption.parse('red chair').may_be(Caption.parse('blue chair'))
    assert not Caption.parse('red chair').may_be(Caption.parse('red wall'))


@pytest.mark.parametrize(
    ('caption', 'kind'),
    [
        ('black chair with wheels', 'chair'),
        ('the box near the wall', 'box'),
        ('chair next to a table', 'chair'),
        ('chair right next to the door', 'chair'),
        ('chair left of the desk', 'chair'),
        ('chair facing the window', 'chair'),
        ('mug standing on the table', 'mug'),
        ('chairs', 'chair'),
        ('kitchen cabinets', 'cabinet'),
        ('bookshelf filled with books', 'bookshelf'),
        ('tall wooden shelf full of books', 'bookshelf'),
        ('shelf holding books', 'bookshelf'),
        ('white bed covered with a blanket', 'bed'),
        ('table made of wood', 'table'),
        ('picture of a cat', 'picture'),
        ('monitor on top of a desk', 'monitor'),
        ('laptop that is open', 'laptop'),
        ('pile of books', 'book'),
        ('stacks of cardboard boxes', 'box'),
        ('row of black office chairs by the wall', 'chair'),
        ('corner of a wooden table', 'table'),
        ('wooden chest of drawers', 'cabinet'),
        ('chest of drawers standing near the window', 'cabinet'),
        ('lamp on the chest of drawers', 'lamp'),
        ('two chests of drawers', 'cabinet'),
        ('brown coffee maker on the counter', 'coffee maker'),
        ('digital clock on the wall', 'clock'),
        ('brick wall', 'wall'),
        ('wall mounted tv', 'wall mounted tv'),
        ('pile of', 'pile'),
        ('with', 'with'),
        ('orange', 'orange'),
        ('', ''),
    ],
)
def test_a_caption_of_a_vlm_is_of_the_thing_that_it_names_first(caption, kind):
    said = Caption.parse(caption)
    assert said.kind == kind
    assert Caption(said.color, kind).describes(said)
    assert said.describes(said)
    near = {bank.kind for bank, _ in CAPTION_BANK if bank.may_be(said)}
    assert near <= {kind}  # whatever else is named is a negative of its pixels, the thing is not
    assert bool(near) == any(bank.kind == kind for bank, _ in CAPTION_BANK)


def test_what_a_caption_names_in_more_words_is_asked_for_and_is_not_absent():
    shown = [
        'black coffee maker on the counter', 'digital clock on the wall', 'red shoes by the door',
        'blue chair next to a table', 'green pile of books',
    ]  # fmt: skip
    asked = set()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        query = make_query([shown], shown, QueryMix(absent=0.5), 8, rng)
        for number, (text, begin, end) in enumerate(query.phrases):
            said = Caption.parse(query.texts[text][begin:end])
            asked.add(said.noun)
            if said.kind in ('clock', 'coffee maker') and said.color in (None, 'black'):
                assert query.satisfied[0][:, number].any()
    assert {'coffee maker', 'chair', 'book', 'shoe'} <= asked


def test_other_words_of_a_caption_mean_the_same():
    rng = np.random.default_rng(0)
    said = {c: {reworded(c, 1.0, rng) for _ in range(60)} for c in ('grey sofa', 'bin', 'wall')}
    assert {'gray couch', 'grey settee', 'grey sofa'} <= said['grey sofa']
    assert {'bin', 'trash can'} <= said['bin']
    assert said['wall'] == {'wall'}
    for caption, words in said.items():
        for other in map(Caption.parse, words):
            assert other.describes(Caption.parse(caption))
            assert Caption.parse(caption).describes(other)
    assert reworded('red office chair', 1.0, rng) != 'red chair'
    assert {reworded('grey sofa', 0.0, rng) for _ in range(20)} == {'grey sofa'}


def test_queries_ask_for_what_is_shown_and_mark_its_characters():
    captions = [['red box', 'blue box', 'floor', 'red box'], ['blue box', 'green plant']]
    mix = QueryMix(single=0.5, absent=0.0)
    for seed in range(40):
        query = make_query(captions, captions[0], mix, 8, np.random.default_rng(seed))
        assert [part.shape for part in query.satisfied] == [
            (4, len(query.texts)),
            (2, len(query.texts)),
        ]
        for number, (text, (_, begin, end)) in enumerate(zip(query.texts, query.phrases)):
            phrase = Caption.parse(text[begin:end])
            for view, satisfied in zip(captions, query.satisfied):
                expected = [phrase.describes(Caption.parse(caption)) for caption in view]
                assert satisfied[:, number].tolist() == expected
        assert query.satisfied[0].any()


@pytest.mark.parametrize('thing', ['can', 'see', 'a'])
def test_a_phrase_is_marked_where_it_stands_and_not_in_the_words_around_it(thing):
    wrapped = set()
    for seed in range(60):
        mix = QueryMix(single=1, absent=0, stuff=1)
        query = make_query([[thing]], [thing], mix, 8, np.random.default_rng(seed))
        [(_, begin, end)] = query.phrases
        rest = query.texts[0][:begin] + '|' + query.texts[0][end:]
        assert query.texts[0][begin:end] == thing
        wrapped.add(rest)
    assert {'can you see the |?', 'where is the |?', 'the |', '|'} <= wrapped


def test_a_phrase_owns_the_tokens_of_its_words_in_its_own_text():
    language = load_language_encoder('minilm')
    texts = ['the red box next to the blue box', 'find the washing machine']
    phrases = [(0, 4, 11), (0, 24, 32), (1, 9, 24)]
    tokens, belongs = Query(texts, phrases, []).tokens(language)
    assert belongs.shape == (3, len(tokens.spans))
    words = np.array([tokens.text[begin:end] for begin, end in tokens.spans])
    assert [list(words[own]) for own in belongs] == [
        ['red', 'box'], ['blue', 'box'], ['washing', 'machine'],
    ]  # fmt: skip
    assert np.flatnonzero(belongs[0]).max() < np.flatnonzero(belongs[1]).min()
    alone = language.encode(texts[1]).embeddings  # as if the first text were not there
    assert np.array_equal(tokens.embeddings[-len(alone) :], alone)


def test_absent_queries_are_satisfied_by_nothing_in_view():
    mix = QueryMix(single=1.0, absent=1.0)
    for seed in range(40):
        shown = ['red box', 'blue box', 'wall']
        query = make_query([shown], shown, mix, 8, np.random.default_rng(seed))
        assert not query.satisfied[0].any()
        assert 'wall' not in query.texts[0]  # the teacher named no colour of it


def test_pairs_that_training_must_not_see_are_never_asked_for():
    shown = ['red chair', 'blue lamp', 'brown table']
    for seed in range(60):
        query = make_query([shown], shown, QueryMix(), 8, np.random.default_rng(seed))
        for text, begin, end in query.phrases:
            said = Caption.parse(query.texts[text][begin:end])
            assert (said.color, said.kind) not in HELD_OUT_PAIRS


def test_a_query_about_an_empty_view_is_an_absent_one():
    query = make_query([[]], [], QueryMix(), 8, np.random.default_rng(0))
    assert len(query.texts) >= 1
    assert query.satisfied[0].shape == (0, len(query.texts))


def test_augmentation_without_noise_is_a_rigid_motion_or_its_mirror_image():
    positions = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    colors = np.full((50, 3), 0.5, np.float32)
    settings = Augmentation(brightness=0, tint=0, noise=0, jitter=0, dropout=0)
    handedness = set()
    for seed in range(10):
        cloud = augment(positions, colors, settings, 0.05, np.random.default_rng(seed))
        moved = positions @ cloud.transform[:3, :3].T + cloud.transform[:3, 3]
        assert np.allclose(cloud.positions, moved, atol=1e-5)
        assert np.allclose(cloud.colors, 0.5)
        determinant = np.linalg.det(cloud.transform[:3, :3])
        assert determinant == pytest.approx(-1 if cloud.mirrored else 1)
        handedness.add(cloud.mirrored)
    assert handedness == {True, False}


def test_a_cached_room_comes_back_as_it_was_and_damaged_or_old_ones_are_refused(tmp_path):
    room = two_boxes()
    path = tmp_path / 'room.npz'
    save_room(path, room)
    loaded = read_rooms(tmp_path)[0]
    assert np.array_equal(loaded.positions, room.positions)
    assert np.allclose(loaded.colors, room.colors, atol=1 / 255)
    for ours, theirs in zip(room.views, loaded.views):
        assert np.array_equal(ours.semantics, theirs.semantics)
        assert ours.captions == theirs.captions
    data = dict(np.load(path))
    np.savez(path, **{**data, 'version': 0})
    with pytest.raises(ValueError, match='version 0, expected'):
        load_room(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match='damaged'):
        load_room(path)
    with pytest.raises(FileNotFoundError, match='no cached rooms'):
        open_rooms(str(tmp_path / 'nowhere'))


def test_a_sample_is_repeatable_and_its_masks_lie_on_the_things_that_it_asks_for():
    room = two_boxes()
    plain = Augmentation(brightness=0, tint=0, noise=0, jitter=0, dropout=0)
    settings = SampleSettings(stride=1, min_points=10, whole_room=1.0, augmentation=plain)
    seen = 0
    for seed in range(10):
        sample = make_sample(room, settings, 0.05, np.random.default_rng(seed))
        again = make_sample(room, settings, 0.05, np.random.default_rng(seed))
        assert np.array_equal(sample.positions, again.positions)
        assert sample.query.texts == again.query.texts
        assert len(sample.views) == 2
        for view in sample.views:
            rendered = np.asarray(view.weights.matrix @ sample.colors)
            for instance, satisfied in zip(view.instances, view.satisfied):
                pixels = (view.semantics == instance) & view.valid
                mean = rendered[pixels].mean(axis=0)
                name = view.captions[instance]
                assert satisfied.any()
                if name != 'floor':
                    assert int(mean.argmax()) == {'red box': 0, 'blue box': 2}[name]
                seen += 1
    assert seen > 5


def test_a_frustum_leaves_out_what_the_view_can_not_see():
    room = two_boxes()
    settings = SampleSettings(
        whole_room=0.0, around_mask=0.0, depth=(2.0, 2.5), min_points=10, max_points=10_000
    )
    sample = make_sample(room, settings, 0.05, np.random.default_rng(0))
    assert 10 <= len(sample.positions) < 0.8 * len(room.positions)


def test_a_crop_around_a_mask_holds_the_points_nearest_to_it():
    room = two_boxes()
    settings = SampleSettings(whole_room=0.0, around_mask=1.0, max_points=2000)
    for seed in range(5):
        first, crop = _draw_crop(room, settings, np.random.default_rng(seed))
        assert crop.sum() == pytest.approx(2000, abs=50)
        assert 0 <= first < len(room.views)
        center = room.positions[crop][:, :2].mean(axis=0)
        distance = np.linalg.norm(room.positions[:, :2] - center, axis=1)
        assert distance[crop].mean() < 0.7 * distance[~crop].mean()


def test_threads_composite_different_views_at_the_same_time(monkeypatch):
    room, together = two_boxes(), threading.Barrier(2, timeout=20)
    monkeypatch.setattr('training.data.room_cache.fixed_weights', lambda *_: together.wait())
    threads = [threading.Thread(target=lambda view=view: view.weights) for view in room.views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together.broken


def test_wrong_sample_settings_are_refused_by_name():
    with pytest.raises(ValueError, match='views is 0'):
        SampleSettings(views=0)
    with pytest.raises(ValueError, match='single is 2'):
        QueryMix(single=2)
