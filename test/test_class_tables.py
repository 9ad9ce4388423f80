"""The class tables of the benchmarks hold together."""

import pytest

from training.data.classes.matterport import MATTERPORT21, MPCAT40, NYU40, NYU80, NYU160
from training.data.classes.scannet import SCANNET20, SCANNET200, SCANNET200_GROUPS
from training.data.classes.scannetpp import SCANNETPP, SCANNETPP_INSTANCES, STUFF, read_classes


def test_scannets_tables_have_the_benchmarks_sizes_and_ids():
    assert [len(group) for group in SCANNET200_GROUPS.values()] == [66, 68, 66]
    assert (len(SCANNET20), len(SCANNET200), len(set(SCANNET200.values()))) == (20, 200, 200)
    assert list(SCANNET200) == sorted(SCANNET200)
    assert (SCANNET20[39], SCANNET200[2], SCANNET200[1191]) == (
        'otherfurniture',
        'chair',
        'mattress',
    )


def test_matterports_sets_begin_with_each_other():
    assert (len(NYU40), len(NYU80), len(NYU160), len(set(NYU160))) == (40, 80, 160, 160)
    assert NYU160[:80] == NYU80
    assert (MPCAT40[0], MPCAT40[3], MPCAT40[41]) == ('void', 'chair', 'unlabeled')
    assert [name for name in SCANNET20.values() if name not in MATTERPORT21] == ['otherfurniture']


def test_scannetpps_instances_are_its_classes_without_stuff(tmp_path):
    assert (len(set(SCANNETPP)), len(STUFF), len(SCANNETPP_INSTANCES)) == (100, 16, 84)
    path = tmp_path / 'top100.txt'
    path.write_text('\n'.join(SCANNETPP) + '\n')
    assert read_classes(path) == SCANNETPP
    path.write_text('wall\nchair\nwall\n')
    with pytest.raises(ValueError, match=r"top100\.txt repeats \['wall'\]"):
        read_classes(path)
    path.write_text('\n')
    with pytest.raises(ValueError, match='is empty, expected one class name a line'):
        read_classes(path)
