"""The classes of ScanNet's benchmarks: ScanNet20 and ScanNet200, names and label ids.

Source: github.com/ScanNet/ScanNet (MIT), ``BenchmarkScripts/ScanNet200/scannet200_constants.py``
and ``scannet200_splits.py``. A ScanNet20 id is the label map's ``nyu40id``, a ScanNet200 id its
``id``.
"""

from __future__ import annotations

SCANNET20: dict[int, str] = {
    1: 'wall', 2: 'floor', 3: 'cabinet', 4: 'bed', 5: 'chair', 6: 'sofa', 7: 'table', 8: 'door',
    9: 'window', 10: 'bookshelf', 11: 'picture', 12: 'counter', 14: 'desk', 16: 'curtain',
    24: 'refrigerator', 28: 'shower curtain', 33: 'toilet', 34: 'sink', 36: 'bathtub',
    39: 'otherfurniture',
}  # fmt: skip

# By their labelled surface points in training scenes (rozdavid.github.io/scannet200), in thirds.
SCANNET200_GROUPS: dict[str, dict[int, str]] = {
    'head': {
        1: 'wall', 2: 'chair', 3: 'floor', 4: 'table', 5: 'door', 6: 'couch', 7: 'cabinet',
        8: 'shelf', 9: 'desk', 10: 'office chair', 11: 'bed', 13: 'pillow', 14: 'sink',
        15: 'picture', 16: 'window', 17: 'toilet', 18: 'bookshelf', 19: 'monitor',
        21: 'curtain', 22: 'book', 23: 'armchair', 24: 'coffee table', 26: 'box',
        27: 'refrigerator', 28: 'lamp', 29: 'kitchen cabinet', 31: 'towel', 32: 'clothes',
        33: 'tv', 34: 'nightstand', 35: 'counter', 36: 'dresser', 38: 'stool', 40: 'plant',
        41: 'ceiling', 42: 'bathtub', 48: 'backpack', 51: 'tv stand', 52: 'whiteboard',
        55: 'shower curtain', 56: 'trash can', 57: 'closet', 58: 'stairs', 62: 'stove',
        69: 'board', 70: 'washing machine', 71: 'mirror', 72: 'copier', 74: 'sofa chair',
        75: 'file cabinet', 78: 'shower', 86: 'blinds', 89: 'blackboard', 96: 'radiator',
        97: 'recycling bin', 99: 'wardrobe', 110: 'clothes dryer', 125: 'bathroom stall',
        128: 'shower wall', 159: 'kitchen counter', 161: 'doorframe', 540: 'mailbox',
        1163: 'object', 1164: 'bathroom vanity', 1165: 'closet wall', 1171: 'stair rail',
    },
    'common': {
        39: 'cushion', 44: 'end table', 45: 'dining table', 46: 'keyboard', 47: 'bag',
        49: 'toilet paper', 50: 'printer', 54: 'blanket', 59: 'microwave', 63: 'shoe',
        64: 'computer tower', 65: 'bottle', 66: 'bin', 67: 'ottoman', 68: 'bench',
        73: 'basket', 76: 'fan', 77: 'laptop', 80: 'person', 82: 'paper towel dispenser',
        84: 'oven', 87: 'rack', 90: 'piano', 93: 'suitcase', 95: 'rail', 98: 'container',
        101: 'telephone', 104: 'stand', 105: 'light', 106: 'laundry basket', 107: 'pipe',
        116: 'seat', 120: 'column', 121: 'bicycle', 122: 'ladder', 131: 'jacket',
        132: 'storage bin', 134: 'coffee maker', 136: 'dishwasher', 139: 'machine',
        140: 'mat', 141: 'windowsill', 154: 'bulletin board', 156: 'fireplace',
        165: 'mini fridge', 177: 'water cooler', 188: 'shower door', 191: 'pillar',
        193: 'ledge', 213: 'furniture', 214: 'cart', 250: 'decoration', 276: 'closet door',
        283: 'vacuum cleaner', 323: 'dish rack', 342: 'range hood', 609: 'projector screen',
        748: 'divider', 1156: 'bathroom counter', 1166: 'laundry hamper',
        1167: 'bathroom stall door', 1168: 'ceiling light', 1169: 'trash bin',
        1173: 'bathroom cabinet', 1178: 'structure', 1183: 'storage organizer',
        1189: 'potted plant', 1191: 'mattress',
    },
    'tail': {
        79: 'paper', 88: 'plate', 100: 'soap dispenser', 102: 'bucket', 103: 'clock',
        112: 'guitar', 115: 'toilet paper holder', 118: 'speaker', 130: 'cup',
        138: 'paper towel roll', 145: 'bar', 148: 'toaster', 155: 'ironing board',
        157: 'soap dish', 163: 'toilet paper dispenser', 166: 'fire extinguisher',
        168: 'ball', 169: 'hat', 170: 'shower curtain rod', 180: 'paper cutter',
        185: 'tray', 195: 'toaster oven', 202: 'mouse', 208: 'toilet seat cover dispenser',
        221: 'storage container', 229: 'scale', 230: 'tissue box', 232: 'light switch',
        233: 'crate', 242: 'power outlet', 261: 'sign', 264: 'projector', 286: 'candle',
        300: 'plunger', 304: 'stuffed animal', 312: 'headphones', 325: 'broom',
        331: 'guitar case', 356: 'dustpan', 370: 'hair dryer', 392: 'water bottle',
        395: 'handicap bar', 399: 'purse', 408: 'vent', 417: 'shower floor',
        488: 'water pitcher', 562: 'bowl', 570: 'paper bag', 572: 'alarm clock',
        581: 'music stand', 776: 'laundry detergent', 1170: 'dumbbell', 1172: 'tube',
        1174: 'cd case', 1175: 'closet rod', 1176: 'coffee kettle', 1179: 'shower head',
        1180: 'keyboard piano', 1181: 'case of water bottles', 1182: 'coat rack',
        1184: 'folded chair', 1185: 'fire alarm', 1186: 'power strip', 1187: 'calendar',
        1188: 'poster', 1190: 'luggage',
    },
}  # fmt: skip

SCANNET200: dict[int, str] = dict(
    sorted(item for group in SCANNET200_GROUPS.values() for item in group.items())
)

STRUCTURE = ('wall', 'floor')  # classes that the instance benchmarks leave out
BENCHMARKS: dict[str, dict[int, str]] = {'scannet20': SCANNET20, 'scannet200': SCANNET200}
