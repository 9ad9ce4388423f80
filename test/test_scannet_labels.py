"""From ScanNet's files to fine-tuning and scores, on a simulated room written in its layout."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from annotation_files import write_scanrefer
from scannet_files import LABEL_MAP, write_scannet_scene, write_scene_files
from scipy.spatial import cKDTree

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.grounder import GrounderSettings
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding
from lift_gs_ros.model.checkpoint import save_checkpoint
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.simulation.expressions import make_expressions
from lift_gs_ros.simulation.rooms import make_room
from training.config import load_settings
from training.data import scannet_labels
from training.data.annotations import Annotation, read_annotations
from training.data.classes.scannet import SCANNET20, SCANNET200
from training.data.labelled import Sentence, load_scene
from training.data.scannet_benchmark import (
    PredictedInstance,
    detections,
    ground_truth,
    instance_classes,
    read_ground_truth,
    read_predictions,
    write_ground_truth,
    write_predictions,
)
from training.data.scannet_labels import labelled_scene, voxel_means
from training.data.scannet_scene import read_label_map, read_scannet_scene
from training.evaluation import annotated, scannet_instances
from training.evaluation.annotated import AnnotatedScores, evaluate_annotations
from training.evaluation.average_precision import scannet_ap
from training.evaluation.scannet_instances import ap_of_groups, predict_instances
from training.finetune import FinetuneSettings, finetune
from training.trainer import MODELS

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope='module')
def room():
    return make_room(3, 'train')


@pytest.fixture(scope='module')
def written(room, tmp_path_factory):
    scans = tmp_path_factory.mktemp('scannet') / 'scans'
    (scans.parent / 'labels.tsv').write_text(LABEL_MAP)
    return write_scannet_scene(scans, room)


@pytest.fixture(scope='module')
def sentences(room, written):
    """Multi3DRefer's file of true sentences about the room: of one object, of several, of none."""
    kinds = ('colour_noun', 'relation', 'several', 'none')
    entries = [
        {
            'scene_id': written.folder.name,
            'object_ids': [i - 1 for i in expression.target_ids],
            'object_name': room.object(expression.target_ids[0]).kind
            if expression.target_ids
            else expression.text[slice(*expression.target_span)],
            'ann_id': i,
            'description': expression.text,
            'eval_type': 'mt',
        }
        for i, expression in enumerate(make_expressions(room, kinds=kinds, limit=2))
    ]
    path = written.folder.parent.parent / 'multi3drefer.json'
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture(scope='module')
def built(written, sentences):
    """Build labelled scenes by the command."""
    root = written.folder.parent.parent
    (root / 'split.txt').write_text('scene0000_00\n')
    arguments = [
        str(written.folder.parent), '--split', str(root / 'split.txt'),
        '--annotations', f'multi3drefer:{sentences}', '--label-map', str(root / 'labels.tsv'),
        '--out', str(root / 'out'), '--workers', '1',
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['scannet_labels', *arguments])
        scannet_labels.main()
    return root / 'out'


# The scene


def test_a_scene_comes_back_with_its_objects_in_the_axis_aligned_frame(written):
    scene = read_scannet_scene(written.folder)
    assert scene.name == 'scene0000_00'
    assert np.allclose(scene.positions, written.vertices, atol=2e-5)
    assert np.array_equal(scene.object_ids, written.object_ids)
    assert scene.labels == written.labels
    assert scene.colors.max() <= 1


def test_a_voxel_is_what_most_of_its_points_are():
    positions = np.array([[0.02, 0, 0], [-0.02, 0, 0], [0.01, 0, 0], [0.05, 0, 0]], np.float32)
    colors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]], np.float32)
    ids = np.array([4, 7, 7, 4], np.int32)
    means, mixed, found = voxel_means(positions, colors, ids, 0.05)
    assert np.allclose(means, [[0.01 / 3, 0, 0], [0.05, 0, 0]])
    assert np.allclose(mixed, [[1 / 3, 1 / 3, 0], [1, 1, 1]])
    assert found.tolist() == [7, 4]


