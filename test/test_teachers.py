import importlib
import math
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_teachers
import torch
from PIL import Image
from pretended_gpu import pretended_gpu

from lift_gs_ros.geometry import Camera
from training.data.posed_image import PosedImage
from training.data.pseudo_labels import PseudoLabels
from training.teachers.clip import ClipRegions
from training.teachers.detector import DetectorSettings, GroundedMasks, nearest_noun
from training.teachers.labels import Regions, RegionTeacher, index_image
from training.teachers.load import TeacherSpec, check_teachers, load_teacher, read_vocabulary
from training.teachers.mobile_sam import load_mobile_sam
from training.teachers.sam import SamSettings, SegmentAnything
from training.teachers.tagger import ClipTagger
from training.teachers.vlm import PROMPT, VlmCaptions, clean, highlight

HEIGHT, WIDTH = 48, 64
EVERYTHING = SamSettings(points_per_side=4, points_per_batch=8, min_iou=-100.0, min_stability=0.0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Folders of tiny weights, each made when it is first asked for."""
    folder, made = tmp_path_factory.mktemp('weights'), {}

    def get(name):
        if name not in made:
            made[name] = str(getattr(tiny_teachers, f'save_{name}')(folder / name))
        return made[name]

    return get


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test may reach a model hub, whatever the library thinks it needs."""
    monkeypatch.setattr('socket.socket.connect', lambda *_: pytest.fail('a download was tried'))


def image(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    pixels[10:30, 8:30] = 220, 30, 30
    pixels[20:44, 36:60] = 30, 30, 220
    return pixels


def boxes_as_masks():
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    masks[0, 10:30, 8:30] = masks[1, 20:44, 36:60] = True
    return masks


def posed(pixels):
    camera = Camera.from_focal(50, 50, 31.5, 23.5, WIDTH, HEIGHT)
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    return PosedImage('scene', '000000', 0, pixels, depth, camera, np.eye(4), [(0, 0, 0)])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A Hugging Face cache of this test alone: ``put(folder, name)`` is what a download leaves."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))

    def put(folder, name, files='*'):
        repository = tmp_path / 'hub' / f'models--{name.replace("/", "--")}'
        snapshot, blobs = repository / 'snapshots' / ('0' * 40), repository / 'blobs'
        for made in (snapshot, blobs, repository / 'refs'):
            made.mkdir(parents=True, exist_ok=True)
        (repository / 'refs' / 'main').write_text('0' * 40)
        for file in Path(folder).glob(files):
            shutil.copy(file, blobs / file.name)
            (snapshot / file.name).symlink_to(f'../../blobs/{file.name}')
        return name

    return put


def test_weights_are_found_by_their_name_in_the_users_cache(weights, cache):
    clip = cache(weights('clip'), 'timm/vit_tiny_patch8_clip_32.random')
    sam = cache(weights('sam2'), 'somebody/sam2-tiny')
    dino = cache(weights('grounding_dino'), 'somebody/dino-tiny')
    spec = TeacherSpec(f'detector:{dino},{sam}', embeddings=f'clip:{clip}', tags=f'clip:{clip}')
    check_teachers(spec, [])
    assert load_teacher(spec).embeddings is not None
    masks = boxes_as_masks()
    named, by_path = (ClipRegions.load(where) for where in (clip, weights('clip')))
    assert np.array_equal(named.embeddings(image(), masks), by_path.embeddings(image(), masks))
    tagger = ClipTagger.load(clip, ['chair', 'table'])
    assert tagger.tags(image()) == ClipTagger.load(weights('clip'), ['chair', 'table']).tags(
        image()
    )


def test_a_clip_of_which_a_file_is_missing_is_told_before_it_is_loaded(weights, cache):
    half = cache(weights('clip'), 'timm/half', 'open_clip_config.json')
    with pytest.raises(FileNotFoundError, match=r'half.* and no weights, expected open_clip_model'):
        check_teachers(TeacherSpec('sam:' + weights('sam'), embeddings=f'clip:{half}'), [])
    with pytest.raises(
        FileNotFoundError, match=r'no usable CLIP at \'timm/other\'.*hf download timm'
    ):
        ClipRegions.load('timm/other')


@pytest.mark.parametrize('kind', ['sam', 'slimsam', 'sam2', 'sam2_video', 'edgetam', 'mobile_sam'])
def test_sam_gives_masks_of_the_images_size_for_everything_and_for_boxes(weights, kind):
    sam = SegmentAnything.load(weights(kind), settings=EVERYTHING)
    masks = sam.regions(image()).masks
    assert masks.dtype == bool
    assert masks.shape[1:] == (HEIGHT, WIDTH)
    assert len(masks) > 0
    boxes = [[8, 10, 30, 30], [36, 20, 60, 44]]
    in_boxes = sam.masks_in(image(), boxes)
    assert in_boxes.shape == (2, HEIGHT, WIDTH)
    assert sam.masks_in(image(), []).shape == (0, HEIGHT, WIDTH)
    # A box is what the model was asked about, in the image's own pixels.
    other = sam.masks_in(image(), [[0, 0, 8, 8], [36, 20, 60, 44]])
    assert np.array_equal(other[1], in_boxes[1])


@pytest.mark.parametrize('kind', ['sam', 'sam2', 'mobile_sam'])
def test_sam_says_the_same_of_boxes_with_its_tensors_on_a_gpu(weights, kind, monkeypatch):
    # Masks of everything are left to transformers' pipeline, which asks the driver.
    monkeypatch.setattr(torch.backends.cudnn, 'enabled', False)
    boxes = [[8, 10, 30, 30], [36, 20, 60, 44]]
    with pretended_gpu():
        found = SegmentAnything.load(weights(kind), 'cuda').masks_in(image(), boxes)
    assert np.array_equal(found, SegmentAnything.load(weights(kind)).masks_in(image(), boxes))


def test_clip_says_the_same_with_its_tensors_on_a_gpu(weights):
    clip = ClipRegions.load(weights('clip'))
    with pretended_gpu():
        found = ClipRegions.load(weights('clip'), device='cuda').embeddings(
            image(), boxes_as_masks()
        )
    assert np.allclose(found, clip.embeddings(image(), boxes_as_masks()), atol=1e-6)


def test_weights_for_videos_give_the_masks_of_the_image_model_in_them(weights):
    boxes = [[8, 10, 30, 30], [36, 20, 60, 44]]
    of_images, of_videos = (
        SegmentAnything.load(weights(kind)).masks_in(image(), boxes)
        for kind in ('sam2', 'sam2_video')
    )
    assert of_images.any()
    assert np.array_equal(of_images, of_videos)


class _Bomb:
    def __reduce__(self):
        return pytest.fail, ('the checkpoint was unpickled',)


@pytest.mark.parametrize('name', ['mobile_sam.pt', 'sam_vit_b_01ec64.pth'])
def test_a_pickled_checkpoint_is_refused_unread_with_what_to_take_instead(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(ValueError, match=r'MobileSAM.*not read.*Zigeng/SlimSAM-uniform-77'):
        load_teacher(TeacherSpec(f'sam:{path}'))


def test_a_file_of_tensors_that_are_not_mobile_sams_is_refused(weights, tmp_path):
    whole = torch.load(weights('mobile_sam'), weights_only=True)
    path = tmp_path / 'mobile_sam.pt'
    torch.save({'conv.weight': torch.zeros(3)}, path)
    with pytest.raises(ValueError, match='holds other things than the tensors of MobileSAM'):
        check_teachers(TeacherSpec(f'sam:{path}'), [])
    path.write_bytes(Path(weights('mobile_sam')).read_bytes()[:-2000])
    with pytest.raises(ValueError, match='no tensors can be read from it'):
        check_teachers(TeacherSpec(f'sam:{path}'), [])
    for missing in (
        'mask_decoder.iou_token.weight',
        'image_encoder.layers.2.blocks.1.mlp.fc1.bias',
    ):
        torch.save({name: tensor for name, tensor in whole.items() if name != missing}, path)
        with pytest.raises(ValueError, match=r'mobile_sam\.pt is not whole.*'):
            SegmentAnything.load(str(path))


def test_the_file_that_is_written_in_mobile_sams_layout_is_of_its_size():
    # Of the state dict of build_sam_vit_t() in github.com/ChaoningZhang/MobileSAM, counted there.
    shapes = tiny_teachers.mobile_sam_shapes()
    assert len(shapes) == 439
    assert sum(math.prod(shape) for shape in shapes.values()) == 10_140_231


def test_every_tensor_of_mobile_sam_is_used_and_the_last_stage_keeps_the_resolution(weights):
    path = Path(weights('mobile_sam'))
    model, _ = load_mobile_sam(path)
    state = torch.load(path, weights_only=True)
    own = [
        tensor for name, tensor in state.items() if not re.search(r'encoder\.(norm_)?head', name)
    ]
    held = {
        name: tensor for name, tensor in model.state_dict().items() if 'shared_image' not in name
    }
    used = {name: tensor.numel() for name, tensor in held.items()}
    assert sum(used.values()) == sum(tensor.numel() for tensor in own)
    with torch.inference_mode():
        stages = model.vision_encoder.backbone.forward_intermediates(torch.zeros(1, 3, 1024, 1024))
    assert [features.shape[-1] for features in stages[1]] == [256, 128, 64, 64]


@pytest.mark.parametrize('kind', ['sam', 'sam2'])
def test_sam_that_is_sure_of_nothing_returns_nothing_and_that_is_a_label(weights, kind):
    strict = SamSettings(points_per_side=2, min_iou=1e6)
    teacher = RegionTeacher(SegmentAnything.load(weights(kind), settings=strict))
    labels = teacher.label(posed(image()))
    assert (labels.semantics == -1).all()


@pytest.mark.parametrize('kind', ['grounding_dino', 'owlv2'])
def test_a_detector_names_what_it_finds_with_words_of_its_vocabulary(weights, kind):
    sam = SegmentAnything.load(weights('sam2'), settings=EVERYTHING)
    vocabulary = ['chair', 'red box']
    detector = GroundedMasks.load(weights(kind), sam, vocabulary)
    detector._settings = DetectorSettings(min_score=0.0, min_text_score=0.0, max_area=1.0)
    regions = detector.regions(image())
    assert len(regions.masks) == len(regions.captions) > 0
    assert set(regions.captions) <= {'chair', 'red box'}
    detector._settings = DetectorSettings(min_score=1.1)
    assert len(detector.regions(image()).masks) == 0
    with pytest.raises(ValueError, match='vocabulary is empty'):
        GroundedMasks.load(weights(kind), sam, [])


def test_nouns_that_are_too_many_for_one_prompt_of_grounding_dino_are_shared_among_several(weights):
    sam = SegmentAnything.load(weights('sam2'), settings=EVERYTHING)
    nouns = read_vocabulary('scannet200')
    detector = GroundedMasks.load(weights('grounding_dino'), sam, nouns)
    prompts = detector._prompts(nouns)
    assert [noun for prompt in prompts for noun in prompt] == nouns
    tokenizer, limit = detector._processor.tokenizer, detector._model.config.max_text_len
    lengths = [len(tokenizer('. '.join(prompt) + '.').input_ids) for prompt in prompts]
    assert max(lengths) <= limit < sum(lengths)
    detector._settings = DetectorSettings(min_score=0.0, min_text_score=0.0, max_area=1.0)
    found = set(detector.regions(image()).captions)
    assert all(found & set(prompt) for prompt in prompts)


def test_words_that_a_detector_answers_with_become_a_noun_of_its_vocabulary():
    nouns = ['chair', 'office chair', 'red box', 'window']
    assert nearest_noun('office chair', nouns) == 'office chair'
    assert nearest_noun('chair', nouns) == 'chair'
    assert nearest_noun('[SEP] box.', nouns) == 'red box'
    assert nearest_noun('red box. chair', nouns) == 'red box'
    assert nearest_noun('[SEP]', nouns) == ''


@pytest.mark.parametrize('kind', ['crop', 'masked_crop', 'both'])
def test_clip_embeds_each_mask_by_what_it_shows(weights, kind):
    clip = ClipRegions.load(weights('clip'), kind)
    masks = boxes_as_masks()
    found = clip.embeddings(image(), masks)
    assert found.shape == (2, clip.dim)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    changed = image()
    changed[:8] = 255  # far from both masks, but within the margin of neither
    changed[31, 8:30] = 255  # next to the first mask, within its margin
    again = clip.embeddings(changed, masks)
    assert np.allclose(again[1], found[1], atol=1e-5)
    assert np.allclose(again[0], found[0], atol=1e-5) == (kind == 'masked_crop')
    assert clip.embeddings(image(), masks[:0]).shape == (0, clip.dim)


def test_a_vlm_is_shown_each_region_in_a_red_box_and_asked_the_papers_question(weights):
    vlm = VlmCaptions.load(weights('llava'))
    prompts = []
    template = vlm._processor.apply_chat_template

    def listen(chats, **options):
        prompts.extend(part['text'] for chat in chats for part in chat[0]['content'][1:])
        return template(chats, **options)

    vlm._processor.apply_chat_template = listen
    vlm._batch_size = 2
    masks = np.concatenate([boxes_as_masks(), boxes_as_masks()[:1]])
    captions = vlm.captions(image(), masks)
    assert prompts == [PROMPT] * 3
    assert len(captions) == 3
    words = {*tiny_teachers.WORDS, '<unk>', ''}
    assert all(set(caption.split(' ')) <= words for caption in captions)
    alone = vlm.captions(image(), masks[:1])
    assert alone[0] == captions[0]  # whatever it shares a batch with
    picture = np.asarray(highlight(image(), masks[0]))
    assert (picture[9, 8:30] == [255, 0, 0]).all()
    assert picture[20, 20, 0] > image()[20, 20, 0]  # slightly highlighted
    assert np.array_equal(picture[40:, 40:], image()[40:, 40:])


def test_answers_of_a_vlm_become_captions():
    assert clean(' "A red traffic light," ') == 'red traffic light'
    assert clean('The box near the wall.\nIt is brown.') == 'box near the wall'
    assert clean('') == ''
    assert clean('I can see a picture in which there is an object that might be a chair') == ''


def test_small_masks_lie_on_large_ones_and_too_small_rests_are_left_out():
    masks = np.zeros((4, 40, 40), bool)
    masks[0, 5:15, 5:15] = True  # on the large one
    masks[1] = True
    masks[1, :, 30:] = False  # large
    masks[2, 20:22, 20:22] = True  # 4 pixels: too small
    masks[3, 5:15, 5:14] = True  # hides the first but for a column
    semantics, kept = index_image(masks, min_area=16 / 1600)
    assert kept.tolist() == [1, 3]
    assert semantics[20, 20] == 0
    assert semantics[10, 10] == 1
    assert semantics[10, 14] == -1  # what is left of the first mask
    assert (semantics[:, 30:] == -1).all()
    nothing, none = index_image(np.zeros((0, 40, 40), bool))
    assert (nothing == -1).all()
    assert len(none) == 0


@pytest.mark.parametrize('min_area', [0.0, 0.01])
def test_an_empty_mask_is_left_out_and_moves_no_index(min_area):
    masks = np.zeros((4, 40, 40), bool)
    masks[1, 5:15, 5:15] = masks[3, 20:40, 20:40] = True
    semantics, kept = index_image(masks, min_area)
    assert kept.tolist() == [3, 1]
    assert (semantics[5:15, 5:15] == 1).all()
    assert (semantics[20:40, 20:40] == 0).all()
    semantics, kept = index_image(masks[[0, 2]], min_area)
    assert (semantics == -1).all()
    assert len(kept) == 0


class _EmptyMasks:
    """What a SAM may say of a box with nothing in it, with the words of a detector."""

    def __init__(self, *found):
        self._masks = [np.zeros((HEIGHT, WIDTH), bool), *found]

    def regions(self, pixels):
        return Regions(np.stack(self._masks), ['ghost', 'box'][: len(self._masks)])


@pytest.mark.parametrize('kind', ['clip', 'masked_crop'])
def test_a_teacher_that_is_given_empty_masks_says_nothing_of_them(weights, kind):
    clip = ClipRegions.load(weights('clip'), 'both' if kind == 'clip' else kind)
    teacher = RegionTeacher(_EmptyMasks(boxes_as_masks()[0]), None, clip)
    labels = teacher.label(posed(image()))
    assert labels.captions == ['box']
    assert labels.embeddings.shape == (1, clip.dim)
    assert (labels.semantics == np.where(boxes_as_masks()[0], 0, -1)).all()
    nothing = RegionTeacher(_EmptyMasks(), None, clip).label(posed(image()))
    assert (nothing.captions, nothing.embeddings.shape) == ([], (0, clip.dim))
    assert (nothing.semantics == -1).all()


class _Masks:
    def regions(self, pixels):
        return Regions(boxes_as_masks(), ['box', 'crate'])


class _Captions:
    def captions(self, pixels, masks):
        assert masks.shape == (2, HEIGHT, WIDTH)
        return ['blue box' if mask[30, 50] else '' for mask in masks]


class _Embeddings:
    def embeddings(self, pixels, masks):
        means = np.array([pixels[mask].mean(axis=0) for mask in masks], np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def test_regions_without_words_are_dropped_and_the_others_keep_their_own():
    labels = RegionTeacher(_Masks(), _Captions(), _Embeddings()).label(posed(image()))
    assert labels.captions == ['blue box']
    assert (labels.semantics[20:44, 36:60] == 0).all()
    assert (labels.semantics[10:30, 8:30] == -1).all()
    assert labels.embeddings.shape == (1, 3)
    assert labels.embeddings[0].argmax() == 2
    by_detector = RegionTeacher(_Masks()).label(posed(image()))
    at_red, at_blue = by_detector.semantics[20, 20], by_detector.semantics[30, 50]
    assert [by_detector.captions[at_red], by_detector.captions[at_blue]] == ['box', 'crate']


def test_labels_that_do_not_fit_together_are_refused():
    semantics = np.zeros((4, 4), np.int16)
    with pytest.raises(ValueError, match='0 captions for 1 masks'):
        PseudoLabels(semantics, [])
    with pytest.raises(ValueError, match='NaN'):
        PseudoLabels(semantics, ['box'], np.full((1, 2), np.nan, np.float16))


def test_a_whole_teacher_is_loaded_by_names_and_labels_an_image(weights):
    spec = TeacherSpec(
        f'detector:{weights("grounding_dino")},{weights("sam2")}',
        f'vlm:{weights("llava")}',
        f'clip:{weights("clip")}',
    )
    teacher = load_teacher(spec)
    teacher.masks._settings = DetectorSettings(min_score=0.0, min_text_score=0.0, max_area=1.0)
    labels = teacher.label(posed(image()))
    assert labels.semantics.shape == (HEIGHT, WIDTH)
    assert len(labels.captions) == len(labels.embeddings) == labels.semantics.max() + 1


def test_what_is_missing_is_named_with_where_to_get_it(weights, tmp_path):
    for spec, expected in [
        (TeacherSpec(f'sam:{tmp_path}'), 'hf download facebook/sam2.1-hiera-tiny'),
        (TeacherSpec('sam2:somebody/no-such-model'), 'hf download facebook/sam2.1-hiera-tiny'),
        (TeacherSpec(f'detector:nowhere,{weights("sam2")}'), 'grounding-dino-tiny'),
        (TeacherSpec(f'sam:{weights("sam")}', 'vlm:nowhere'), 'vision-language model'),
        (TeacherSpec(f'sam:{weights("sam")}', '', f'clip:{tmp_path}'), 'open_clip_config.json'),
    ]:
        with pytest.raises(FileNotFoundError, match=expected):
            load_teacher(spec)
        with pytest.raises(FileNotFoundError, match=expected):
            check_teachers(spec, [])
    both = f'detector:{weights("owlv2")},{weights("sam")}'
    for spec in (both, f'sam2:{weights("sam2")}'):
        check_teachers(TeacherSpec(spec), ['kitchen'])
    with pytest.raises(FileNotFoundError, match=r'no-nouns\.txt'):
        check_teachers(TeacherSpec(both, vocabulary='no-nouns.txt'), [])
    check_teachers(TeacherSpec('simulated'), ['train_000003'])
    check_teachers(TeacherSpec('simulated:train/3'), ['kitchen'])
    with pytest.raises(ValueError, match="'kitchen' is no simulated room"):
        check_teachers(TeacherSpec('simulated'), ['kitchen'])


def test_wrong_names_of_teachers_are_refused_with_the_right_ones():
    with pytest.raises(ValueError, match=r"'yolo:x', expected sam:WEIGHTS"):
        TeacherSpec('yolo:x')
    with pytest.raises(ValueError, match="'sam2', expected"):
        TeacherSpec('sam2')
    with pytest.raises(ValueError, match='expected vlm:WEIGHTS'):
        TeacherSpec('sam:x', 'llama:x')
    with pytest.raises(ValueError, match='needs both'):
        load_teacher(TeacherSpec('detector:x'))
    with pytest.raises(ValueError, match='names what it finds'):
        TeacherSpec('simulated', 'vlm:x')
    with pytest.raises(ValueError, match='expected clip:WEIGHTS'):
        TeacherSpec('detector:x,y', tags='ram:x')
    with pytest.raises(ValueError, match='tags are what a detector looks for'):
        TeacherSpec('sam:x', tags='clip:x')


def test_a_vocabulary_is_a_noun_a_line(tmp_path):
    (tmp_path / 'nouns.txt').write_text('chair\n\n red box \n')
    assert read_vocabulary(str(tmp_path / 'nouns.txt')) == ['chair', 'red box']
    assert 'chair' in read_vocabulary('')
    assert len(read_vocabulary('scannet200')) == 200
    (tmp_path / 'nouns.txt').write_text('\n')
    with pytest.raises(ValueError, match='expected a noun on each line'):
        read_vocabulary(str(tmp_path / 'nouns.txt'))


def test_importing_teachers_needs_none_of_their_libraries():
    module = importlib.import_module('training.teachers.load')
    assert not {'transformers', 'open_clip'} & set(vars(module))


def test_pillow_reads_what_highlight_returns():
    assert highlight(image(), boxes_as_masks()[0]).mode == Image.fromarray(image()).mode
