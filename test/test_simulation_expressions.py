"""Expressions are re-checked here by other means: mesh points, rays and camera views."""

import itertools
import re

import numpy as np
import pytest

from lift_gs_ros.geometry import invert_transform, look_at, transform_points
from lift_gs_ros.simulation.expressions import (
    EXPRESSION_KINDS,
    make_expressions,
    object_phrases,
)
from lift_gs_ros.simulation.raycasting import RoomScene
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.vocabulary import COLORS, HELD_OUT_PAIRS
from lift_gs_ros.simulation.words import (
    ABSENT_NOUNS,
    COLOR_WORDS,
    NOUNS,
    PLURAL_WRAPPERS,
    RELATION_TEMPLATES,
    WRAPPERS,
)

SPLITS = ('train', 'test')
ROOMS = {(split, seed): make_room(seed, split) for split in SPLITS for seed in range(12)}
MADE = {key: make_expressions(room, seed=3, limit=12) for key, room in ROOMS.items()}
ALL = [(ROOMS[key], e) for key, made in MADE.items() for e in made]

_COLOR_OF = {word: name for name in COLORS for word in COLOR_WORDS.get(name, (name,))}
_NOUN_OF = {text: noun for noun in NOUNS for text in (noun.text, noun.plural)}


def _of_kind(kind, relation=None):
    return [(r, e) for r, e in ALL if e.kind == kind and relation in (None, e.relation)]


def _named(room, phrase):
    """Ids of all objects that the words of a phrase fit, read from the words alone."""
    noun = max((text for text in _NOUN_OF if f' {phrase}'.endswith(f' {text}')), key=len)
    words = phrase[: -len(noun)].split()
    colors = [_COLOR_OF[word] for word in words if word in _COLOR_OF]
    return [
        o.instance_id
        for o in room.objects
        if _NOUN_OF[noun].matches(o) and (not colors or o.color_name in colors)
    ]


def _words(e, mention):
    return e.text[slice(*mention.span)]


def _rivals(room, e):
    """The target's id and the ids of the other objects that its noun and colour fit."""
    (target,) = e.target_ids
    return target, [i for i in _named(room, e.text[slice(*e.target_span)]) if i != target]


def _others(e):
    """Ids that are mentioned besides the target, in the text's order."""
    return [m.instance_ids[0] for m in e.mentions if m.span != e.target_span]


def _surface(room, i, count=250):
    """Points in the triangles of an object, from its mesh only."""
    mesh = room.object(i).mesh
    corners = mesh.vertices[mesh.triangles].astype(float)
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    rng = np.random.default_rng(i)
    picked = corners[rng.choice(len(area), count, p=area / area.sum())]
    return np.einsum('nk,nki->ni', rng.dirichlet((1, 1, 1), count), picked)


_DISTANCES = {}


def _distance(room, a, b):
    """Least horizontal distance between points of two objects."""
    key = (room.split, room.seed, a, b)
    if key not in _DISTANCES:
        p, q = _surface(room, a)[:, :2], _surface(room, b)[:, :2]
        # |p - q|^2 = |p|^2 + |q|^2 - 2 p.q
        squares = (p**2).sum(1)[:, None] + (q**2).sum(1) - 2 * p @ q.T
        _DISTANCES[key] = float(np.sqrt(max(squares.min(), 0)))
    return _DISTANCES[key]


def _middle(room, i):
    return room.object(i).box.center[:2]


def test_every_kind_and_relation_is_made_and_texts_are_distinct_in_a_room():
    assert {e.kind for _, e in ALL} == set(EXPRESSION_KINDS)
    assert {e.relation for _, e in ALL if e.kind == 'relation'} >= set(RELATION_TEMPLATES) - {
        'ordinal',
        'under',
    }
    for made in MADE.values():
        for kind in EXPRESSION_KINDS:
            texts = [e.text for e in made if e.kind == kind]
            assert len(texts) == len(set(texts)) <= 12
    assert len({e.text for _, e in ALL}) > 0.7 * len(ALL)


def test_spans_point_at_phrases_that_name_what_they_stand_for():
    for room, e in ALL:
        assert e.target_span in [m.span for m in e.mentions]
        for m in e.mentions:
            begin, end = m.span
            phrase = e.text[begin:end]
            assert 0 <= begin < end <= len(e.text)
            assert phrase == phrase.strip()
            assert not re.match(r'(the|a|an|all|both|every) ', phrase)
            assert e.text[begin - 1 : begin] in ('', ' ')
            assert e.text[end : end + 1] in ('', ' ', ',', '?')
            if phrase != 'everything' and m.instance_ids:
                assert set(m.instance_ids) <= set(_named(room, phrase)), e
        spans = [m.span for m in e.mentions]
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))


def test_nouns_and_colour_nouns_name_exactly_one_object():
    for kind in ('noun', 'colour_noun'):
        assert len(_of_kind(kind)) > 100
        for room, e in _of_kind(kind):
            assert tuple(_named(room, e.text[slice(*e.target_span)])) == e.target_ids
            assert len(e.target_ids) == 1


