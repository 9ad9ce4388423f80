import numpy as np
import pytest

from lift_gs_ros.mapping.keyframes import KeyframeSelector

SECOND = 1_000_000_000


def pose(x=0.0, yaw=0.0):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    matrix[0, 3] = x
    return matrix


def taken(selector, poses, step=SECOND // 30):
    return [selector.is_keyframe(i * step, pose) for i, pose in enumerate(poses)]


def test_the_first_frame_is_a_keyframe_and_a_still_camera_gives_no_other():
    assert taken(KeyframeSelector(), [pose()] * 5) == [True, False, False, False, False]


def test_translation_is_measured_from_the_last_keyframe_not_from_the_last_frame():
    poses = [pose(x=0.04 * i) for i in range(7)]
    assert taken(KeyframeSelector(translation=0.1), poses) == [1, 0, 0, 1, 0, 0, 1]


def test_rotation_alone_makes_a_keyframe():
    poses = [pose(yaw=0.06 * i) for i in range(7)]
    assert taken(KeyframeSelector(rotation=0.17), poses) == [1, 0, 0, 1, 0, 0, 1]


def test_half_a_turn_is_a_rotation():
    selector = KeyframeSelector(rotation=3.0)
    assert taken(selector, [pose(), pose(yaw=2.9), pose(yaw=np.pi)]) == [1, 0, 1]


def test_no_keyframe_sooner_than_the_minimal_interval():
    poses = [pose(x=float(i)) for i in range(7)]
    assert taken(KeyframeSelector(min_interval=0.09), poses) == [1, 0, 0, 1, 0, 0, 1]


def test_a_keyframe_at_the_latest_after_the_maximal_interval():
    assert taken(KeyframeSelector(max_interval=0.09), [pose()] * 7) == [1, 0, 0, 1, 0, 0, 1]


def test_time_running_backwards_starts_anew():
    selector = KeyframeSelector(min_interval=1.0)
    assert selector.is_keyframe(100 * SECOND, pose())
    assert selector.is_keyframe(5 * SECOND, pose())
    assert not selector.is_keyframe(5 * SECOND + 1, pose(x=1))
    assert selector.is_keyframe(6 * SECOND, pose(x=1))


def test_reset_makes_the_next_frame_a_keyframe():
    selector = KeyframeSelector()
    selector.is_keyframe(0, pose())
    selector.reset()
    assert selector.is_keyframe(1, pose())


def test_a_pose_that_the_caller_changes_afterwards_is_remembered_as_it_was():
    selector, matrix = KeyframeSelector(), pose()
    selector.is_keyframe(0, matrix)
    matrix[0, 3] = 1.0
    assert selector.is_keyframe(1, matrix)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'translation': -0.1}, 'translation is -0.1'),
        ({'rotation': float('nan')}, 'rotation is nan'),
        ({'min_interval': -1.0}, 'min_interval is -1.0'),
        ({'min_interval': 2.0, 'max_interval': 1.0}, 'max_interval 1.0'),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        KeyframeSelector(**arguments)
