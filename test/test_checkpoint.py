"""Checkpoints: what is saved is loaded, and what does not fit is refused with the reason."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from lift_gs_ros.model import checkpoint
from lift_gs_ros.model.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.lift_gs import LiftGS


@pytest.fixture(scope='module')
def model() -> LiftGS:
    torch.manual_seed(0)
    return LiftGS(LiftGSConfig.tiny(voxel_size=0.1), 'torch')


@pytest.fixture
def path(model, tmp_path):
    save_checkpoint(tmp_path / 'tiny.safetensors', model, trained=True, steps=7)
    return tmp_path / 'tiny.safetensors'


def test_what_is_saved_is_loaded(model, path):
    loaded = load_checkpoint(path)
    assert loaded.config == model.config
    assert loaded.weights == 'tiny.safetensors'
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert read_metadata(path)[1] == {'steps': 7, 'trained': True}


def test_half_precision_halves_the_file_and_loads_as_float32(model, path, tmp_path):
    save_checkpoint(tmp_path / 'half.safetensors', model, trained=True, half=True)
    assert tensor_bytes(tmp_path / 'half.safetensors') < 0.52 * tensor_bytes(path)
    loaded = load_checkpoint(tmp_path / 'half.safetensors')
    for name, tensor in model.state_dict().items():
        value = loaded.state_dict()[name]
        assert value.dtype == tensor.dtype
        torch.testing.assert_close(value, tensor, atol=1e-3, rtol=1e-3)


def tensor_bytes(path) -> int:
    return sum(tensor.nbytes for tensor in load_file(path).values())


def test_random_weights_are_reported_as_untrained(model, tmp_path):
    save_checkpoint(tmp_path / 'a.safetensors', model, trained=False)
    assert load_checkpoint(tmp_path / 'a.safetensors').weights == 'untrained'


def test_a_package_without_weights_gives_the_same_untrained_network_each_time(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(checkpoint, 'DEFAULT_CHECKPOINT', tmp_path / 'none.safetensors')
    config = LiftGSConfig.tiny()
    torch.manual_seed(5)
    first, second = load_checkpoint('', config=config), load_checkpoint('', config=config)
    assert first.weights == second.weights == 'untrained'
    for a, b in zip(first.parameters(), second.parameters()):
        assert torch.equal(a, b)


def test_the_file_that_ships_is_the_default(monkeypatch, path):
    monkeypatch.setattr(checkpoint, 'DEFAULT_CHECKPOINT', path)
    assert load_checkpoint().weights == 'tiny.safetensors'


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no checkpoint at .*none.safetensors'):
        load_checkpoint(tmp_path / 'none.safetensors')


@pytest.mark.parametrize('keep', [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match='damaged, truncated'):
        load_checkpoint(path)


def test_a_file_of_something_else_is_refused(path, tmp_path):
    path.write_text('hello, I am a text file and no checkpoint')
    with pytest.raises(CheckpointError, match='no safetensors file'):
        load_checkpoint(path)
    save_file({'a': torch.zeros(1)}, tmp_path / 'other.safetensors')
    with pytest.raises(CheckpointError, match="format None, expected 'lift_gs_ros/1'"):
        load_checkpoint(tmp_path / 'other.safetensors')


def rewrite(path, change_state=None, change_config=None, config_json=None):
    config, notes = read_metadata(path)
    state = load_file(path)
    values = config.to_dict()
    if change_state:
        change_state(state)
    if change_config:
        change_config(values)
    metadata = {
        'format': checkpoint.FORMAT,
        'config': config_json or json.dumps(values),
        'notes': json.dumps(notes),
    }
    save_file(state, path, metadata)


def test_parameters_that_do_not_fit_the_config_are_refused(path):
    original = path.read_bytes()
    rewrite(path, lambda state: state.pop('mask_bias'))
    with pytest.raises(
        CheckpointError, match="lacks 1 parameters of its config, first 'mask_bias'"
    ):
        load_checkpoint(path)
    path.write_bytes(original)
    rewrite(path, lambda state: state.update(extra=torch.zeros(2)))
    with pytest.raises(CheckpointError, match="that its config does not, first 'extra'"):
        load_checkpoint(path)
    path.write_bytes(original)
    rewrite(path, lambda state: state.update(mask_bias=torch.zeros(2)))
    with pytest.raises(CheckpointError, match=r"'mask_bias' has shape \(2,\)"):
        load_checkpoint(path)


def test_a_config_that_can_not_be_read_is_refused(path):
    original = path.read_bytes()
    rewrite(path, change_config=lambda values: values.update(colour='red'))
    with pytest.raises(CheckpointError, match='unknown fields'):
        load_checkpoint(path)
    path.write_bytes(original)
    rewrite(path, change_config=lambda values: values.update(heads=0))
    with pytest.raises(CheckpointError, match='heads is 0'):
        load_checkpoint(path)
    path.write_bytes(original)
    rewrite(path, config_json='{')
    with pytest.raises(CheckpointError, match='config that can not be read'):
        load_checkpoint(path)


def test_a_checkpoint_for_another_config_is_refused_with_the_difference(path):
    with pytest.raises(CheckpointError, match='voxel_size is 0.1, not 0.05'):
        load_checkpoint(path, config=LiftGSConfig.tiny())


def test_a_failed_save_leaves_the_old_file_and_no_rubbish(model, path, monkeypatch):
    before = path.read_bytes()

    def fail(state, file, metadata):
        with open(file, 'wb') as stream:
            stream.write(b'half a checkpoint')
        raise OSError('No space left on device')

    monkeypatch.setattr(checkpoint, 'save_file', fail)
    with pytest.raises(OSError, match='No space left'):
        save_checkpoint(path, model, trained=True)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