def test_the_command_writes_scenes_of_5_cm_with_categories_and_sentences(built, written, sentences):
    scene = load_scene(built / 'scene0000_00.npz')
    cells = np.floor(scene.positions / 0.05 + 0.5)
    assert len(np.unique(cells, axis=0)) == len(scene.positions)
    assert scene.captions[1] == written.labels[0]
    floor = max(written.labels)
    assert scene.captions[floor + 1] == 'floor'
    # Nearly every point is of the object whose vertices it was made of.
    for number in (0, 1, floor):
        box = Box.from_points(written.vertices[written.object_ids == number])
        own = scene.positions[scene.instance_ids == number + 1]
        assert np.all(own >= box.lower - 0.03), number
        assert np.all(own <= box.upper + 0.03), number
        assert Box.from_points(own).iou(box) > 0.7 or number == floor
    assert (scene.instance_ids == 0).sum() > 500  # the walls
    read = read_annotations(f'multi3drefer:{sentences}')
    assert len(scene.sentences) == len(read)
    for sentence, annotation in zip(scene.sentences, read):
        assert sentence.instances == [[i + 1 for i in annotation.targets]]
        assert sentence.text == annotation.sentence.text


def test_marked_phrases_are_kept_and_only_a_target_without_one_is_looked_for():
    text = 'the chair next to the desk'
    marked = Annotation('s', Sentence(text, [(22, 26)], [[0]]), (4,), 'chair', 'here')
    assert scannet_labels.instance_sentence(marked) == Sentence(
        text, [(22, 26), (4, 9)], [[1], [5]]
    )
    both = Annotation('s', Sentence(text, [(4, 9), (22, 26)], [[4], [0]]), (4,), 'chair', 'here')
    assert scannet_labels.instance_sentence(both).instances == [[5], [1]]


def test_fine_tuning_reads_the_scenes_and_takes_a_step(built, tmp_path):
    options = [
        f'scenes={built}', f'output={tmp_path}', 'model=tiny', 'start_from=', 'accelerator=cpu',
        'backend=torch', 'log_every=1', 'warmup=1', 'picture_every=1000', 'steps=1',
        'sample.queries=2', 'sample.whole_scene=1', 'sample.sentences=1',
    ]  # fmt: skip
    settings = load_settings(FinetuneSettings, REPOSITORY / 'config/train/scannet.yaml', options)
    assert finetune(settings).is_file()
    log = (tmp_path / 'log.csv').read_text().splitlines()
    assert len(log) == 2
    assert np.isfinite(float(log[1].split(',')[log[0].split(',').index('loss')]))


# The benchmark's own files


