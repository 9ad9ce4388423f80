"""The classes of Matterport3D: mpcat40, and the NYU classes that OpenScene evaluates.

Sources: mpcat40 from github.com/niessner/Matterport, ``metadata/mpcat40.tsv``; the others from
github.com/pengsongyou/openscene (Apache-2.0), ``dataset/label_constants.py``: the 160 most frequent
``nyuClass`` of Matterport's ``category_mapping.tsv``, of which the first 40 and the first 80 are
its smaller sets. Spelling ("refridgerator", "excercise equipment") is theirs.
"""

from __future__ import annotations

# The index is the id: 0 is void, 41 unlabeled.
MPCAT40: tuple[str, ...] = (
    'void', 'wall', 'floor', 'chair', 'door', 'table', 'picture', 'cabinet', 'cushion',
    'window', 'sofa', 'bed', 'curtain', 'chest_of_drawers', 'plant', 'sink', 'stairs',
    'ceiling', 'toilet', 'stool', 'towel', 'mirror', 'tv_monitor', 'shower', 'column',
    'bathtub', 'counter', 'fireplace', 'lighting', 'beam', 'railing', 'shelving', 'blinds',
    'gym_equipment', 'seating', 'board_panel', 'furniture', 'appliances', 'clothes', 'objects',
    'misc', 'unlabeled',
)  # fmt: skip

NYU160: tuple[str, ...] = (
    'wall', 'door', 'ceiling', 'floor', 'picture', 'window', 'chair', 'pillow', 'lamp',
    'cabinet', 'curtain', 'table', 'plant', 'mirror', 'towel', 'sink', 'shelves', 'sofa', 'bed',
    'night stand', 'toilet', 'column', 'banister', 'stairs', 'stool', 'vase', 'television',
    'pot', 'desk', 'box', 'coffee table', 'counter', 'bench', 'garbage bin', 'fireplace',
    'clothes', 'bathtub', 'book', 'air vent', 'faucet', 'photo', 'toilet paper', 'fan',
    'railing', 'sculpture', 'dresser', 'rug', 'ottoman', 'bottle', 'refridgerator', 'bookshelf',
    'wardrobe', 'pipe', 'monitor', 'stand', 'drawer', 'container', 'light switch', 'purse',
    'door way', 'basket', 'chandelier', 'oven', 'clock', 'stove', 'washing machine',
    'shower curtain', 'fire alarm', 'bin', 'chest', 'microwave', 'blinds', 'bowl', 'tissue box',
    'plate', 'tv stand', 'shoe', 'heater', 'headboard', 'bucket', 'candle', 'flower pot',
    'speaker', 'furniture', 'sign', 'air conditioner', 'fire extinguisher', 'curtain rod',
    'floor mat', 'printer', 'telephone', 'blanket', 'handle', 'shower head', 'soap', 'keyboard',
    'thermostat', 'radiator', 'kitchen island', 'paper towel', 'sheet', 'glass', 'dishwasher',
    'cup', 'ladder', 'garage door', 'hat', 'exit sign', 'piano', 'board', 'rope', 'ball',
    'excercise equipment', 'hanger', 'candlestick', 'light', 'scale', 'bag', 'laptop',
    'treadmill', 'guitar', 'display case', 'toilet paper holder', 'bar', 'tray', 'urn',
    'decorative plate', 'pool table', 'jacket', 'bottle of soap', 'water cooler', 'utensil',
    'tea pot', 'stuffed animal', 'paper towel dispenser', 'lamp shade', 'car', 'toilet brush',
    'doll', 'drum', 'whiteboard', 'range hood', 'candelabra', 'toy', 'foot rest', 'soap dish',
    'placemat', 'cleaner', 'computer', 'knob', 'paper', 'projector', 'coat hanger', 'case',
    'pan', 'luggage', 'trinket', 'chimney', 'person', 'alarm',
)  # fmt: skip
NYU40, NYU80 = NYU160[:40], NYU160[:80]

# ScanNet20's classes with "other" for "otherfurniture", and the ceiling.
MATTERPORT21: tuple[str, ...] = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf',
    'picture', 'counter', 'desk', 'curtain', 'refrigerator', 'shower curtain', 'toilet', 'sink',
    'bathtub', 'other', 'ceiling',
)  # fmt: skip
