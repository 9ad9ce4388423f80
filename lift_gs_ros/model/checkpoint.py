"""Checkpoints: one safetensors file with the parameters, the config that made them, and notes.

Nothing is pickled, so a file from anywhere can be opened safely. The file's metadata holds
``format``, ``config`` (JSON) and ``notes`` (JSON: ``trained``, and whatever the training writes
down: steps, data, date, the encoder's name is in the config).
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.lift_gs import UNTRAINED, LiftGS

FORMAT = 'lift_gs_ros/1'
DEFAULT_CHECKPOINT = Path(__file__).parent.parent / 'weights' / 'small.safetensors'


class CheckpointError(ValueError):
    """A file that is no checkpoint of this package, or does not fit its own config."""


def save_checkpoint(
    path: str | Path, model: LiftGS, *, trained: bool, half: bool = False, **notes: Any
) -> None:
    """Write a checkpoint; an existing file stays whole until the new one is complete.

    ``half`` stores floating parameters as float16 (half the size; they are float32 again when
    loaded). ``notes`` are kept as JSON.
    """
    state = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu()
        if half and tensor.dtype == torch.float32:
            tensor = tensor.clamp(-65504, 65504).half()  # float16 has no larger numbers
        state[name] = tensor.contiguous()
    metadata = {
        'format': FORMAT,
        'config': json.dumps(model.config.to_dict()),
        'notes': json.dumps({**notes, 'trained': trained}),
    }
    write_tensors(path, state, metadata)


def write_tensors(path: str | Path, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file: to the disk, and only then under its name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix='.part')
    os.close(handle)  # save_file makes a new file of that name
    try:
        save_file(state, temporary, metadata)
        os.chmod(temporary, 0o644)
        with open(temporary, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_metadata(path: str | Path) -> tuple[LiftGSConfig, dict[str, Any]]:
    """Read the config and the notes of a checkpoint without its parameters.

    Raises FileNotFoundError, or CheckpointError with the reason.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'no checkpoint at {path}: give the path of a .safetensors file, or none at all for '
            'the one that ships with the package'
        )
    metadata = read_header(path, FORMAT)
    try:
        config = LiftGSConfig.from_dict(json.loads(metadata['config']))
        return config, json.loads(metadata['notes'])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{path} has a config that can not be read: {error}') from error


def read_header(path: Path, file_format: str) -> dict[str, str]:
    """Return the metadata of a safetensors file of a format; CheckpointError says what is wrong."""
    try:
        with safe_open(path, framework='pt') as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        size = path.stat().st_size
        raise CheckpointError(
            f'{path} ({size} bytes) is damaged, truncated or no safetensors file: {error}; '
            'get or copy it again'
        ) from error
    if metadata.get('format') != file_format:
        raise CheckpointError(
            f'{path} has format {metadata.get("format")!r}, expected {file_format!r}: '
            'it was not written by this version of lift_gs_ros'
        )
    return metadata


def load_checkpoint(
    path: str | Path = '',
    device: str | torch.device = 'cpu',
    config: LiftGSConfig | None = None,
) -> LiftGS:
    """Load a model for inference (``eval`` mode) onto a device.

    ``path`` '' is the checkpoint that ships with the package; where the package has none, the
    result is the small network with random parameters (always the same ones), and its ``weights``
    is ``'untrained'``. Otherwise ``weights`` is the file's name, or ``'untrained'`` where the
    notes say so. With ``config``, a checkpoint of another config is refused. Raises
    FileNotFoundError, or CheckpointError with the reason.
    """
    device = torch.device(device)
    backend = 'auto' if device.type == 'cuda' else 'torch'
    if not path and not DEFAULT_CHECKPOINT.is_file():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return LiftGS(config or LiftGSConfig.small(), backend).to(device).eval()
    path = Path(path or DEFAULT_CHECKPOINT)
    found, notes = read_metadata(path)
    if config is not None and config != found:
        theirs, ours = found.to_dict(), config.to_dict()
        different = [f'{k} is {theirs[k]}, not {ours[k]}' for k in ours if theirs[k] != ours[k]]
        raise CheckpointError(f'{path} is for another config: {"; ".join(different)}')
    model = LiftGS(found, backend)
    _load_parameters(model, path)
    model.weights = path.name if notes.get('trained') else UNTRAINED
    return model.to(device).eval()


def _load_parameters(model: LiftGS, path: Path) -> None:
    expected = model.state_dict()
    with safe_open(path, framework='pt') as file:
        names = set(file.keys())
        if missing := sorted(set(expected) - names):
            raise CheckpointError(
                f'{path} lacks {len(missing)} parameters of its config, first {missing[0]!r}'
            )
        if unknown := sorted(names - set(expected)):
            raise CheckpointError(
                f'{path} has {len(unknown)} parameters that its config does not, '
                f'first {unknown[0]!r}'
            )
        for name, tensor in expected.items():
            value = file.get_tensor(name)
            if value.shape != tensor.shape:
                raise CheckpointError(
                    f'{path}: parameter {name!r} has shape {tuple(value.shape)}, '
                    f'its config expects {tuple(tensor.shape)}'
                )
            tensor.copy_(value)
