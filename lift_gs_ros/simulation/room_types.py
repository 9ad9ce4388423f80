"""Which kinds of things a bedroom, an office or a kitchen holds, and where they stand."""

from __future__ import annotations

# Room type -> (kind, fewest, most), the important ones first: a full room drops the rest.
ROOM_TYPES: dict[str, tuple[tuple[str, int, int], ...]] = {
    'bedroom': (
        ('bed', 1, 1), ('wardrobe', 1, 2), ('cabinet', 1, 2), ('lamp', 1, 2), ('pillow', 1, 3),
        ('chair', 0, 2), ('rug', 0, 1), ('picture', 0, 2), ('window', 1, 2), ('plant', 0, 1),
        ('book', 1, 2), ('box', 0, 2), ('ball', 0, 1), ('table', 0, 1), ('laptop', 0, 1),
    ),
    'living room': (
        ('sofa', 1, 2), ('table', 1, 2), ('chair', 2, 3), ('bookshelf', 1, 2), ('lamp', 1, 2),
        ('pillow', 1, 3), ('rug', 0, 1), ('plant', 1, 2), ('picture', 1, 2), ('window', 1, 2),
        ('mug', 1, 2), ('book', 0, 2), ('cabinet', 0, 1), ('ball', 0, 1), ('bottle', 0, 1),
        ('laptop', 0, 1), ('monitor', 0, 1),
    ),
    'office': (
        ('table', 1, 3), ('chair', 2, 4), ('monitor', 1, 3), ('laptop', 1, 2), ('cabinet', 0, 2),
        ('bin', 1, 2), ('bookshelf', 0, 2), ('mug', 1, 2), ('box', 0, 3), ('lamp', 0, 1),
        ('window', 0, 2), ('picture', 0, 2), ('plant', 0, 2), ('book', 0, 2), ('bottle', 0, 1),
    ),
    'kitchen': (
        ('counter', 1, 2), ('table', 1, 1), ('chair', 2, 4), ('mug', 1, 3), ('stool', 0, 3),
        ('bottle', 1, 3), ('bin', 0, 2), ('counter', 0, 1), ('cabinet', 0, 1), ('window', 0, 1),
        ('plant', 0, 1), ('picture', 0, 1), ('box', 0, 1), ('rug', 0, 1), ('lamp', 0, 1),
    ),
    'playroom': (
        ('table', 1, 2), ('box', 1, 4), ('ball', 1, 3), ('stool', 0, 2), ('bookshelf', 1, 2),
        ('sofa', 0, 1), ('rug', 0, 1), ('bin', 0, 2), ('book', 0, 3), ('pillow', 0, 2),
        ('picture', 0, 2), ('window', 0, 2), ('lamp', 0, 1), ('chair', 0, 2), ('laptop', 0, 1),
    ),
    'bathroom': (
        ('sink', 1, 2), ('cabinet', 1, 2), ('stool', 0, 2), ('bin', 0, 2), ('bottle', 1, 3),
        ('plant', 0, 2), ('rug', 0, 1), ('window', 0, 1), ('box', 0, 2), ('chair', 0, 1),
        ('wardrobe', 0, 1), ('mug', 0, 1), ('picture', 0, 1), ('book', 0, 1),
    ),
}  # fmt: skip

# Relative frequency of the types, in their order.
TYPE_SHARES = (0.27, 0.21, 0.18, 0.12, 0.12, 0.10)

# How a kind is placed: see the methods of Placer.
MOUNTED = ('door', 'window', 'picture')
AGAINST_WALL = ('sofa', 'bed', 'cabinet', 'wardrobe', 'bookshelf', 'counter', 'sink')
NEAR_WALL = ('lamp', 'plant', 'bin')

# Kind -> kinds on which it stands.
SUPPORTS: dict[str, tuple[str, ...]] = {
    'mug': ('table', 'counter', 'cabinet', 'bookshelf'),
    'bottle': ('table', 'counter', 'cabinet', 'bookshelf'),
    'laptop': ('table', 'counter', 'bed', 'cabinet'),
    'monitor': ('table', 'cabinet'),
    'pillow': ('sofa', 'bed', 'chair'),
    'book': ('table', 'cabinet', 'bookshelf', 'bed', 'sofa'),
    'lamp': ('table', 'cabinet'),
    'box': ('table', 'cabinet', 'counter', 'bookshelf'),
}
# Variants of the last two kinds that stand on furniture; the others stand on the floor.
TABLETOP_VARIANTS = (('lamp', 'table'), ('box', 'parcel'))
ON_FLOOR_IF_NEEDED = ('pillow', 'book', 'bottle', 'box')
ON_RUGS = ('table', 'chair', 'stool', 'box', 'ball', 'pillow')
BESIDE_FURNITURE = ('chair', 'stool', 'box', 'bin', 'ball', 'lamp', 'plant')
UNDER_TABLES = ('box', 'bin', 'ball', 'stool')
