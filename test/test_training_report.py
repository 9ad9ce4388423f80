"""Tables of made-up results: right numbers in right cells, and what can not be compared refused."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from training import report
from training.experiments import WITHOUT, Bench, Experiment, experiments, main
from training.report import (
    cell,
    insert,
    plot_ratios,
    plot_training,
    read_baselines,
    read_results,
    rows_a,
    rows_b,
    rows_of,
    table,
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
    lines = table(rows_a(read_results(tmp_path), read_baselines(tmp_path)))
    rows = {line.split(' | ')[0]: line.split(' | ') for line in lines[2:]}
    assert list(rows) == [
        '| chance', '| from scratch, 10% of the labels', '| pretrained, 10% of the labels',
        '| scratch for twice as long', '| the weights that ship',
    ]  # fmt: skip
    assert rows['| pretrained, 10% of the labels'][1:4] == ['2', '60.0 ± 14.1', '30.0 ± 7.1']
    assert rows['| from scratch, 10% of the labels'][1:4] == ['1', '20.0', '10.0']


def test_each_file_of_a_folder_is_a_row_named_after_it(tmp_path):
    for name, accuracy in (('3_rooms_in_a_map', 0.4), ('8_rooms_in_a_map', 0.3)):
        (tmp_path / f'{name}.json').write_text(json.dumps(_scores(accuracy)))
    lines = table(rows_of(tmp_path))
    assert [line.split(' | ')[0::2][:2] for line in lines[2:]] == [
        ['| 3 rooms in a map', '40.0'], ['| 8 rooms in a map', '30.0'],
    ]  # fmt: skip
    assert rows_of(tmp_path / 'nowhere') == []


def test_rows_of_the_losses_are_those_without_labels_scratch_and_those_with(tmp_path):
    for number, kind in enumerate((*WITHOUT, 'scratch', 'pretrained'), 1):
        for ratio in (0.0, 0.5, 1.0):
            _write(tmp_path, Experiment(kind, ratio, 0), (number + ratio) / 10)
    rows = [line.split(' | ')[:3] for line in table(rows_b(read_results(tmp_path)))[2:]]
    assert rows == [
        ['| all losses, no labels', '1', '10.0'],
        ['| no grounding, no labels', '1', '20.0'],
        ['| no feature, no labels', '1', '30.0'],
        ['| no photometric, no labels', '1', '40.0'],
        ['| from scratch, all labels, 3 times the steps', '1', '60.0'],
        ['| all losses, all labels', '1', '20.0'],
        ['| no grounding, all labels', '1', '30.0'],
        ['| no feature, all labels', '1', '40.0'],
        ['| no photometric, all labels', '1', '50.0'],
    ]


def _report(monkeypatch, results: Path, document: Path, *more: str) -> str:
    command = ['report', str(results), '--into', str(document), *more]
    monkeypatch.setattr(sys, 'argv', command)
    report.main()
    return document.read_text()


def test_the_whole_report_is_five_tables_with_the_numbers_of_the_files(tmp_path, monkeypatch):
    results, document = tmp_path / 'results', tmp_path / 'docs' / 'results.md'
    (results / 'houses').mkdir(parents=True)
    (results / 'again').mkdir()
    document.parent.mkdir()
    document.write_text(f'before\n{report.BEGIN}\nold\n{report.END}\nafter\n')
    with pytest.raises(SystemExit):  # nothing there yet
        _report(monkeypatch, results, document)
    for ratio in (0.1, 1.0):
        _write(results, Experiment('scratch', ratio, 0), ratio / 2)
    _write(results, Experiment('no feature', 1.0, 0), 0.3)
    whole = _scores(0.8)
    whole['nouns'] |= {'AP': 0.11, 'AP50': 0.12, 'AP25': 0.13, 'miou': 0.14}
    whole['several'] = {'f1_25_multiple': 0.15, 'f1_50_multiple': 0.16, 'f1_25': 0.9}
    whole['nouns_held_out'] = {'acc50': 0.17, 'n': 3}
    (results / 'shipped.json').write_text(json.dumps(whole))
    (results / 'houses' / '3_rooms_in_a_map.json').write_text(json.dumps(_scores(0.4)))
    (results / 'again' / 'scratch,_10%_of_the_labels.json').write_text(json.dumps(_scores(0.6)))
    log = tmp_path / 'log.csv'
    log.write_text('step,loss,named,oracle_iou\n' + ''.join(f'{i},1,0.5,0.5\n' for i in range(50)))
    text = _report(monkeypatch, results, document, '--logs', f'run={log}')
    assert text.startswith('before\n')
    assert text.endswith('\nafter\n')
    assert 'old' not in text
    assert '40 test rooms, seed 0; percent.' in text
    for name in ('data_ratio.png', 'training.png'):
        assert (document.parent / 'images' / name).stat().st_size > 5000
    assert '](images/data_ratio.png)' in text
    parts = text.split('### Table ')[1:]
    assert [part[0] for part in parts] == list('ABCDE')
    names = [[line.split(' | ')[0] for line in part.splitlines()[4:] if line[:1] == '|']
             for part in parts]  # fmt: skip
    assert names == [
        ['| from scratch, 10% of the labels', '| from scratch, 100% of the labels',
         '| the weights that ship'],
        ['| from scratch, all labels, 3 times the steps', '| no feature, all labels'],
        ['| single rooms', '| 3 rooms in a map'],
        ['| from scratch, 10% of the labels', '| from scratch, 100% of the labels',
         '| the weights that ship', '| no feature, all labels'],
        ['| scratch, 10% of the labels'],
    ]  # fmt: skip
    masks = parts[3].splitlines()
    shipped = next(line for line in masks if line.startswith('| the weights that ship'))
    assert shipped.split('|')[3:] == [
        ' 11.0 ', ' 12.0 ', ' 13.0 ', ' 15.0 ', ' 16.0 ', '  ', ' 14.0 ', '  ', ' 17.0 ', '  ', '',
    ]  # fmt: skip
    older = next(line for line in masks if line.startswith('| no feature'))
    assert not older.split('| 1 |')[1].replace('|', '').strip()  # none of this was measured


def test_the_tables_in_the_docs_are_those_of_the_files_beside_them(tmp_path, monkeypatch):
    docs = Path(__file__).parent.parent / 'docs'
    copy = tmp_path / 'results.md'
    copy.write_text((docs / 'results.md').read_text())
    assert _report(monkeypatch, docs / 'results', copy) == (docs / 'results.md').read_text()


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
