"""Tables of made-up results: right numbers in right cells, and what can not be compared refused."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from training.experiments import WITHOUT, Bench, Experiment, experiments, main
from training.report import (
    cell,
    insert,
    plot_ratios,
    plot_training,
    read_baselines,
    read_results,
    table_a,
    table_c,
)
from training.trainer import Stopped


def _scores(accuracy: float) -> dict:
    groups = ('colour_nouns', 'held_out', 'nouns', 'referring')
    scores = {name: {'acc25': accuracy, 'acc50': accuracy / 2, 'n': 9} for name in groups}
    scores['nouns']['AP25'] = None
    scores['referring']['target_given_kind'] = 0.5
    return {**scores, 'absent': {'auroc': 0.75}}


def _write(folder, experiment: Experiment, accuracy: float, rooms: int = 40) -> None:
    content = {
        'experiment': asdict(experiment),
        'evaluation': {'seed': 0, 'rooms': rooms},
        'scores': _scores(accuracy),
    }
    (folder / f'{experiment.name}.json').write_text(json.dumps(content))


def test_a_cell_is_percent_with_the_spread_of_several_seeds():
    assert cell([0.5]) == '50.0'
    assert cell([0.5, 0.6]) == '55.0 ± 7.1'
    assert cell([None, 0.25]) == '25.0'
    assert cell([None]) == ''


def test_rows_hold_the_results_of_their_own_experiments(tmp_path):
    for seed, accuracy in ((0, 0.5), (1, 0.7)):
        _write(tmp_path, Experiment('pretrained', 0.1, seed), accuracy)
    _write(tmp_path, Experiment('scratch', 0.1, 0), 0.2)
    for name in ('chance', 'scratch_for_twice_as_long', 'shipped'):
        (tmp_path / f'{name}.json').write_text(json.dumps(_scores(0.01)))
    lines = table_a(read_results(tmp_path), read_baselines(tmp_path))
    rows = {line.split(' | ')[0]: line.split(' | ') for line in lines[2:]}
    assert list(rows) == [
        '| chance', '| from scratch, 10% of the labels', '| pretrained, 10% of the labels',
        '| scratch for twice as long', '| the weights that ship',
    ]  # fmt: skip
    assert rows['| pretrained, 10% of the labels'][1:4] == ['2', '60.0 ± 14.1', '30.0 ± 7.1']
    assert rows['| from scratch, 10% of the labels'][1:4] == ['1', '20.0', '10.0']


def test_maps_of_several_rooms_stand_below_single_ones(tmp_path):
    for name, accuracy in (('3_rooms_in_a_map', 0.4), ('8_rooms_in_a_map', 0.3)):
        (tmp_path / f'{name}.json').write_text(json.dumps(_scores(accuracy)))
    lines = table_c({'shipped': _scores(0.8), 'chance': _scores(0.01)}, tmp_path)
    assert [line.split(' | ')[0::2][:2] for line in lines[2:]] == [
        ['| single rooms', '80.0'], ['| 3 rooms in a map', '40.0'], ['| 8 rooms in a map', '30.0'],
    ]  # fmt: skip


def test_results_of_different_rooms_are_not_put_into_one_table(tmp_path):
    _write(tmp_path, Experiment('scratch', 0.1, 0), 0.2)
    _write(tmp_path, Experiment('scratch', 0.2, 0), 0.2, rooms=20)
    with pytest.raises(ValueError, match='different rooms'):
        read_results(tmp_path)


def test_a_baseline_of_other_rooms_is_not_put_beside_the_experiments(tmp_path):
    _write(tmp_path, Experiment('scratch', 0.1, 0), 0.2)
    scores = _scores(0.1)
    scores['nouns']['n'] = 7
    (tmp_path / 'chance.json').write_text(json.dumps(scores))
    with pytest.raises(ValueError, match=r'different rooms.*chance \(9, 9, 7, 9\)'):
        read_baselines(tmp_path)
    (tmp_path / 'chance.json').write_text('{"acc25": 0.5}')
    with pytest.raises(ValueError, match=r"chance\.json is no result .* it lacks 'colour_nouns'"):
        read_baselines(tmp_path)


def test_a_result_of_other_rooms_is_not_taken_for_done(tmp_path):
    experiment = Experiment('scratch', 0.1, 0)
    _write(tmp_path, experiment, 0.2, rooms=4)
    again, other = (Bench(tmp_path, Path(), Path(), Path(), [], n, 0, 1) for n in (4, 40))
    assert again.run(experiment).is_file()
    with pytest.raises(ValueError, match=r"'rooms': 4}, this is .*'rooms': 40}: move that file"):
        other.run(experiment)


def test_lines_go_between_the_marks_again_and_again():
    document = 'before\n<!-- made by training.report, not by hand -->\nold\n'
    document += '<!-- end of what training.report made -->\nafter\n'
    once = insert(document, ['| new |'])
    assert once.splitlines()[2:4] == ['', '| new |']
    assert 'old' not in once
    assert insert(once, ['| new |']) == once
    with pytest.raises(ValueError, match='no lines'):
        insert('no marks', [])


def test_plots_are_drawn(tmp_path):
    for ratio in (0.1, 1.0):
        _write(tmp_path, Experiment('scratch', ratio, 0), ratio / 2)
    plot_ratios(read_results(tmp_path), tmp_path / 'ratios.png')
    log = tmp_path / 'log.csv'
    log.write_text('step,loss,named,oracle_iou\n' + ''.join(f'{i},1,0.5,0.5\n' for i in range(50)))
    plot_training({'run': log}, tmp_path / 'training.png')
    for name in ('ratios.png', 'training.png'):
        assert (tmp_path / name).stat().st_size > 5000


def test_every_experiment_has_a_name_of_its_own():
    names = [experiment.name for experiment in experiments([0, 1, 2])]
    assert len(set(names)) == len(names)
    assert 'scratch-finetuned_10-seed_0' in names


def test_every_experiment_has_settings_that_load_and_leave_out_what_they_say(tmp_path):
    configs = Path(__file__).parent.parent / 'config/train'
    pretrain, finetune = configs / 'ablation.yaml', configs / 'comparison.yaml'
    bench = Bench(tmp_path, tmp_path / 'long', pretrain, finetune, ['steps=7'], 1, 0, 1)
    for kind, left_out in WITHOUT.items():
        settings = bench.pretrain_settings(kind, 3)
        loss = settings.loss
        weights = {'feature': loss.feature, 'photometric': loss.photometric}
        weights |= {
            f'grounding.{n}': getattr(loss.grounding, n) for n in ('mask', 'dice', 'correspondence')
        }
        assert {name for name, weight in weights.items() if weight == 0} == set(left_out)
        assert (settings.seed, settings.steps) == (3, 7)
    for experiment in experiments([2]):
        if experiment.data_ratio:
            tuned = bench.finetune_settings(experiment, '')
            assert (tuned.data_ratio, tuned.seed) == (experiment.data_ratio, 2)
            assert tuned.output.endswith(experiment.name)
            assert tuned.steps == (21 if experiment.pretraining == 'scratch' else 7)


def test_a_training_that_was_stopped_is_not_measured(tmp_path, monkeypatch, capsys):
    def stopped(_):
        raise Stopped('stopped after step 3 of 9')

    monkeypatch.setattr('training.experiments.finetune', stopped)
    command = ['experiments', '--out', str(tmp_path), '--only', 'scratch-finetuned_10']
    monkeypatch.setattr(sys, 'argv', command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert 'step 3 of 9' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