def test_anchors_of_relations_are_unique():
    for room, e in [*_of_kind('relation'), *_of_kind('ordinal')]:
        for m in e.mentions:
            if m.span != e.target_span:
                assert tuple(_named(room, _words(e, m))) == m.instance_ids


def test_several_targets_are_all_there_are():
    for room, e in _of_kind('several'):
        assert len(e.target_ids) >= 2
        phrase = e.text[slice(*e.target_span)]
        if phrase == 'everything':
            (anchor,) = _others(e)
            held = {o.instance_id for o in room.objects if o.support == anchor}
            assert set(e.target_ids) == held
        else:
            assert set(_named(room, phrase)) == set(e.target_ids)
        for word, count in (('both', 2), ('two', 2), ('three', 3), ('four', 4)):
            if word in e.text.split():
                assert len(e.target_ids) == count


def test_none_means_that_nothing_fits():
    for room, e in _of_kind('none'):
        assert e.target_ids == ()
        phrase = e.text[slice(*e.target_span)]
        if phrase in ABSENT_NOUNS:
            continue
        fits = _named(room, phrase)
        if e.relation:
            (anchor,) = _others(e)
            table = room.object(anchor).box
            for i in fits:
                box = room.object(i).box
                within = (np.abs(box.center - table.center)[:2] < table.size[:2] / 2).all()
                beneath = within and box.upper[2] < table.upper[2]
                assert not (room.object(i).support == anchor if e.relation == 'on' else beneath)
        else:
            assert fits == []


def test_train_never_speaks_of_held_out_colours_of_a_kind():
    spoken = {
        (_COLOR_OF[word], noun.kind)
        for (split, _), made in MADE.items()
        if split == 'train'
        for e in made
        for m in e.mentions
        for word in _words(e, m).split()
        if word in _COLOR_OF
        for text, noun in _NOUN_OF.items()
        if _words(e, m).endswith(f' {text}')
    }
    assert len(spoken) > 50
    assert not spoken & HELD_OUT_PAIRS


def test_closest_and_farthest_hold_by_a_margin_for_mesh_points():
    for relation, sign in (('closest', 1), ('farthest', -1)):
        cases = _of_kind('relation', relation)
        assert len(cases) > 20
        for room, e in cases:
            target, rivals = _rivals(room, e)
            (anchor,) = _others(e)
            own = _distance(room, target, anchor)
            for rival in rivals:
                assert sign * (_distance(room, rival, anchor) - own) > 0.15, e


def test_on_holds_for_a_ray_cast_down_from_the_target():
    cases = _of_kind('relation', 'on')
    assert len(cases) > 10
    for room, e in cases:
        target, rivals = _rivals(room, e)
        (anchor,) = _others(e)
        support = room.object(anchor).box
        base = room.object(target).box
        assert support.contains(np.array([*base.center[:2], base.lower[2] - 1e-3]))
        assert all(room.object(rival).support != anchor for rival in rivals)


def test_under_holds_for_a_ray_cast_up_from_the_target():
    cases = _of_kind('relation', 'under')
    for seed in range(100, 130):
        room = make_room(seed, 'train')
        cases += [(room, e) for e in make_expressions(room, kinds=['relation'], limit=30)
                  if e.relation == 'under']  # fmt: skip
    assert cases
    for room, e in cases:
        target, _ = _rivals(room, e)
        (anchor,) = _others(e)
        box = room.object(target).box
        top = np.array([[*room.object(target).position[:2], box.upper[2] + 0.005]])
        scene = RoomScene(room)
        hit = scene.cast(top, np.array([[0, 0, 1.0]]))
        assert scene.triangle_ids[hit.triangle[0]] == anchor


def test_next_to_is_near_and_no_rival_is():
    cases = _of_kind('relation', 'next_to')
    assert len(cases) > 10
    for room, e in cases:
        target, rivals = _rivals(room, e)
        (anchor,) = _others(e)
        assert _distance(room, target, anchor) < 0.65
        assert all(_distance(room, rival, anchor) > 0.8 for rival in rivals), e


def _seen_angle(room, i, a, b):
    """Angle at object i between the directions to a and b, degrees."""
    p, q = _middle(room, a) - _middle(room, i), _middle(room, b) - _middle(room, i)
    cos = p @ q / np.linalg.norm(p) / np.linalg.norm(q)
    return np.degrees(np.arccos(np.clip(cos, -1, 1)))


def test_between_sees_its_two_anchors_on_opposite_sides():
    cases = _of_kind('relation', 'between')
    assert len(cases) > 10
    for room, e in cases:
        target, rivals = _rivals(room, e)
        a, b = _others(e)
        own = _seen_angle(room, target, a, b)
        assert own > 115, e
        assert all(_seen_angle(room, rival, a, b) < own - 15 for rival in rivals), e


