"""An answer as messages: Grounding, markers for RViz, mask points, and detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from lift_gs_ros import msg
from lift_gs_ros.colors import confidence_color, instance_color
from lift_gs_ros.geometry import BOX_EDGES, Box
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding, Latency, MapSummary
from lift_gs_ros.nodes.conversions import make_header, stamp_to_ns
from lift_gs_ros.nodes.point_clouds import columns_from_message, columns_to_message, pack_rgb

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:  # optional: without it there is no topic detections
    Detection3DArray = None

# What all answers say of each object, the best of them first (``standing.shown_instances``).
Objects = Sequence[Sequence[GroundedInstance]]

_MIN_SIZE = 0.01  # metres; RViz complains about cubes without thickness
_LABEL_HEIGHT = 0.12  # metres


def answer_header(grounding: Grounding) -> Header:
    """Stamp of the newest keyframe and map frame."""
    return make_header(grounding.stamp, grounding.frame_id)


def grounding_to_message(grounding: Grounding, weights: str) -> msg.Grounding:
    """Write an answer as lift_gs_ros/Grounding."""
    summary, latency = grounding.map, grounding.latency
    return msg.Grounding(
        header=answer_header(grounding),
        query=grounding.query,
        instances=[_instance_message(instance) for instance in grounding.instances],
        none_score=float(grounding.none_score),
        message=grounding.message,
        weights=weights,
        map_version=summary.version,
        map_voxels=summary.voxels,
        map_chunks=summary.chunks,
        map_keyframes=summary.keyframes,
        encode_ms=float(latency.encode_ms),
        decode_ms=float(latency.decode_ms),
        total_ms=float(latency.total_ms),
    )


def _instance_message(instance: GroundedInstance) -> msg.GroundedInstance:
    return msg.GroundedInstance(
        id=instance.instance_id,
        phrase=instance.phrase,
        span_begin=instance.span[0],
        span_end=instance.span[1],
        is_target=bool(instance.is_target),
        score=float(instance.score),
        center=_point(instance.box.center),
        size=_vector(instance.box.size),
        num_points=len(instance.points),
    )


def grounding_from_messages(message: msg.Grounding, masks: PointCloud2) -> Grounding:
    """Read an answer back from the two topics grounding and masks; the client's side."""
    columns = columns_from_message(masks, ('x', 'y', 'z', 'instance_id', 'score'))
    points = np.stack([columns[name] for name in 'xyz'], axis=-1)

    def instance(grounded: msg.GroundedInstance) -> GroundedInstance:
        own = columns['instance_id'] == grounded.id
        center, size = grounded.center, grounded.size
        return GroundedInstance(
            instance_id=grounded.id,
            phrase=grounded.phrase,
            span=(grounded.span_begin, grounded.span_end),
            is_target=grounded.is_target,
            score=grounded.score,
            box=Box(np.array([center.x, center.y, center.z]), np.array([size.x, size.y, size.z])),
            points=points[own],
            point_scores=columns['score'][own],
        )

    return Grounding(
        query=message.query,
        stamp=stamp_to_ns(message.header.stamp),
        frame_id=message.header.frame_id,
        instances=[instance(grounded) for grounded in message.instances],
        none_score=message.none_score,
        message=message.message,
        latency=Latency(message.encode_ms, message.decode_ms, message.total_ms),
        map=MapSummary(
            message.map_version, message.map_voxels, message.map_chunks, message.map_keyframes
        ),
    )


def _point(values: np.ndarray) -> Point:
    return Point(x=float(values[0]), y=float(values[1]), z=float(values[2]))


def _vector(values: np.ndarray) -> Vector3:
    return Vector3(x=float(values[0]), y=float(values[1]), z=float(values[2]))


