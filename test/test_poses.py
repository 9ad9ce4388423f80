import sys
import threading
import time
import types

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from lift_gs_ros.mapping.synchronizer import PairSynchronizer  # noqa: E402
from lift_gs_ros.nodes.poses import (  # noqa: E402
    POSES_OF_A_NEW_CLOCK,
    JumpDetector,
    PoseBuffer,
    PoseUnavailableError,
    TfPoses,
    wait_for_pose,
)
from lift_gs_ros.nodes.worker import BoundedQueue, Worker  # noqa: E402

SECOND = 1_000_000_000
MS = 1_000_000


def make_pose(x: float, yaw: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler('z', yaw).as_matrix()
    pose[0, 3] = x
    return pose


def make_buffer(*poses: tuple[int, float, float], **options) -> PoseBuffer:
    buffer = PoseBuffer(np.eye(4), **options)
    for stamp, x, yaw in poses:
        buffer.add(stamp, make_pose(x, yaw))
    return buffer


def test_a_pose_is_interpolated_between_its_neighbours():
    buffer = make_buffer((10 * SECOND, 1.0, 0.0), (10 * SECOND + 400 * MS, 3.0, 0.8))
    pose = buffer.lookup(10 * SECOND + 100 * MS)
    np.testing.assert_allclose(pose, make_pose(1.5, 0.2), atol=1e-12)


def test_rotation_takes_the_short_way_round():
    buffer = make_buffer((0, 0.0, 3.0), (100 * MS, 0.0, -3.0))
    np.testing.assert_allclose(buffer.lookup(50 * MS), make_pose(0.0, np.pi), atol=1e-12)


def test_an_exact_stamp_gives_the_exact_pose_even_next_to_a_gap():
    buffer = make_buffer((0, 1.0, 0.0), (5 * SECOND, 2.0, 0.0))
    np.testing.assert_array_equal(buffer.lookup(5 * SECOND), make_pose(2.0))


def test_poses_that_come_out_of_order_are_sorted():
    buffer = make_buffer((0, 0.0, 0.0), (200 * MS, 2.0, 0.0), (100 * MS, 9.0, 0.0))
    assert buffer.lookup(150 * MS)[0, 3] == pytest.approx(5.5)


def test_the_newest_pose_is_never_taken_for_a_later_image():
    with pytest.raises(PoseUnavailableError, match='0.100 s older') as caught:
        make_buffer((0, 0.0, 0.0)).lookup(100 * MS)
    assert not caught.value.final


def test_waiting_is_known_to_be_in_vain_before_the_oldest_pose_and_in_a_gap():
    buffer = make_buffer((10 * SECOND, 0.0, 0.0), (12 * SECOND, 1.0, 0.0))
    for stamp, match in ((9 * SECOND, '1.000 s newer'), (11 * SECOND, '2.000 s apart')):
        with pytest.raises(PoseUnavailableError, match=match) as caught:
            buffer.lookup(stamp)
        assert caught.value.final


def test_no_pose_is_made_up_between_two_that_a_jump_lies_between():
    buffer = make_buffer((0, 0.0, 0.0), (30 * MS, 5.0, 0.0), max_jump=lambda: 1.0)
    with pytest.raises(PoseUnavailableError, match='jumps by 5.00 m') as caught:
        buffer.lookup(10 * MS)
    assert caught.value.final
    assert buffer.lookup(30 * MS)[0, 3] == 5.0


def test_the_buffer_is_bounded_and_forgets_the_oldest():
    buffer = make_buffer(*((i * MS, float(i), 0.0) for i in range(50)), capacity=10)
    assert len(buffer) == 10
    assert buffer.lookup(45 * MS)[0, 3] == 45
    with pytest.raises(PoseUnavailableError):
        buffer.lookup(30 * MS)


def test_a_clock_that_starts_again_starts_the_buffer_again():
    again = [(i * 100 * MS, float(i), 0.0) for i in range(POSES_OF_A_NEW_CLOCK + 1)]
    buffer = make_buffer((100 * SECOND, 5.0, 0.0), *again)
    assert len(buffer) == 2
    assert buffer.lookup(450 * MS)[0, 3] == pytest.approx(4.5)


def test_a_pose_with_a_bad_stamp_costs_the_others_nothing():
    poses = [((100 + i) * SECOND, float(i), 0.0) for i in range(10)]
    bad = (0, 9.0, 0.0)
    buffer = make_buffer(*poses[:5], bad, *poses[5:], bad, bad)
    assert len(buffer) == 10


def test_the_camera_is_where_its_mount_on_the_base_says():
    base_from_camera = make_pose(0.3, 0.0)
    buffer = PoseBuffer(base_from_camera)
    buffer.add(0, make_pose(1.0, np.pi / 2))
    np.testing.assert_allclose(buffer.lookup(0)[:3, 3], [1.0, 0.3, 0.0], atol=1e-12)


class Tf2Buffer:
    """Of tf2's buffer what matters here: nothing that is 10 s older than the newest is taken."""

    def __init__(self) -> None:
        self.stamps: list[int] = []

    def set_transform(self, stamp: int) -> None:
        if not self.stamps or stamp > max(self.stamps) - 10 * SECOND:
            self.stamps.append(stamp)

    def clear(self) -> None:
        self.stamps.clear()

    def lookup_transform(self, target: str, source: str, time):
        if time.nanoseconds not in (*self.stamps, 0):  # 0 is the latest there is
            raise LookupError(f'{time.nanoseconds} is not there')
        from geometry_msgs.msg import TransformStamped

        return TransformStamped()


@pytest.fixture
def tf_poses(monkeypatch) -> TfPoses:
    """Poses from a stand-in for tf2_ros."""
    tf2 = types.SimpleNamespace(
        Buffer=Tf2Buffer,
        TransformListener=lambda buffer, node: None,
        TransformException=LookupError,
    )
    monkeypatch.setitem(sys.modules, 'tf2_ros', tf2)
    return TfPoses('/map')


def test_an_image_without_a_stamp_does_not_get_the_latest_transform(tf_poses):
    tf_poses._buffer.set_transform(100 * SECOND)
    with pytest.raises(PoseUnavailableError, match='stamp 0') as caught:
        tf_poses.lookup(0, 'camera')
    assert caught.value.final


def test_transforms_are_found_again_after_the_clock_has_started_again(tf_poses):
    buffer = tf_poses._buffer
    for stamp in (1000 * SECOND, 1001 * SECOND):
        buffer.set_transform(stamp)
        tf_poses.lookup(stamp, 'camera')
    tf_poses.lookup(1000 * SECOND, 'camera')  # a little late is no new clock
    assert len(buffer.stamps) == 2
    buffer.set_transform(5 * SECOND)
    with pytest.raises(PoseUnavailableError):
        tf_poses.lookup(5 * SECOND, 'camera')
    buffer.set_transform(6 * SECOND)
    np.testing.assert_array_equal(tf_poses.lookup(6 * SECOND, 'camera'), np.eye(4))


def test_waiting_ends_when_the_pose_comes():
    buffer = make_buffer((0, 0.0, 0.0))
    late = threading.Timer(0.05, buffer.add, (100 * MS, make_pose(1.0)))
    late.start()
    pose = wait_for_pose(buffer, 50 * MS, '', time.monotonic() + 10, threading.Event())
    assert pose[0, 3] == pytest.approx(0.5)


def test_waiting_ends_at_the_deadline_and_when_the_node_stops():
    buffer, stopped = make_buffer((0, 0.0, 0.0)), threading.Event()
    with pytest.raises(PoseUnavailableError):
        wait_for_pose(buffer, 50 * MS, '', time.monotonic() + 0.02, stopped)
    stopped.set()
    begin = time.monotonic()
    with pytest.raises(PoseUnavailableError):
        wait_for_pose(buffer, 50 * MS, '', begin + 60, stopped)
    assert time.monotonic() - begin < 30


def test_a_jump_is_the_distance_from_the_keyframe_before():
    jumps = JumpDetector()
    assert jumps.check(make_pose(100.0), 1.0) is None
    assert jumps.check(make_pose(100.9), 1.0) is None
    assert jumps.check(make_pose(103.4), 1.0) == pytest.approx(2.5)
    jumps.reset()
    assert jumps.check(make_pose(0.0), 1.0) is None


def test_images_are_paired_with_the_nearest_within_the_slop():
    pairs = PairSynchronizer(slop_ns=10 * MS)
    assert pairs.add(0, 0, 'c0') is None
    assert pairs.add(1, 15 * MS, 'd15') is None
    assert pairs.add(0, 20 * MS, 'c20') == ('c20', 'd15')
    assert pairs.add(1, 31 * MS, 'd31') is None
    assert pairs.add(0, 33 * MS, 'c33') == ('c33', 'd31')
    assert pairs.unpaired == [1, 0]


def test_colour_without_depth_is_bounded_and_counted():
    pairs = PairSynchronizer(slop_ns=10 * MS, capacity=5)
    for i in range(100):
        assert pairs.add(0, i * 33 * MS, i) is None
    assert pairs.unpaired == [95, 0]
    assert pairs.add(1, 99 * 33 * MS, 'depth') == (99, 'depth')


@pytest.mark.parametrize('lost', [0, 1, 8])
def test_an_image_that_is_lost_does_not_shift_the_pairs_behind_it(lost):
    pairs, found = PairSynchronizer(slop_ns=20 * MS), []
    for i in range(20):  # a camera of 60 Hz, depth first
        stamp = i * SECOND // 60
        if i != lost:
            found.append(pairs.add(1, stamp + MS, i))
        found.append(pairs.add(0, stamp, i))
    late = [pair for pair in found if pair is not None][-11:]
    assert late == [(i, i) for i in range(9, 20)]
    assert pairs.unpaired[0] >= 1


def test_pairing_goes_on_after_a_clock_that_starts_again():
    pairs = PairSynchronizer(slop_ns=10 * MS)
    pairs.add(0, 100 * SECOND, 'old')
    assert pairs.add(0, 0, 'c') is None
    assert pairs.add(1, 0, 'd') == ('c', 'd')


def test_a_full_queue_drops_the_oldest():
    queue = BoundedQueue(2)
    assert [queue.put(i) for i in range(4)] == [None, None, 0, 1]
    assert [queue.get(0), queue.get(0), queue.get(0)] == [2, 3, None]


def test_a_worker_outlives_the_errors_of_its_steps_and_stops():
    queue, errors, done = BoundedQueue(10), [], threading.Event()

    def step():
        item = queue.get(timeout=0.01)
        if item == 'bad':
            raise RuntimeError('bad item')
        if item == 'good':
            done.set()

    worker = Worker('test', step, errors.append)
    worker.start()
    queue.put('bad')
    queue.put('good')
    assert done.wait(10)
    assert worker.stop(10)
    assert [str(error) for error in errors] == ['bad item']
