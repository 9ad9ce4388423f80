"""Language annotations: each layout read back, the real samples, and files that are wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from annotation_files import (
    CHAIR,
    write_lerf_ovs,
    write_locate3d,
    write_multi3drefer,
    write_nr3d,
    write_scanents3d_nr3d,
    write_scanents3d_scanrefer,
    write_scanrefer,
    write_sr3d,
    write_vla3d,
)

from lift_gs_ros.model.phrases import noun_phrases
from training.data.annotations import READERS, Annotation, read_annotations
from training.data.annotations.lerf_ovs import read_lerf_ovs
from training.data.annotations.spans import named_sentence, target_span
from training.data.labelled import Sentence

SAMPLES = Path(__file__).parent.parent.parent / 'shared/data/language'
WRITERS = {
    'scanrefer': write_scanrefer, 'nr3d': write_nr3d, 'sr3d': write_sr3d,
    'scanents3d': write_scanents3d_scanrefer, 'multi3drefer': write_multi3drefer,
    'locate3d': write_locate3d, 'vla3d': write_vla3d,
}  # fmt: skip


def _phrases(annotation: Annotation) -> dict[str, list[int]]:
    sentence = annotation.sentence
    return {
        sentence.text[begin:end]: ids
        for (begin, end), ids in zip(sentence.phrases, sentence.instances)
    }


# Every layout


def test_scanrefer_gives_a_target_and_marks_no_phrase(tmp_path):
    (read,) = read_annotations(f'scanrefer:{write_scanrefer(tmp_path / "a.json")}')
    assert (read.scene, read.sentence.text) == (CHAIR['scene'], CHAIR['text'])
    assert (read.targets, read.target_name) == ((3,), 'office chair')
    assert _phrases(read) == {}


def test_multi3drefer_has_no_target_one_and_several(tmp_path):
    read = read_annotations(f'multi3drefer:{write_multi3drefer(tmp_path / "a.json")}')
    assert [annotation.targets for annotation in read] == [(), (3,), (3, 5)]
    assert {annotation.target_name for annotation in read} == {'office chair'}


def test_an_object_that_multi3drefer_names_twice_is_one_target(tmp_path):
    path = write_multi3drefer(tmp_path / 'a.json', object_ids=[5, 3, 5])
    assert read_annotations(f'multi3drefer:{path}')[0].targets == (5, 3)


def test_nr3d_takes_what_its_benchmark_takes(tmp_path):
    (read,) = read_annotations(f'nr3d:{write_nr3d(tmp_path / "a.csv")}')
    assert (read.scene, read.targets, read.target_name) == ('scene0000_00', (3,), 'office chair')
    assert read.sentence.text == CHAIR['text']


def test_sr3d_finds_target_and_anchors_by_their_names(tmp_path):
    (read,) = read_annotations(f'sr3d:{write_sr3d(tmp_path / "a.csv")}')
    assert read.targets == (4,)
    assert _phrases(read) == {'table': [4], 'coffee table': [7], 'chair': [3]}
    assert read.sentence.text.index('table') == read.sentence.phrases[0][0]


@pytest.mark.parametrize(
    ('write', 'name'), [(write_scanents3d_scanrefer, 'a.json'), (write_scanents3d_nr3d, 'a.csv')]
)
def test_scanents3d_marks_every_phrase_in_both_of_its_files(tmp_path, write, name):
    (read,) = read_annotations(f'scanents3d:{write(tmp_path / name)}')
    assert read.targets == (3,)
    assert _phrases(read) == {'brown chair': [3], 'coffee table': [7]}


def test_locate3d_has_phrases_of_tokens_apart_and_boxes_where_there_are_no_masks(tmp_path):
    scannet, arkit = read_annotations(f'locate3d:{write_locate3d(tmp_path / "a.json")}')
    assert _phrases(scannet) == {'brown chair': [3], 'coffee table': [7]}
    assert scannet.boxes == {}
    assert (scannet.target_name, arkit.target_name) == ('chair', 'chair')
    assert arkit.sentence == Sentence(
        'towel on the towel stand ', [(0, 5), (13, 18), (13, 24)], [[0], [0], [1]]
    )
    assert np.allclose(arkit.boxes[1].lower, [1, 1, -1])
    assert np.allclose(arkit.boxes[1].upper, [2, 2, 2])


def test_locate3ds_names_of_scannets_objects_are_not_cut_at_the_first_word(tmp_path):
    path = write_locate3d(tmp_path / 'a.json')
    (entry, _) = json.loads(path.read_text())
    entry |= {'object_name': 'trash', 'entities': [[[1], ['5_door', '3_trash_can']]]}
    path.write_text(json.dumps([entry, entry | {'scene_dataset': 'ScanNet++'}]))
    assert [read.target_name for read in read_annotations(f'locate3d:{path}')] == [
        'trash can', 'trash',
    ]  # fmt: skip


def test_entities_of_the_same_tokens_are_one_phrase(tmp_path):
    """As Locate 3D has of scene0696_00: two phrases would teach each to deny the other."""
    entities = [[[0], ['7_bedsheet']], [[0], ['24_bed']], [[3], ['24_bed']]]
    changes = {'token': ['bedsheet', 'on', 'the', 'bed'], 'entities': entities}
    path = write_scanents3d_scanrefer(tmp_path / 'a.json', **changes)
    (read,) = read_annotations(f'scanents3d:{path}')
    assert read.sentence == Sentence('bedsheet on the bed', [(0, 8), (16, 19)], [[7, 24], [24]])


def test_vla3d_shares_a_name_among_several_and_knows_a_region_from_a_statement(tmp_path):
    write_vla3d(tmp_path)
    between, closest = read_annotations(f'vla3d:{tmp_path}')
    assert between.scene == '47204840'
    assert _phrases(between) == {'fireplace': [3], 'tables': [2, 4]}
    assert closest.sentence.instances == [[1], [2]]
    assert closest.targets == (1,)


def test_lerf_ovs_joins_the_polygons_of_a_category(tmp_path):
    (image,) = read_lerf_ovs(write_lerf_ovs(tmp_path))
    assert (image.name, image.width, image.height) == ('frame_00041.jpg', 12, 10)
    expected = np.zeros((10, 12), bool)
    expected[1:5, 2:6] = expected[3:9, 8:10] = True  # the border belongs to it
    assert np.array_equal(image.mask('green apple'), expected)
    assert image.boxes['green apple'].tolist() == [[2, 1, 5, 4], [8, 3, 9, 8]]


# Where a sentence names what


@pytest.mark.parametrize(
    ('text', 'name', 'phrase'),
    [
        ('this is a brown coffee table . it is by a table', 'coffee table', 'brown coffee table'),
        ('there are two chairs by the table', 'office chair', 'two chairs'),
        ('the object is on the desk', 'printer', 'object'),
        ('the red bin by the desk', 'trash can', 'red bin'),
        ('. . !', 'box', '. . !'),
        ('walk to the bed and pick the left lamp', 'lamp', 'left lamp'),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_found_by_the_targets_name(text, name, phrase):
    assert text[slice(*target_span(text, name))] == phrase


def test_names_that_do_not_occur_are_not_marked():
    sentence = named_sentence('the sofa by the tablecloth', [('sofa', 1), ('table', 2)])
    assert (sentence.phrases, sentence.instances) == ([(4, 8)], [[1]])


# What is wrong


@pytest.mark.parametrize('layout', READERS)
def test_a_file_of_another_layout_says_what_it_lacks(layout, tmp_path):
    path = tmp_path / 'a'
    if layout in ('nr3d', 'sr3d'):
        path.write_text('scene,text\nscene0000_00,the chair\n')
    else:
        entry = {'text': 'the chair'}
        path.write_text(json.dumps(entry if layout == 'vla3d' else [entry]))
    with pytest.raises(ValueError, match=r'has .* but not|has no scene_name and no regions'):
        read_annotations(f'{layout}:{path}')


@pytest.mark.parametrize('layout', ['scanrefer', 'scanents3d', 'multi3drefer', 'locate3d', 'vla3d'])
def test_a_file_that_is_cut_off_is_refused_by_name(layout, tmp_path):
    path = WRITERS[layout](tmp_path if layout == 'vla3d' else tmp_path / 'a.json')
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=rf'{path.name} is no JSON file or is cut off .*get it'):
        read_annotations(f'{layout}:{path}')


def test_what_is_no_text_is_refused_by_name(tmp_path):
    path = tmp_path / 'a'
    path.write_bytes(b'PK\x03\x04\xff\xfe\x00\n')
    for layout in READERS:
        with pytest.raises(ValueError, match=rf'{path} is no (JSON|CSV) file'):
            read_annotations(f'{layout}:{path}')
    path.write_text('[["chair"]]')
    with pytest.raises(ValueError, match=r"entry 0 is \['chair'\], expected named fields"):
        read_annotations(f'scanrefer:{path}')


def test_a_row_that_is_cut_off_is_refused(tmp_path):
    path = write_sr3d(tmp_path / 'a.csv')
    text = path.read_text()
    path.write_text(text[: text.index('choose the')])
    with pytest.raises(ValueError, match=r'row 1 has not the 12 cells of the header'):
        read_annotations(f'sr3d:{path}')


@pytest.mark.parametrize(
    ('layout', 'changes', 'message'),
    [
        ('scanrefer', {'object_id': 'chair'}, r'entry 0, field "object_id" is \'chair\''),
        ('scanrefer', {'object_id': -1}, r'field "object_id" is -1, expected an object id'),
        ('scanrefer', {'object_id': True}, r'is True, expected an object id'),
        ('scanrefer', {'description': 7}, r'field "description" is 7, expected text'),
        ('scanrefer', {'description': ' '}, r'entry 0 has an empty sentence'),
        ('multi3drefer', {'object_ids': 3}, r'field "object_ids" is 3, expected a list'),
        ('multi3drefer', {'object_ids': [None]}, r'object_ids is None, expected an object id'),
        ('nr3d', {'target_id': '3.5'}, r'row 1, field "target_id" is \'3\.5\''),
        ('sr3d', {'anchor_ids': '[7, 3'}, r'"anchor_ids" is \'\[7, 3\', expected a list'),
        ('sr3d', {'anchor_ids': '[7]'}, r'anchors .* with ids \[7\], expected as many'),
        ('scanents3d', {'entities': [[[90], ['3_chair']]]}, r'marks the tokens \[90\] of'),
        ('scanents3d', {'entities': [[[0], ['chair']]]}, r"entity 'chair' is 'chair', expected"),
        ('scanents3d', {'entities': [['chair']]}, r'has the entity'),
        ('locate3d', {'gt_boxes': [[0, 1]]}, r'gt_boxes are not \(N, 3, 2\) numbers'),
        ('locate3d', {'gt_boxes': [[[1, 0]] * 3]}, r'lowest corner is not below'),
        ('locate3d', {'gt_boxes': [[[0, 1]] * 3]}, r'names object 1 of 42898818.*0 to 0'),
        ('vla3d', {'anchors': ['chair']}, r'anchors is \[\'chair\'\], expected named fields'),
        ('vla3d', {'anchors': {'anchor_1': {'index': 'x', 'class': 'a'}}}, r'is \'x\', expected'),
    ],
)  # fmt: skip
def test_an_entry_that_makes_no_sense_is_named(layout, changes, message, tmp_path):
    name = 'a.csv' if layout in ('nr3d', 'sr3d') else 'a.json'
    path = WRITERS[layout](tmp_path if layout == 'vla3d' else tmp_path / name, **changes)
    with pytest.raises(ValueError, match=message):
        read_annotations(f'{layout}:{path}')


@pytest.mark.parametrize('references', [None, 7, {'target_index': '3'}])
def test_a_statement_that_refers_to_no_list_is_named(references, tmp_path):
    content = {'scene_name': '47204840', 'regions': {'0': {'the chair': references}}}
    (tmp_path / 'a.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'a\.json, region 0, field "the chair" is .*a list'):
        read_annotations(f'vla3d:{tmp_path}/a.json')


@pytest.mark.parametrize(('begin', 'end'), [(4, 90), (-1, 3), (5, 5)])
def test_a_phrase_outside_its_sentence_is_refused(begin, end):
    sentence = Sentence('the chair', [(begin, end)], [[1]])
    with pytest.raises(ValueError, match=rf'file\.json marks the characters \[{begin}, {end}\)'):
        Annotation('scene', sentence, (1,), 'chair', 'file.json')


@pytest.mark.parametrize('source', ['chairs.json', 'scanrefur:chairs.json', 'scanrefer:'])
def test_an_unknown_layout_is_refused_with_those_that_are_known(source):
    with pytest.raises(ValueError, match=r'expected LAYOUT:PATH with one of scanrefer, nr3d'):
        read_annotations(source)


def test_annotations_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no annotations at .*docs/datasets\.md'):
        read_annotations(f'scanrefer:{tmp_path}/a.json')
    for read, folder in ((read_lerf_ovs, tmp_path), (READERS['vla3d'], tmp_path)):
        with pytest.raises(FileNotFoundError, match=r'no (frame_|\*_referential_statements)'):
            read(folder)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'segmentation': [[1, 2], [3]]}, 'segmentation is'),
        ({'segmentation': [[1, 2], [3, 4]]}, r'object 0 \(green apple\) has 2 corners'),
        ({'bbox': [1, 2]}, r'bbox is \[1, 2\], expected pixels of shape'),
        ({'category': None}, 'field "category" is None, expected text'),
    ],
)
def test_a_label_of_lerf_that_is_damaged_is_named(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_lerf_ovs(write_lerf_ovs(tmp_path, **changes))


# The real samples, where they are


@pytest.mark.skipif(not SAMPLES.is_dir(), reason='the samples are not here')
def test_the_real_sample_of_locate3d_is_read_whole():
    read = read_annotations(f'locate3d:{SAMPLES}/locate3d_val_arkitscenes.json')
    assert len(read) == 425
    for annotation in read:
        text = annotation.sentence.text
        named = [ids for ids in annotation.sentence.instances if annotation.targets[0] in ids]
        assert named, annotation.where
        spans = annotation.sentence.phrases
        assert all(text[b:e].strip() == text[b:e] for b, e in spans), annotation.where
    # Where the target is not marked, its name finds it.
    found = [target_span(a.sentence.text, a.target_name) for a in read]
    marked = [
        [p for p, ids in zip(a.sentence.phrases, a.sentence.instances) if a.targets[0] in ids]
        for a in read
    ]
    hits = [any(b < s[1] and s[0] < e for b, e in own) for s, own in zip(found, marked)]
    assert all(hits)
    assert sum(s in own for s, own in zip(found, marked)) >= 408


@pytest.mark.skipif(not SAMPLES.is_dir(), reason='the samples are not here')
def test_the_real_sample_of_vla3d_is_read_whole():
    read = read_annotations(f'vla3d:{SAMPLES}/vla3d')
    assert len(read) == 100
    assert {annotation.scene for annotation in read} == {'47204840'}
    things = SAMPLES / 'vla3d/ARKitScenes/47204840/47204840_object_result.csv'
    known = {int(line.split(',')[0]) for line in things.read_text().splitlines()[1:]}
    for annotation in read:
        annotation.check_objects(known)
        mentioned = {i for ids in annotation.sentence.instances for i in ids}
        assert mentioned == annotation.object_ids
        assert annotation.targets[0] in annotation.sentence.instances[0]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason='the samples are not here')
def test_what_real_captions_ask_for_is_a_phrase_of_theirs(tmp_path):
    captions = json.loads((SAMPLES / 'zsvg3d_scanrefer_val.json').read_text())[::20]
    # ScanRefer's sentences in another project's layout: put back into ScanRefer's.
    entries = [
        {
            'scene_id': caption['scan_id'], 'object_id': str(caption['target_id']),
            'object_name': 'object', 'ann_id': '0', 'description': caption['caption'], 'token': [],
        }
        for caption in captions
    ]  # fmt: skip
    path = tmp_path / 'scanrefer.json'
    path.write_text(json.dumps(entries))
    read = read_annotations(f'scanrefer:{path}')
    assert [a.targets[0] for a in read] == [caption['target_id'] for caption in captions]
    for annotation in read:
        begin, end = target_span(annotation.sentence.text, annotation.target_name)
        assert annotation.sentence.text[begin:end].strip(), annotation.where


@pytest.mark.skipif(not SAMPLES.is_dir(), reason='the samples are not here')
def test_most_real_captions_of_several_sentences_ask_for_one_thing():
    captions = json.loads((SAMPLES / 'zsvg3d_scanrefer_val.json').read_text())[::20]
    texts = [caption['caption'] for caption in captions if caption['caption'].count('.') > 1]
    targets = [sum(phrase.is_target for phrase in noun_phrases(text)) for text in texts]
    assert len(texts) > 300
    assert min(targets) == 1
    assert sum(number == 1 for number in targets) > 0.88 * len(texts)
