"""Head, common and tail categories, as ScanNet200's benchmark groups its own.

ScanNet200 (Rozenberszki et al. 2022) sorts its categories by their labelled surface points in
training scenes and cuts the list in thirds (66, 68, 66). Here it is objects of simulated rooms that
are counted:

    python -m training.evaluation.categories

prints the table below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.vocabulary import KINDS

COUNTED_ROOMS = 200  # training rooms of seeds 0, 1, ...

# From 254 chairs to 37 sinks among the 2568 objects of the 200 rooms.
CATEGORY_GROUPS: dict[str, tuple[str, ...]] = {
    'head': ('chair', 'door', 'pillow', 'book', 'table', 'mug', 'lamp', 'cabinet'),
    'common': (
        'window', 'bottle', 'rug', 'bookshelf', 'bin', 'box', 'wardrobe', 'plant', 'picture',
    ),
    'tail': ('laptop', 'bed', 'ball', 'stool', 'sofa', 'monitor', 'counter', 'sink'),
}  # fmt: skip


def count_objects(rooms: int = COUNTED_ROOMS) -> dict[str, int]:
    """Count the objects of every category in the first training rooms."""
    counted = Counter(o.kind for seed in range(rooms) for o in make_room(seed, 'train').objects)
    return {kind: counted[kind] for kind in KINDS}


def group_by_frequency(counts: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Cut categories in thirds by how often they occur, the most frequent ones first.

    What does not divide by three is common, as in ScanNet200. Categories of equal count keep their
    order.
    """
    ordered = sorted(counts, key=lambda category: -counts[category])
    third = len(ordered) // 3
    return {
        'head': tuple(ordered[:third]),
        'common': tuple(ordered[third : len(ordered) - third]),
        'tail': tuple(ordered[len(ordered) - third :]),
    }


def main() -> None:
    """Print the groups with the count of each category."""
    counts = count_objects()
    for group, categories in group_by_frequency(counts).items():
        print(group, ', '.join(f'{category} {counts[category]}' for category in categories))


if __name__ == '__main__':
    main()
