import json
import sys

import numpy as np
import pytest
import tiny_teachers
import torch
from safetensors.torch import save_file
from training_rooms import read_rooms

from lift_gs_ros.model import lexicon
from lift_gs_ros.model.naming import ROOM
from training.labelling import scenes as scenes_module
from training.pseudolabel import main
from training.teachers.clip import PROMPT, load_clip
from training.teachers.clip_captions import ClipCaptions
from training.teachers.detector import DetectorSettings
from training.teachers.load import TeacherSpec, load_teacher
from training.teachers.sam import SamSettings
from training.teachers.tagger import ClipTagger, TaggerSettings, windows

COLORS = {'chair': (220, 30, 30), 'table': (30, 30, 220), 'lamp': (30, 200, 30)}
NOUNS = list(COLORS)
HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """A tiny CLIP that was taught that chairs are red, tables blue and lamps green."""
    folder = tiny_teachers.save_clip(tmp_path_factory.mktemp('clip') / 'clip')
    model, name = load_clip(str(folder))
    colored = [f'{color} {noun}' for noun in NOUNS for color in lexicon.COLORS]
    texts = [*NOUNS, *sorted(ROOM), *colored]
    tokens = _tokenizer(name)([PROMPT.format(text) for text in texts])
    things, right = len(texts) - len(colored), ['red', 'blue', 'green']
    colors = torch.tensor([lexicon.COLORS.index(color) for color in right])
    mean, std = (
        torch.tensor(model.visual.preprocess_cfg[key]).view(3, 1, 1) for key in ('mean', 'std')
    )
    plain = torch.tensor([COLORS[noun] for noun in NOUNS]).view(-1, 3, 1, 1) / 255
    pixels = ((plain - mean) / std).expand(-1, -1, 32, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        images, texts, scale = model(pixels, tokens)
        scores = scale * images @ texts.T
        own = scores[:, things:].view(3, 3, -1).diagonal().T  # of a noun's image and its colours
        loss = torch.nn.functional.cross_entropy(scores[:, :things], torch.arange(3))
        loss = loss + torch.nn.functional.cross_entropy(own, colors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, str(folder / 'open_clip_model.safetensors'))
    return str(folder)


def _tokenizer(name):
    import open_clip

    return open_clip.get_tokenizer(name)


def scene(left, right):
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, : WIDTH // 2], pixels[:, WIDTH // 2 :] = COLORS[left], COLORS[right]
    return pixels


def test_a_tagger_names_what_the_parts_of_an_image_show_and_nothing_else(clip):
    tagger = ClipTagger.load(clip, NOUNS)
    tagger._settings = TaggerSettings(min_score=0.5)
    assert set(tagger.tags(scene('chair', 'table'))) == {'chair', 'table'}
    assert set(tagger.tags(scene('lamp', 'table'))) == {'lamp', 'table'}
    assert tagger.tags(scene('chair', 'chair')) == ['chair']
    tagger._settings = TaggerSettings(min_score=0.0)
    assert sorted(tagger.tags(scene('chair', 'chair'))) == sorted(NOUNS)
    assert tagger.tags(scene('chair', 'chair'))[0] == 'chair'  # the surest first
    tagger._settings = TaggerSettings(min_score=0.0, max_tags=1)
    assert tagger.tags(scene('lamp', 'lamp')) == ['lamp']


@pytest.mark.parametrize('shape', [(48, 64), (64, 48), (49, 49), (30, 121)])
def test_windows_are_the_image_and_squares_that_cover_it(shape):
    masks = windows(*shape)
    assert masks[0].all()
    assert masks[1:].any(axis=0).all()
    side = -(-min(shape) // 2)
    assert (masks[1:].sum(axis=(1, 2)) == side * side).all()


@pytest.mark.parametrize('detector', ['grounding_dino', 'owlv2'])
def test_a_detector_is_asked_only_for_what_the_tagger_saw(clip, tmp_path, detector):
    folder = getattr(tiny_teachers, f'save_{detector}')(tmp_path / detector)
    sam = tiny_teachers.save_sam2(tmp_path / 'sam2')
    (tmp_path / 'nouns.txt').write_text('\n'.join(NOUNS))
    spec = TeacherSpec(
        f'detector:{folder},{sam}', vocabulary=str(tmp_path / 'nouns.txt'), tags=f'clip:{clip}'
    )
    masks = load_teacher(spec).masks
    masks._settings = DetectorSettings(min_score=0.0, min_text_score=0.0, max_area=1.0)
    for tags in (('chair', 'chair'), ('lamp', 'table')):
        masks._tagger._settings = TaggerSettings(min_score=0.5)
        regions = masks.regions(scene(*tags))
        assert len(regions.masks) == len(regions.captions) > 0
        assert set(regions.captions) <= set(tags)
    masks._tagger._settings = TaggerSettings(min_score=1.1)
    regions = masks.regions(scene('chair', 'table'))
    assert regions.masks.shape == (0, HEIGHT, WIDTH)
    assert regions.captions == []


def halves():
    """A mask in each half, around which nothing else is seen."""
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    masks[0, 14:34, 6:26] = masks[1, 14:34, 38:58] = True
    return masks


def test_each_region_is_called_by_the_noun_and_the_colour_that_fit_best(clip):
    captions = ClipCaptions.load(clip, NOUNS)
    assert captions.captions(scene('chair', 'table'), halves()) == ['red chair', 'blue table']
    assert captions.captions(scene('lamp', 'lamp'), halves()) == ['green lamp', 'green lamp']
    assert captions.captions(scene('lamp', 'lamp'), halves()[:0]) == []


def test_a_region_that_is_no_noun_has_no_caption_and_a_part_of_a_room_has_no_colour(clip):
    model, name = load_clip(clip)
    strict = ClipCaptions(model, _tokenizer(name), NOUNS, min_noun=1.1)
    assert strict.captions(scene('chair', 'table'), halves()) == ['', '']
    plain = ClipCaptions(model, _tokenizer(name), NOUNS, min_color=1.1)
    assert plain.captions(scene('chair', 'table'), halves()) == ['chair', 'table']
    room = ClipCaptions(model, _tokenizer(name), ['wall'], min_noun=0.0, min_color=0.0)
    assert set(room.captions(scene('chair', 'table'), halves())) <= ROOM


def test_sam_with_clips_words_is_a_teacher_by_its_name(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(scenes_module, 'SIMULATED_FRAMES', 4)
    monkeypatch.setattr(scenes_module, 'SIMULATED_SIZE', (64, 48))
    sam = tiny_teachers.save_sam2(tmp_path / 'sam2')
    everything = SamSettings(points_per_side=3, min_iou=-100.0, min_stability=0.0)
    monkeypatch.setattr('training.teachers.sam.SamSettings', lambda: everything)
    (tmp_path / 'nouns.txt').write_text('\n'.join(NOUNS))
    options = ['--out', str(tmp_path / 'out'), '--every', '2', '--workers', '1']
    options += ['--masks', f'sam2:{sam}', '--captions', f'clip:{clip}']
    assert main(['simulated:train/3', *options, '--vocabulary', str(tmp_path / 'nouns.txt')]) == 0
    views = read_rooms(tmp_path / 'out')[0].views
    captions = [caption for view in views for caption in view.captions]
    assert captions
    assert {caption.split()[-1] for caption in captions} <= {*NOUNS, *ROOM}


def test_the_vocabulary_is_asked_of_clip_in_its_own_prompt(clip):
    model, name = load_clip(clip)
    tagger = ClipTagger(model, _tokenizer(name), NOUNS)
    alone = model.encode_text(_tokenizer(name)(['a photo of a lamp.']))[0]
    assert torch.allclose(tagger._nouns[2], alone / alone.norm(), atol=1e-5)


def test_a_missing_tagger_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match='open_clip_config.json'):
        load_teacher(TeacherSpec(f'detector:x,{tmp_path}', tags=f'clip:{tmp_path}'))
    with pytest.raises(FileNotFoundError, match='timm/vit_large_patch14_clip_224.openai'):
        ClipTagger.load('nowhere', NOUNS)


def test_the_command_tags_detects_and_segments_a_recording(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scenes_module, 'SIMULATED_FRAMES', 4)
    monkeypatch.setattr(scenes_module, 'SIMULATED_SIZE', (160, 120))
    owlv2 = tiny_teachers.save_owlv2(tmp_path / 'owlv2')
    sam = tiny_teachers.save_slimsam(tmp_path / 'slimsam')
    options = ['--out', str(tmp_path / 'out'), '--every', '2', '--workers', '1']
    options += ['--masks', f'detector:{owlv2},{sam}', '--tags', f'clip:{clip}']
    options += ['--vocabulary', 'scannet20']
    monkeypatch.setattr(sys, 'argv', ['pseudolabel', 'simulated:train/3', *options])
    assert main() == 0
    assert (
        '2 frames labelled now; in all 2 frames in 1 shards, 0 skipped' in capsys.readouterr().out
    )
    teachers = json.loads((tmp_path / 'out' / 'job.json').read_text())['teachers']
    assert teachers['tags'] == f'clip:{clip}'
