"""A cached room and a labelled scene without simulation, for the tests of training."""

from dataclasses import replace

import numpy as np

from lift_gs_ros.geometry import Camera, look_at
from training.data.labelled import LabelledScene, Sentence
from training.data.load import RoomFiles, open_rooms
from training.data.room_cache import CachedRoom, CachedView
from training.data.stream import RoomStream


def read_rooms(folder: object) -> list[CachedRoom]:
    """All rooms of a folder or URL."""
    files = open_rooms(str(folder))
    return [files.read(name) for name in files.names]


def two_boxes(seed: int = 0) -> CachedRoom:
    """A red box and a blue box on a grey floor, seen from two sides, with a teacher's masks."""
    rng = np.random.default_rng(seed)
    floor = np.stack(np.meshgrid(np.arange(-2, 2, 0.05), np.arange(-2, 2, 0.05)), -1).reshape(-1, 2)
    parts = [np.column_stack([floor, np.zeros(len(floor))])]
    parts += [rng.uniform(-0.4, 0.4, (900, 3)) + [x, 0, 0.4] for x in (-0.8, 0.8)]
    positions = np.concatenate(parts).astype(np.float32)
    colors = np.repeat(
        [[0.5, 0.5, 0.5], [0.9, 0.1, 0.1], [0.1, 0.1, 0.9]], list(map(len, parts)), 0
    )
    camera = Camera.from_focal(40, 40, 23.5, 17.5, 48, 36)
    views = []
    for eye in ([0, -3, 1.6], [0.5, 3, 1.6]):
        pose = look_at(eye, [0, 0, 0.3])
        view = CachedView(camera, pose, np.zeros((36, 48, 3), np.uint8), None, [], positions)
        shares = [
            np.asarray(view.weights @ (np.arange(3)[k] == _part(parts)).astype(np.float32))
            for k in range(3)
        ]
        semantics = np.argmax(shares, axis=0).reshape(36, 48).astype(np.int16)
        image = (255 * np.array([[128, 128, 128], [230, 25, 25], [25, 25, 230]]) / 255)[semantics]
        views.append(
            CachedView(
                camera, pose, image.astype(np.uint8), semantics,
                ['floor', 'red box', 'blue box'], positions,
            )
        )  # fmt: skip
    return CachedRoom('two_boxes', positions, colors.astype(np.float32), views)


def many_boxes() -> CachedRoom:
    """The room of boxes, whose teacher sees 36 red boxes in every view, side by side."""
    room = two_boxes()
    rows, columns = np.mgrid[:36, :48]
    patches = (rows // 6 * 6 + columns // 8).astype(np.int16)
    views = [replace(view, semantics=patches, captions=['red box'] * 36) for view in room.views]
    return replace(room, views=views)


def three_boxes(seed: int = 0) -> LabelledScene:
    """A red, a blue and a green box on a grey floor, with sentences that are true of them."""
    room = two_boxes(seed)
    rng = np.random.default_rng([seed, 1])
    green = rng.uniform(-0.4, 0.4, (900, 3)) + [0, 1.4, 0.4]  # a mirror can be told by it
    floor = len(room.positions) - 1800
    return LabelledScene(
        f'boxes_{seed:06d}',
        np.concatenate([room.positions, green]).astype(np.float32),
        np.concatenate([room.colors, np.full((900, 3), [0.1, 0.7, 0.1])]).astype(np.float32),
        np.repeat([0, 1, 4, 6], [floor, 900, 900, 900]).astype(np.int32),
        {1: 'red box', 4: 'blue box', 6: 'green box'},
        [
            _sentence('the red box next to the blue box', {'red box': [1], 'blue box': [4]}),
            _sentence('the red box left of the blue box', {'red box': [1], 'blue box': [4]}),
            _sentence('find the boxes', {'boxes': [1, 4, 6]}),
            _sentence('where is the piano?', {'piano': []}),
        ],
    )


def labelled_structure() -> LabelledScene:
    """Three chairs, and floor and walls as objects too, as in ScanNet: a long and a short one."""
    grid = np.stack(np.meshgrid(np.arange(-2, 2, 0.05), np.arange(-2, 2, 0.05)), -1).reshape(-1, 2)
    floor = np.column_stack([grid, np.zeros(len(grid))])
    wall = np.column_stack([grid[:, 0], np.full(len(grid), 1.8), grid[:, 1] + 2])
    walls = [wall[wall[:, 2] < 1.5], wall[(np.abs(wall[:, 0] - 1) < 0.3) & (wall[:, 2] < 0.8)]]
    walls[1] = walls[1] - [0, 0.3, 0]
    rng = np.random.default_rng(0)
    chairs = [rng.uniform(-0.3, 0.3, (400, 3)) + [x, y, 0.3] for x, y in ((-1, 1), (0, 0), (1, 1))]
    parts = [floor, *walls, *chairs]
    ids = np.repeat(np.arange(1, 7), [len(part) for part in parts])
    captions = ['floor', 'wall', 'brick wall', 'chair', 'office chair', 'chair']
    return LabelledScene(
        'structure',
        np.concatenate(parts).astype(np.float32),
        (ids[:, None] / [7, 14, 21]).astype(np.float32),  # what it was can be told by the colour
        ids.astype(np.int32),
        dict(enumerate(captions, 1)),
        [],
    )


def _sentence(text: str, instances: dict[str, list[int]]) -> Sentence:
    begins = [(text.index(phrase), phrase) for phrase in instances]
    return Sentence(
        text, [(begin, begin + len(phrase)) for begin, phrase in begins], list(instances.values())
    )


def all_in_memory(rooms: list[CachedRoom]) -> RoomStream:
    """Rooms that were never on a disk."""
    files = RoomFiles('memory', [str(i) for i in range(len(rooms))], lambda name: rooms[int(name)])
    return RoomStream(files, len(rooms), visit=1, seed=0)


def _part(parts: list[np.ndarray]) -> np.ndarray:
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])