def test_ground_truth_is_label_times_thousand_plus_instance(built, written):
    scene = read_scannet_scene(written.folder)
    for benchmark, classes in (('scannet20', SCANNET20), ('scannet200', SCANNET200)):
        path = built / 'ground_truth' / benchmark / 'scene0000_00.txt'
        truth = read_ground_truth(path, len(scene.positions))
        labels = read_label_map(written.folder.parent.parent / 'labels.tsv', benchmark)
        known = {i for i, label in scene.labels.items() if label in labels}
        assert set(np.unique(truth)) - {0} == {
            labels[scene.labels[i]] * 1000 + i + 1 for i in known
        }
        chair = next(i for i in known if scene.labels[i] == 'chair')
        assert np.array_equal(scene.object_ids == chair, truth % 1000 == chair + 1)
        assert classes[truth[scene.object_ids == chair][0] // 1000] == 'chair'


def test_scenes_that_were_built_without_label_ids_get_their_ground_truth_later(
    built, written, tmp_path, monkeypatch, capsys
):
    root = written.folder.parent.parent
    arguments = ['scannet_labels', str(written.folder.parent), '--out', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', [*arguments, '--workers', '1'])
    scannet_labels.main()
    assert not (tmp_path / 'ground_truth').exists()
    scene = (tmp_path / 'scene0000_00.npz').read_bytes()
    capsys.readouterr()
    label_map = ['--label-map', str(root / 'labels.tsv')]
    monkeypatch.setattr(sys, 'argv', [*arguments, '--workers', '1', *label_map])
    scannet_labels.main()
    assert '1 scenes were built without --label-map' in capsys.readouterr().out
    for benchmark in ('scannet20', 'scannet200'):
        name = f'ground_truth/{benchmark}/scene0000_00.txt'
        assert (tmp_path / name).read_bytes() == (built / name).read_bytes()
    assert (tmp_path / 'scene0000_00.npz').read_bytes() == scene
    scannet_labels.main()
    assert 'without --label-map' not in capsys.readouterr().out


def test_ground_truth_that_cannot_be_written_whole_is_not_there(tmp_path, monkeypatch):
    path = tmp_path / 'scene0000_00.txt'
    write_ground_truth(path, np.array([5001, 0]))

    def full(file, *_, **__):
        Path(file).write_text('5001\n')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'savetxt', full)
    with pytest.raises(OSError, match='No space left'):
        write_ground_truth(path, np.array([7001, 7001]))
    assert read_ground_truth(path, 2).tolist() == [5001, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_predictions_come_back_and_are_scored_by_scannets_protocol(written, tmp_path):
    scene = read_scannet_scene(written.folder)
    labels = {'chair': 5, 'door': 7}
    truth = ground_truth(scene, labels)
    objects = [i for i in np.unique(truth) if i]
    right = [PredictedInstance(truth == i, int(i // 1000), 0.9) for i in objects]
    path = write_predictions(tmp_path, scene.name, right)
    assert (
        path.read_text().splitlines()[0]
        == f'pred_mask/scene0000_00_000.txt {objects[0] // 1000} 0.900000'
    )
    read = read_predictions(path, len(truth))
    assert [(p.label, p.confidence) for p in read] == [(p.label, 0.9) for p in right]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(read, right))
    classes = {5: 'chair', 7: 'door', 3: 'cabinet'}

    def ap(predictions):
        found = detections(truth, predictions, classes)
        return scannet_ap({name: [own] for name, own in found.items()})['AP50']

    assert ap(read) == 1
    assert ap([]) == 0
    swapped = [replace(p, label=12 - p.label) for p in read]
    assert ap(swapped) == 0
    assert ap([*read, PredictedInstance(scene.object_ids == -1, 5, 0.95)]) == 1  # on no label
    assert ap([*read, replace(read[0], confidence=0.95)]) < 1  # found twice
    half = [replace(p, mask=p.mask & (np.cumsum(p.mask) > 0.6 * p.mask.sum())) for p in read]
    assert ap(half) == 0


def test_masks_are_written_as_savetxt_does_and_much_faster(tmp_path):
    """ScanNet200 asks for 198 classes in 312 scenes: a thousand masks a scene."""
    mask = np.arange(200_000) % 7 < 2
    begin = time.process_time()
    path = write_predictions(tmp_path, 'scene0001_00', [PredictedInstance(mask, 5, 0.5)])
    between = time.process_time()
    np.savetxt(tmp_path / 'mask.txt', mask.astype(np.int64), fmt='%d')
    end = time.process_time()
    written = tmp_path / path.read_text().split(' ')[0]
    assert written.read_bytes() == (tmp_path / 'mask.txt').read_bytes()
    assert between - begin < 0.3 * (end - between)


class _KnowsMasks:
    """Answers a prompt of classes with the points of all their objects, in the Grounder's place."""

    def __init__(self, scene) -> None:
        self.settings = GrounderSettings()
        self._scene, self._clouds = scene, []

    def clear(self) -> None:
        self._clouds = []

    def update(self, key, cloud) -> None:
        self._clouds.append(cloud.positions)

    def encode(self) -> None:
        points = np.concatenate(self._clouds)
        of = self._scene.object_ids[cKDTree(self._scene.positions).query(points)[1]]
        self._points = {number: points[of == number] for number in self._scene.labels}

    def ground(self, query: str) -> Grounding:
        instances, begin = [], 0
        for name in query.split('. '):
            span = (begin, begin + len(name))
            begin = span[1] + len('. ')
            own = [number for number, label in self._scene.labels.items() if label == name]
            instances += [self._instance(number, name, span) for number in own]
        return Grounding(query, 0, 'map', instances)

    def _instance(self, number: int, name: str, span: tuple[int, int]) -> GroundedInstance:
        points = self._points[number]
        box, scores = Box.from_points(points), np.ones(len(points), np.float32)
        return GroundedInstance(number, name, span, True, 0.9, box, points, scores)


def test_the_masks_of_all_classes_become_predictions_on_the_mesh(written):
    scene = read_scannet_scene(written.folder)
    labels = read_label_map(written.folder.parent.parent / 'labels.tsv', 'scannet200')
    classes = {4: 'table', 2: 'chair', 22: 'book', 5: 'door', 11: 'bed', 9: 'desk', 28: 'lamp'}
    predictions = predict_instances(_KnowsMasks(scene), scene, classes)
    chairs = [i for i, label in scene.labels.items() if label == 'chair']
    assert [p.label for p in predictions].count(2) == len(chairs) == 2
    assert {classes[p.label] for p in predictions} == set(classes.values()) & {
        *scene.labels.values()
    }
    found = detections(ground_truth(scene, labels), predictions, classes)
    scores = ap_of_groups({name: [own] for name, own in found.items()}, 'scannet200')
    assert scores['all']['AP50'] == scores['head']['AP50'] == 1
    assert scores['tail']['AP50'] is None


def test_instances_are_predicted_and_scored_by_one_command(written, tmp_path, monkeypatch):
    root = written.folder.parent.parent
    arguments = [str(written.folder.parent), '--label-map', str(root / 'labels.tsv')]
    arguments += ['--benchmark', 'scannet20', '--out', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', ['scannet_instances', *arguments])
    knows = _KnowsMasks(read_scannet_scene(written.folder))
    monkeypatch.setattr(scannet_instances.Grounder, 'load', lambda checkpoint: knows)
    scannet_instances.main()
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert scores['all']['AP50'] == 1
    read = read_predictions(tmp_path / 'predictions/scene0000_00.txt', len(written.vertices))
    assert {5} <= {predicted.label for predicted in read}


def test_small_instances_and_small_predictions_do_not_count():
    truth = np.repeat([5001, 5002, 7003, 0], [300, 99, 200, 200])
    first, second, table, wall = (np.isin(truth, n) for n in (5001, 5002, 7003, 0))

    def ap(*masks, classes=(5,)):
        predictions = [PredictedInstance(mask, 5, 1 - i / 10) for i, mask in enumerate(masks)]
        found = detections(truth, predictions, dict.fromkeys(classes, 'chair'))
        return scannet_ap({'chair': [found['chair']]})['AP25']

    assert ap(first) == ap(second, first) == ap(wall, first) == ap(second | wall, first) == 1
    assert ap(table & (np.cumsum(table) < 50), first, classes=(7, 5)) == 1
    assert ap(table, first) == 1  # of a class that is not evaluated
    assert ap(table, first, classes=(7, 5)) == 0.25  # ScanNet's area under the curve
    assert ap(second) == 0
    assert 'wall' not in instance_classes('scannet200').values()
    assert len(instance_classes('scannet20')) == 18


# Scores of sentences


class _KnowsAll:
    """Answers with the true boxes, or with those of other objects, in the Grounder's place."""

    def __init__(self, scene, annotations, shift=0) -> None:
        self.settings = GrounderSettings()
        self._scene, self._points, self._shift = scene, 0, shift
        self._targets = {a.sentence.text: a.targets for a in annotations}

    def clear(self) -> None:
        self._points = 0

    def update(self, key, cloud) -> None:
        self._points += len(cloud)

    def encode(self) -> None:
        assert self._points == len(self._scene.positions)

    def ground(self, query: str) -> Grounding:
        instances = [self._instance(i + 1 + self._shift, query) for i in self._targets[query]]
        return Grounding(query, 0, 'map', instances)

    def _instance(self, number: int, phrase: str) -> GroundedInstance:
        points = self._scene.positions[self._scene.instance_ids == number]
        box, scores = Box.from_points(points), np.ones(len(points), np.float32)
        return GroundedInstance(number, phrase, (0, 1), True, 0.9, box, points, scores)


def test_sentences_are_scored_by_their_benchmarks_protocols(built, sentences):
    scene = load_scene(built / 'scene0000_00.npz')
    read = read_annotations(f'multi3drefer:{sentences}')
    right, wrong = AnnotatedScores(), AnnotatedScores()
    evaluate_annotations(_KnowsAll(scene, read), scene, read, right)
    evaluate_annotations(_KnowsAll(scene, read, shift=1), scene, read, wrong)
    summary = right.summary()
    names = ('acc25', 'acc50', 'f1_25', 'f1_50', 'f1_50_zero', 'f1_50_one', 'f1_50_several')
    assert {name: summary[name] for name in names} == dict.fromkeys(names, 1.0)
    counts = (summary['n_zero'], summary['n_one'], summary['n_several'])
    expected = [sum(min(len(a.targets), 2) == n for a in read) for n in range(3)]
    assert counts == tuple(expected)
    assert min(counts) > 0
    assert wrong.summary()['acc50'] < 0.5
    assert wrong.summary()['f1_50_zero'] == 1
    assert AnnotatedScores().summary()['acc25'] is None


def test_a_checkpoint_is_asked_a_data_sets_sentences(built, sentences, tmp_path, monkeypatch):
    checkpoint = tmp_path / 'tiny.safetensors'
    save_checkpoint(checkpoint, LiftGS(MODELS['tiny'](), 'torch'), trained=True)
    arguments = [str(built), '--annotations', f'multi3drefer:{sentences}']
    arguments += ['--checkpoint', str(checkpoint)]
    monkeypatch.setattr(sys, 'argv', ['annotated', *arguments, '--out', str(tmp_path / 'a.json')])
    annotated.main()
    summary = json.loads((tmp_path / 'a.json').read_text())
    assert summary['n_one'] > 0
    assert 0 <= summary['acc25'] <= 1


def test_only_scenes_that_sentences_are_about_are_read(built, tmp_path, monkeypatch, capsys):
    (tmp_path / 'scene0000_00.npz').write_bytes((built / 'scene0000_00.npz').read_bytes())
    (tmp_path / 'scene0001_00.npz').write_bytes(b'damaged')
    source = f'scanrefer:{write_scanrefer(tmp_path / "a.json")}'
    arguments = ['--annotations', source, '--out', str(tmp_path / 'a.out.json')]
    monkeypatch.setattr(sys, 'argv', ['annotated', str(tmp_path), *arguments])
    knows = _KnowsAll(load_scene(built / 'scene0000_00.npz'), read_annotations(source))
    monkeypatch.setattr(annotated.Grounder, 'load', lambda checkpoint: knows)
    annotated.main()
    assert json.loads((tmp_path / 'a.out.json').read_text())['acc50'] == 1
    (tmp_path / 'scene0000_00.npz').unlink()
    with pytest.raises(SystemExit):
        annotated.main()
    assert 'has training.data.scannet_labels written it?' in capsys.readouterr().err


# What is wrong


@pytest.fixture
def tiny(tmp_path):
    """Write a scene of four vertices and two objects."""
    vertices = np.array([[0, 0, 0], [0, 0, 0.1], [2, 0, 0], [4, 0, 0]], float)
    folder = tmp_path / 'scans' / 'scene0001_00'
    write_scene_files(
        folder, vertices, np.full((4, 3), 0.5), np.array([0, 0, 1, -1]), {0: 'chair', 1: 'table'}
    )
    return folder


def _edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_scene_without_alignment_stays_as_it_is(tiny):
    assert read_scannet_scene(tiny).positions.tolist()[3] == [4, 0, 0]
    (tiny / 'scene0001_00.txt').write_text('axisAlignment = 1 2 3\n')
    with pytest.raises(ValueError, match=r'scene0001_00\.txt, axisAlignment is no rigid'):
        read_scannet_scene(tiny)


def test_objects_that_are_listed_twice_keep_their_first_numbers(tiny):
    objects = tiny / 'scene0001_00.aggregation.json'
    before = read_scannet_scene(tiny).object_ids
    groups = json.loads(objects.read_text())['segGroups']
    again = [{**group, 'id': 2 + i, 'objectId': 2 + i} for i, group in enumerate(groups)]
    _edit(objects, segGroups=[*groups, *again])
    scene = read_scannet_scene(tiny)
    assert scene.object_ids.tolist() == before.tolist() == [0, 0, 1, -1]
    assert set(labelled_scene(scene).captions) == {1, 2}


def test_files_that_do_not_belong_together_are_refused(tiny):
    segments = tiny / 'scene0001_00_vh_clean_2.0.010000.segs.json'
    objects = tiny / 'scene0001_00.aggregation.json'
    group = {'id': 0, 'objectId': 0, 'segments': [999], 'label': 'chair'}
    _edit(objects, segGroups=[group])
    with pytest.raises(ValueError, match=r'object 0 has the segment 999, which no vertex has'):
        read_scannet_scene(tiny)
    _edit(objects, segGroups=[{'objectId': 0}])
    with pytest.raises(ValueError, match=r'group 0, field "segments" is None, expected a list'):
        read_scannet_scene(tiny)
    _edit(objects, segGroups=['chair'])
    with pytest.raises(ValueError, match=r"group 0 is 'chair', expected named fields"):
        read_scannet_scene(tiny)
    _edit(segments, segIndices=[1, 2, 3, 'x'])
    with pytest.raises(ValueError, match=r'"segIndices" are not all numbers'):
        read_scannet_scene(tiny)
    _edit(segments, segIndices=[1, 2])
    with pytest.raises(ValueError, match=r'has 2 of them in "segIndices", expected .* 4 vertices'):
        read_scannet_scene(tiny)
    segments.write_text('{"segIndices": [1, 2')
    with pytest.raises(ValueError, match=r'segs\.json is no JSON file or is cut off'):
        read_scannet_scene(tiny)
    segments.unlink()
    with pytest.raises(FileNotFoundError, match=r'has no scene0001_00_vh_clean_2\.0\.010000\.segs'):
        read_scannet_scene(tiny)


def test_a_sentence_about_an_object_that_is_not_there_is_refused(tiny, tmp_path):
    path = write_scanrefer(tmp_path / 'a.json', scene_id='scene0001_00', object_id='9')
    read = read_annotations(f'scanrefer:{path}')
    message = r'a\.json, entry 0 names object 9 of scene0001_00, which has the objects 0 to 1'
    with pytest.raises(ValueError, match=message):
        labelled_scene(read_scannet_scene(tiny), read)


@pytest.mark.parametrize('which', ['first', 'last'])
def test_a_target_without_a_point_counts_as_not_found_whatever_its_number(built, which):
    scene = load_scene(built / 'scene0000_00.npz')
    gone = min(scene.captions) if which == 'first' else max(scene.captions)
    captions = {number: caption for number, caption in scene.captions.items() if number != gone}
    ids = np.where(scene.instance_ids == gone, 0, scene.instance_ids)
    lost, found = (  # instances count from 1, objects from 0
        Annotation(scene.name, Sentence(f'the {i}', [], []), (i,), 'thing', f'entry {i}')
        for i in (gone - 1, 1)
    )
    scene = replace(scene, captions=captions, instance_ids=ids)
    answers = _KnowsAll(scene, [replace(lost, targets=(1,)), found])
    scores = AnnotatedScores()
    evaluate_annotations(answers, scene, [lost, found], scores)
    assert scores.ious == [0, 1]
    summary = scores.summary()
    assert (summary['n_without_points'], summary['f1_50_one']) == (1, 0.5)


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ([], r'no ScanNet scenes in'),
        (['--split', 'split.txt'], r'1 of the 1 scenes that split\.txt names are not in'),
        (['--split', 'empty.txt'], r'empty\.txt names no scene'),
    ],
)
def test_a_folder_of_something_else_says_what_was_expected(more, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('split.txt').write_text('scene0009_00')
    Path('empty.txt').touch()
    monkeypatch.setattr(sys, 'argv', ['scannet_labels', str(tmp_path), '--out', 'out', *more])
    with pytest.raises(FileNotFoundError, match=message):
        scannet_labels.main()


def test_sentences_about_other_scenes_are_an_error(tiny, tmp_path, monkeypatch, capsys):
    source = f'scanrefer:{write_scanrefer(tmp_path / "a.json")}'
    arguments = [str(tiny.parent), '--out', str(tmp_path / 'out'), '--annotations', source]
    monkeypatch.setattr(sys, 'argv', ['scannet_labels', *arguments])
    with pytest.raises(SystemExit):
        scannet_labels.main()
    assert 'no sentence is about a scene of' in capsys.readouterr().err


def test_a_label_map_of_another_kind_is_refused(tmp_path):
    path = tmp_path / 'labels.tsv'
    path.write_text('index\tname\n1\twall\n')
    with pytest.raises(ValueError, match=r'expected raw_category and nyu40id: is it scannetv2'):
        read_label_map(path, 'scannet20')
    path.write_text('id\traw_category\nx\twall\n')
    with pytest.raises(ValueError, match=r"wall is 'x', expected an object id"):
        read_label_map(path, 'scannet200')


def test_text_files_that_the_server_would_refuse_are_refused(tmp_path):
    path = tmp_path / 'scene0001_00.txt'
    write_ground_truth(path, np.array([5001, 0]))
    assert read_ground_truth(path).tolist() == [5001, 0]
    with pytest.raises(ValueError, match='has 2 lines, expected one for each of the 3 vertices'):
        read_ground_truth(path, 3)
    path.write_text('5001\nchair\n')
    with pytest.raises(ValueError, match='line 2 is "chair", expected a number from 0'):
        read_ground_truth(path)
    for line, message in (
        ('pred_mask/a.txt 5', 'line 1 is "pred_mask/a.txt 5", expected "pred_mask'),
        ('pred_mask/a.txt chair 0.5', 'line 1 is'),
        ('../a.txt 5 0.5', 'names the mask ../a.txt, expected a path below'),
    ):
        path.write_text(line + '\n')
        with pytest.raises(ValueError, match=message):
            read_predictions(path)
    path.write_text('pred_mask/a.txt 5 0.5\n')
    with pytest.raises(FileNotFoundError):
        read_predictions(path)
