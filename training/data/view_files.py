"""A labelled view as files of a WebDataset sample, and back; docs/pseudo_labels.md says which."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lift_gs_ros.geometry import Camera, PointCloud
from lift_gs_ros.mapping.frame import depth_to_metres
from training.data.posed_image import PosedImage, nearest
from training.data.pseudo_labels import PseudoLabels

JPEG_QUALITY = 95
Files = dict[str, bytes]  # what comes after the sample's name and a dot, and the content


@dataclass(frozen=True)
class LabelledView:
    """A posed image and what the teachers said about it, in the same size."""

    view: PosedImage
    labels: PseudoLabels

    def resized(self, width: int) -> LabelledView:
        """Return a smaller image with its labels; nothing is enlarged."""
        view = self.view.resized(width)
        height, width = view.image.shape[:2]
        semantics = nearest(self.labels.semantics, width, height)
        labels = PseudoLabels(semantics, self.labels.captions, self.labels.embeddings)
        return LabelledView(view, labels)


def encode_view(view: PosedImage, with_depth: bool = True) -> Files:
    """Encode a posed image."""
    about = {
        'scene': view.scene,
        'name': view.name,
        'stamp': view.stamp,
        'width': view.camera.width,
        'height': view.camera.height,
        'intrinsics': view.camera.intrinsics.tolist(),
        'world_from_camera': view.world_from_camera.tolist(),
        'chunks': [list(key) for key in view.chunks],
    }
    files = {'view.json': _to_json(about), 'image.jpg': _encode_jpeg(view.image)}
    if with_depth:
        files['depth.png'] = _encode_png(np.clip(np.rint(view.depth * 1000), 0, 65534))
    return files


def decode_view(files: Files) -> PosedImage:
    """Decode a posed image; without a depth image its depth is 0 everywhere."""
    about = json.loads(files['view.json'])
    camera = Camera(np.array(about['intrinsics']), about['width'], about['height'])
    depth = np.zeros((camera.height, camera.width), np.float32)
    if 'depth.png' in files:
        depth = depth_to_metres(_decode_png(files['depth.png']))
    chunks = [(int(i), int(j), int(k)) for i, j, k in about['chunks']]
    image = np.asarray(Image.open(io.BytesIO(files['image.jpg'])).convert('RGB'))
    pose = np.array(about['world_from_camera'])
    return PosedImage(
        about['scene'], about['name'], about['stamp'], image, depth, camera, pose, chunks
    )


def encode_labels(labels: PseudoLabels) -> Files:
    """Encode what teachers said: index image, captions and embeddings, as far as there are any."""
    files = {'semantics.png': _encode_png(labels.semantics.astype(np.int32) + 1)}
    if labels.captions is not None:
        files['captions.json'] = _to_json(labels.captions)
    if labels.embeddings is not None:
        files['index2semantics.npy'] = _encode_array(labels.embeddings.astype(np.float16))
    return files


def decode_labels(files: Files) -> PseudoLabels:
    """Decode what teachers said."""
    semantics = (_decode_png(files['semantics.png']).astype(np.int32) - 1).astype(np.int16)
    captions = files.get('captions.json')
    embeddings = files.get('index2semantics.npy')
    return PseudoLabels(
        semantics,
        None if captions is None else json.loads(captions),
        None if embeddings is None else np.load(io.BytesIO(embeddings), allow_pickle=False),
    )


def encode_cloud(cloud: PointCloud) -> Files:
    """Encode a chunk of the map."""
    buffer = io.BytesIO()
    colors = np.round(np.clip(cloud.colors, 0, 1) * 255).astype(np.uint8)
    np.savez_compressed(buffer, positions=cloud.positions, colors=colors)
    return {'cloud.npz': buffer.getvalue()}


def decode_cloud(files: Files) -> PointCloud:
    """Decode a chunk of the map."""
    with np.load(io.BytesIO(files['cloud.npz']), allow_pickle=False) as data:
        return PointCloud(data['positions'], data['colors'].astype(np.float32) / 255)


def _to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _encode_png(image: NDArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.astype(np.uint16)).save(buffer, 'PNG')
    return buffer.getvalue()


def _decode_png(content: bytes) -> NDArray[np.uint16]:
    return np.asarray(Image.open(io.BytesIO(content))).astype(np.uint16)


def _encode_array(array: NDArray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
