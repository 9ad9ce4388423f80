"""Between two networks: parameters in between, counts of the second, nothing else accepted."""

import subprocess
import sys

import pytest
import torch

from lift_gs_ros.model.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.lift_gs import LiftGS
from training.average import average


def _network(seed: int, **changes) -> LiftGS:
    torch.manual_seed(seed)
    return LiftGS(LiftGSConfig.tiny(**changes), 'torch')


def test_parameters_are_in_between():
    before, after, mean = _network(0), _network(1), average(_network(0), _network(1), 0.25)
    old, new = before.state_dict(), after.state_dict()
    for name, value in mean.state_dict().items():
        wanted = 0.75 * old[name] + 0.25 * new[name] if value.is_floating_point() else new[name]
        torch.testing.assert_close(value, wanted)


def test_fine_tuning_may_have_had_another_dropout_and_number_of_proposals():
    changes = {'dropout': 0.3, 'max_proposals': 50}
    mean, plain = (average(_network(0), _network(1, **c), 0.5) for c in (changes, {}))
    assert {name: getattr(mean.config, name) for name in changes} == changes
    torch.testing.assert_close(
        mean.state_dict(), average(_network(0), _network(1), 0.5).state_dict()
    )


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_the_ends_are_the_networks_themselves(share):
    mean = average(_network(0), _network(1), share)
    same = _network(int(share)).state_dict()
    for name, value in mean.state_dict().items():
        torch.testing.assert_close(value, same[name])


def test_other_networks_and_shares_are_refused():
    with pytest.raises(ValueError, match='differ in feature_dim'):
        average(_network(0), _network(1, feature_dim=16), 0.5)
    with pytest.raises(ValueError, match=r'share is 1\.5, expected'):
        average(_network(0), _network(1), 1.5)


def test_the_command_writes_a_checkpoint_that_says_what_it_is_made_of(tmp_path):
    paths = [tmp_path / f'{name}.safetensors' for name in ('before', 'after', 'mean')]
    for seed, path in enumerate(paths[:2]):
        save_checkpoint(path, _network(seed), trained=True, stage=path.stem)
    command = [sys.executable, '-m', 'training.average', *paths[:2], '--out', paths[2]]
    subprocess.run(command, check=True)
    _, notes = read_metadata(paths[2])
    assert notes['trained']
    assert [source['stage'] for source in notes['sources']] == ['before', 'after']
    mean = average(_network(0), _network(1), 0.5).state_dict()
    for name, value in load_checkpoint(paths[2]).state_dict().items():
        torch.testing.assert_close(value, mean[name], atol=2e-3, rtol=2e-3)  # float16
