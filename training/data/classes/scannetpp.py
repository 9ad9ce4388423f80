"""The classes of ScanNet++'s semantic and instance benchmarks.

The data set's own files decide: ``metadata/semantic_benchmark/top100.txt`` and
``top100_instance.txt``, one name a line, the id being the number of the line from 0 (toolbox
github.com/scannetpp/scannetpp, ``semantic/transforms/mesh.py``); ``read_classes`` reads them. They
come with the data only. The table is what public training code lists (``CLASS_LABELS_PP`` and
``INST_LABELS_PP`` of several forks of Pointcept); not compared with the files themselves, and one
other public list differs in four names and in the order: prefer the file where you have it.
"""

from __future__ import annotations

from pathlib import Path

SCANNETPP: tuple[str, ...] = (
    'wall', 'ceiling', 'floor', 'table', 'door', 'ceiling lamp', 'cabinet', 'blinds', 'curtain',
    'chair', 'storage cabinet', 'office chair', 'bookshelf', 'whiteboard', 'window', 'box',
    'window frame', 'monitor', 'shelf', 'doorframe', 'pipe', 'heater', 'kitchen cabinet',
    'sofa', 'windowsill', 'bed', 'shower wall', 'trash can', 'book', 'plant', 'blanket', 'tv',
    'computer tower', 'kitchen counter', 'refrigerator', 'jacket', 'electrical duct', 'sink',
    'bag', 'picture', 'pillow', 'towel', 'suitcase', 'backpack', 'crate', 'keyboard', 'rack',
    'toilet', 'paper', 'printer', 'poster', 'painting', 'microwave', 'board', 'shoes', 'socket',
    'bottle', 'bucket', 'cushion', 'basket', 'shoe rack', 'telephone', 'file folder', 'cloth',
    'blind rail', 'laptop', 'plant pot', 'exhaust fan', 'cup', 'coat hanger', 'light switch',
    'speaker', 'table lamp', 'air vent', 'clothes hanger', 'kettle', 'smoke detector',
    'container', 'power strip', 'slippers', 'paper bag', 'mouse', 'cutting board',
    'toilet paper', 'paper towel', 'pot', 'clock', 'pan', 'tap', 'jar', 'soap dispenser',
    'binder', 'bowl', 'tissue box', 'whiteboard eraser', 'toilet brush', 'spray bottle',
    'headphones', 'stapler', 'marker',
)  # fmt: skip

# Classes without instances; the other 84 are those of the instance benchmark, in this order.
STUFF: tuple[str, ...] = (
    'wall', 'ceiling', 'floor', 'window frame', 'doorframe', 'pipe', 'windowsill',
    'shower wall', 'kitchen counter', 'electrical duct', 'paper', 'board', 'cloth',
    'blind rail', 'air vent', 'clothes hanger',
)  # fmt: skip
SCANNETPP_INSTANCES = tuple(name for name in SCANNETPP if name not in STUFF)


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Read a file of one class name a line; raises ValueError where it is empty or repeats one."""
    names = tuple(line.strip() for line in Path(path).read_text().splitlines() if line.strip())
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated:
        found = f'repeats {repeated}' if names else 'is empty'
        raise ValueError(f'{path} {found}, expected one class name a line, as in top100.txt')
    return names