class MarkerWriter:
    """Turns instances into markers: a box, its edges and a label for each object.

    Ids are those of the objects; markers that the array before had and this one has not are
    deleted, and the first array deletes what an earlier process may have left in RViz.
    """

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] | None = None

    def write(self, objects: Objects, header: Header) -> MarkerArray:
        """Return the markers of all objects after those that delete."""
        added = [marker for same in objects for marker in _markers(same, header)]
        shown = {(marker.ns, marker.id) for marker in added}
        if self._shown is None:
            deleted = [Marker(header=header, action=Marker.DELETEALL)]
        else:
            deleted = [
                Marker(header=header, ns=namespace, id=marker_id, action=Marker.DELETE)
                for namespace, marker_id in sorted(self._shown - shown)
            ]
        self._shown = shown
        return MarkerArray(markers=deleted + added)


def _markers(same: Sequence[GroundedInstance], header: Header) -> list[Marker]:
    """Markers of an object: what the best answer says of it, and the phrases of all."""
    instance = same[0]
    red, green, blue = confidence_color(instance.score)
    box = instance.box

    def marker(namespace: str, kind: int, alpha: float, center: np.ndarray) -> Marker:
        made = Marker(header=header, ns=namespace, id=instance.instance_id, type=kind)
        made.action = Marker.ADD
        made.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
        made.pose.position, made.pose.orientation.w = _point(center), 1.0
        return made

    # What is only mentioned is fainter than the object asked for.
    cube = marker('boxes', Marker.CUBE, 0.25 if instance.is_target else 0.08, box.center)
    cube.scale = _vector(np.maximum(box.size, _MIN_SIZE))
    edges = marker('edges', Marker.LINE_LIST, 1.0 if instance.is_target else 0.4, np.zeros(3))
    edges.scale.x = 0.015 if instance.is_target else 0.008
    edges.points = _edge_points(box)
    above = box.center + [0, 0, box.size[2] / 2 + _LABEL_HEIGHT]
    label = marker('labels', Marker.TEXT_VIEW_FACING, 1.0, above)
    label.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)  # dark violet would be hard to read
    label.scale.z = _LABEL_HEIGHT
    scores = {one.phrase: one.score for one in reversed(same)}
    label.text = '\n'.join(f'{phrase} {scores[phrase]:.2f}' for phrase in reversed(scores))
    return [cube, edges, label]


def _edge_points(box: Box) -> list[Point]:
    corners = box.corners()
    return [_point(corners[corner]) for edge in BOX_EDGES for corner in edge]


def masks_to_message(objects: Objects, header: Header) -> PointCloud2:
    """Write the points of each object once: x, y, z, rgb, instance_id (int32), score (float32).

    Where several answers are about the same object, they are those of the best one.
    """
    instances = [same[0] for same in objects]
    counts = [len(instance.points) for instance in instances]
    points = np.concatenate([np.zeros((0, 3), np.float32)] + [i.points for i in instances])
    scores = np.concatenate([np.zeros(0, np.float32)] + [i.point_scores for i in instances])
    ids = np.array([instance.instance_id for instance in instances], np.int32)
    colors = np.array([instance_color(i) for i in ids], np.float32).reshape(-1, 3)
    columns = {
        'x': points[:, 0].astype(np.float32),
        'y': points[:, 1].astype(np.float32),
        'z': points[:, 2].astype(np.float32),
        'rgb': pack_rgb(np.repeat(colors, counts, axis=0)),
        'instance_id': np.repeat(ids, counts),
        'score': scores.astype(np.float32),
    }
    return columns_to_message(columns, header)


def detections_to_message(objects: Objects, header: Header):
    """Write the targets as vision_msgs/Detection3DArray; only where vision_msgs is installed.

    One detection an object, with a hypothesis for each phrase that asks for it.
    """
    detections = []
    for same in objects:
        targets = [instance for instance in same if instance.is_target]
        if not targets:
            continue
        detection = Detection3D(header=header, id=str(targets[0].instance_id))
        detection.results = [_hypothesis(instance) for instance in targets]
        detection.bbox.center.position = _point(targets[0].box.center)
        detection.bbox.size = _vector(targets[0].box.size)
        detections.append(detection)
    return Detection3DArray(header=header, detections=detections)


def _hypothesis(instance: GroundedInstance):
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = instance.phrase
    result.hypothesis.score = float(instance.score)
    result.pose.pose.position = _point(instance.box.center)
    return result