def test_left_and_right_are_so_in_the_image_of_a_camera_at_the_viewer():
    for relation, sign in (('left_of', -1), ('right_of', 1)):
        cases = _of_kind('relation', relation)
        assert len(cases) > 20
        for room, e in cases:
            target, rivals = _rivals(room, e)
            template = next(m for m in e.mentions if m.span != e.target_span)
            first = _words(e, template)
            others = _others(e)
            starts = e.text.startswith(('from', 'standing', 'looking'))
            viewer, anchor = others if starts else others[::-1]
            assert first
            eye, aim = (np.append(_middle(room, i), 1.5) for i in (viewer, anchor))
            camera_from_world = invert_transform(look_at(eye, aim))
            x, _, z = transform_points(camera_from_world, np.append(_middle(room, target), 1.5))
            assert sign * x > 0.3, e
            assert z > 0
            for rival in rivals:
                x, _, z = transform_points(camera_from_world, np.append(_middle(room, rival), 1.5))
                assert sign * x < -0.1, e


def test_in_front_of_is_on_the_side_of_the_front():
    cases = _of_kind('relation', 'in_front_of')
    assert len(cases) >= 5
    for room, e in cases:
        target, _ = _rivals(room, e)
        (anchor,) = _others(e)
        offset = _middle(room, target) - _middle(room, anchor)
        yaw = room.object(anchor).yaw
        ahead = offset @ [np.cos(yaw), np.sin(yaw)]
        aside = offset @ [-np.sin(yaw), np.cos(yaw)]
        assert ahead > abs(aside) * 0.3
        assert _distance(room, target, anchor) < 1.6


def test_ordinals_count_by_distance_from_the_anchor():
    cases = _of_kind('ordinal')
    assert len(cases) > 50
    for room, e in cases:
        phrase = e.text[slice(*e.target_span)]
        rank = ('first', 'second', 'third', 'fourth', 'fifth').index(phrase.split()[0])
        (anchor,) = _others(e)
        target, rivals = _rivals(room, e)
        ordered = sorted([target, *rivals], key=lambda i: _distance(room, i, anchor))
        assert ordered[rank] == target, e


def test_attributes_hold_by_a_margin():
    extents = {
        'tallest': lambda size: size[2],
        'shortest': lambda size: -size[2],
        'lowest': lambda size: -size[2],
        **dict.fromkeys(('biggest', 'largest', 'big', 'large', 'bigger'), np.prod),
        **dict.fromkeys(
            ('smallest', 'tiniest', 'small', 'little', 'smaller'), lambda s: -np.prod(s)
        ),
    }
    cases = _of_kind('attribute')
    assert len(cases) > 30
    for room, e in cases:
        word = e.text[slice(*e.target_span)].split()[0]
        target, rivals = _rivals(room, e)
        assert rivals
        # Sizes in the object's own frame, from its mesh.
        sizes = {}
        for i in [target, *rivals]:
            o = room.object(i)
            cos, sin = np.cos(o.yaw), np.sin(o.yaw)
            turned = o.mesh.vertices.astype(float) @ np.array(
                [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]
            )
            sizes[i] = np.ptp(turned, axis=0)
        measure = extents[word]
        assert all(measure(sizes[target]) > measure(sizes[rival]) for rival in rivals), e


def test_the_same_seed_gives_the_same_texts_and_another_seed_others():
    room = ROOMS['train', 1]
    texts = [[e.text for e in make_expressions(room, seed=s)] for s in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    alone = make_expressions(room, seed=0, kinds=['relation'])
    assert [e.text for e in alone] == [
        e.text for e in make_expressions(room, seed=0) if e.kind == 'relation'
    ]


def test_only_visible_objects_are_mentioned():
    room = ROOMS['test', 2]
    visible = [o.instance_id for o in room.objects][::2]
    made = make_expressions(room, visible_ids=visible, limit=20)
    assert made
    assert {i for e in made for m in e.mentions for i in m.instance_ids} <= set(visible)


def _pattern(template):
    return re.compile(re.sub(r'\\{\w*\\}', '.+', re.escape(template)) + r'$')


def test_reserved_templates_are_used_in_test_rooms_only():
    reserved = [t for _, extra in RELATION_TEMPLATES.values() for t in extra]
    reserved += [*WRAPPERS[1], *PLURAL_WRAPPERS[1]]
    patterns = [_pattern(template) for template in reserved]

    def share(split):
        texts = [e.text for key, made in MADE.items() if key[0] == split for e in made]
        return np.mean([any(p.match(text) for p in patterns) for text in texts])

    assert share('train') == 0
    assert 0.15 < share('test') < 0.6


def test_most_relations_need_the_relation_to_find_the_target():
    needed = [bool(_rivals(room, e)[1]) for room, e in _of_kind('relation')]
    assert np.mean(needed) > 0.7


def test_captions_name_the_object_with_synonyms_and_its_colour():
    for room in itertools.islice(ROOMS.values(), 5):
        for o in room.objects:
            phrases = object_phrases(o)
            assert len(phrases) == len(set(phrases)) >= 6
            assert all(o.instance_id in _named(room, phrase) for phrase in phrases)
            assert any(phrase.startswith(f'{o.color_name} ') for phrase in phrases)
    sofa = next(o for r in ROOMS.values() for o in r.objects if o.kind == 'sofa')
    assert {'couch', 'the sofa', 'a settee'} <= set(object_phrases(sofa))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'colour'"):
        make_expressions(ROOMS['train', 0], kinds=['colour'])
