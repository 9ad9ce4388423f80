"""Lifecycle of the nodes in a real graph: what a manager such as nav2's sees and does."""

import gc
import threading

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from ros_graph import PATIENCE, wait_until  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from test_nodes import (  # noqa: E402
    FakeGrounder,
    Robot,
    Walk,
    call,
    listen,
    make_mapping,
    map_good_frames,
)

from lift_gs_ros import msg, srv  # noqa: E402
from lift_gs_ros.nodes import lifecycle  # noqa: E402
from lift_gs_ros.nodes.camera_node import CameraNode  # noqa: E402
from lift_gs_ros.nodes.grounding_node import GroundingNode  # noqa: E402
from lift_gs_ros.nodes.mapping_node import MappingNode  # noqa: E402
from lift_gs_ros.nodes.qos import LATCHED_CHUNKS  # noqa: E402

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


def change(client, name: str, *transitions: int) -> bool:
    """Ask for transitions one after the other; True when all succeeded."""
    return all(change_once(client, name, transition) for transition in transitions)


def change_once(client, name: str, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    # The first configuration compiles what fusion needs.
    return call(client, ChangeState, f'{name}/change_state', request, seconds=120.0).success


def state(client, name: str) -> str:
    return call(client, GetState, f'{name}/get_state', GetState.Request()).current_state.label


def test_a_node_without_autostart_waits_for_its_manager_and_subscribes_when_active(graph, client):
    graph.add(MappingNode, autostart=False)
    assert state(client, 'mapping_node') == 'unconfigured'
    assert not client.count_subscribers('rgb/image')
    assert change(client, 'mapping_node', CONFIGURE)
    assert state(client, 'mapping_node') == 'inactive'
    assert not client.count_subscribers('rgb/image')
    assert change(client, 'mapping_node', ACTIVATE)
    assert state(client, 'mapping_node') == 'active'
    wait_until(lambda: client.count_subscribers('rgb/image'), 'a subscriber')


def test_the_map_outlives_inactivity_and_is_forgotten_by_cleanup(graph, client, camera):
    mapping = make_mapping(graph, camera)
    map_good_frames(mapping, camera, 2)
    assert change(client, 'mapping_node', DEACTIVATE)
    wait_until(lambda: not camera.color.get_subscription_count(), 'the end of the subscription')
    voxels = mapping._mapper.map.num_voxels
    answer = call(client, Trigger, 'mapping_node/reset', Trigger.Request())
    assert (answer.success, answer.message) == (False, 'the node is inactive')
    assert change(client, 'mapping_node', ACTIVATE)
    camera.wait_for_subscribers()
    map_good_frames(mapping, camera, 2)
    assert mapping._mapper.map.num_voxels > voxels
    assert change(client, 'mapping_node', DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE)
    assert mapping._mapper.map.num_voxels == 0
    camera.wait_for_subscribers()
    map_good_frames(mapping, camera, 2)


def test_an_inactive_grounding_node_leaves_the_gpu_and_knows_the_map_again_when_active(
    graph, client, camera
):
    mapping = make_mapping(graph, camera)
    robot = Robot(graph, client, answer_rate=20.0)
    map_good_frames(mapping, camera, 2)
    robot.ask('the red wall')
    robot.wait_for_answer(lambda a: a.instances, 'an answer')
    assert change(client, 'grounding_node', DEACTIVATE)
    assert robot.grounder.device == 'cpu'
    assert not robot.grounder.clouds
    response = call(client, srv.Ground, 'grounding_node/ground', srv.Ground.Request(query='a'))
    assert response.grounding.message == 'the node is inactive'
    # The map is another one in the meantime.
    assert call(client, Trigger, 'mapping_node/reset', Trigger.Request()).success
    camera.x += 50.0
    map_good_frames(mapping, camera, 2)
    assert change(client, 'grounding_node', ACTIVATE)
    assert robot.grounder.device == 'auto'
    robot.wait_for_answer(
        # More frames may be fused meanwhile.
        lambda a: a.map_voxels == len(mapping._mapper.map.to_point_cloud()),
        'the query answered on the new map',
    )


def test_a_transition_that_fails_leaves_the_node_unconfigured_and_can_be_tried_again(graph, client):
    attempts: list[int] = []

    def load(values):
        attempts.append(1)
        if len(attempts) == 1:
            raise FileNotFoundError('no checkpoint there')
        return FakeGrounder()

    node = graph.add(lambda **o: GroundingNode(load, **o), autostart=False)
    assert not change(client, 'grounding_node', CONFIGURE)
    assert state(client, 'grounding_node') == 'unconfigured'
    assert str(node._error) == 'cannot load the model: no checkpoint there'
    assert change(client, 'grounding_node', CONFIGURE)
    node._grounder.to = None  # what activation calls
    assert not change(client, 'grounding_node', ACTIVATE)
    assert state(client, 'grounding_node') == 'unconfigured'
    assert not client.count_publishers('grounding')
    assert change(client, 'grounding_node', CONFIGURE, ACTIVATE)
    wait_until(lambda: client.count_publishers('grounding'), 'the topic')


def test_topics_of_a_node_come_and_go_with_its_configuration(graph, client):
    graph.add(lambda **o: CameraNode(Walk(), **o), autostart=False)
    for _ in range(2):
        assert change(client, 'camera_node', CONFIGURE)
        wait_until(lambda: client.count_publishers('rgb/image') == 1, 'the topic')
        assert change(client, 'camera_node', CLEANUP)
        wait_until(lambda: not client.count_publishers('rgb/image'), 'the end of the topic')


def test_a_camera_plays_again_from_the_beginning_when_it_is_activated_again(graph, client):
    node = graph.add(lambda **o: CameraNode(Walk(), **o), wait_for_subscribers=False, loop=True)
    frames = lambda: node.report.counts().get('frames', 0)  # noqa: E731
    wait_until(frames, 'frames')
    assert change(client, 'camera_node', DEACTIVATE)
    seen = frames()
    assert change(client, 'camera_node', ACTIVATE)
    wait_until(lambda: frames() > seen, 'further frames')


def test_shutdown_by_the_manager_ends_the_process_from_every_state(graph, client):
    for transitions, shutdown in (
        ((), Transition.TRANSITION_UNCONFIGURED_SHUTDOWN),
        ((CONFIGURE,), Transition.TRANSITION_INACTIVE_SHUTDOWN),
        ((CONFIGURE, ACTIVATE), Transition.TRANSITION_ACTIVE_SHUTDOWN),
    ):
        node = graph.add(MappingNode, autostart=False)
        assert change(client, 'mapping_node', *transitions, shutdown)
        assert node.finished.is_set()
        assert not node.failure
        graph.remove(node)


def test_what_the_executor_waits_for_is_destroyed_by_its_own_thread(graph, client, monkeypatch):
    """rclpy raises in its wait where an event goes under it, as that of a publisher."""
    node = graph.add(MappingNode, autostart=False)
    [executor] = [thread for _, _, thread, _, adapter in graph._running if adapter is node]
    threads, destroy = [], node.node.destroy_publisher
    monkeypatch.setattr(
        node.node,
        'destroy_publisher',
        lambda entity: threads.append(threading.current_thread()) or destroy(entity),
    )
    assert change(client, 'mapping_node', CONFIGURE, ACTIVATE, DEACTIVATE, CLEANUP)
    assert set(threads) == {executor}


def test_a_transition_that_cannot_destroy_fails_and_says_so(graph, client, monkeypatch):
    node = graph.add(MappingNode, autostart=False)
    assert change(client, 'mapping_node', CONFIGURE, ACTIVATE)

    def destroy(entity):
        monkeypatch.undo()
        raise RuntimeError('no')

    monkeypatch.setattr(node.node, 'destroy_subscription', destroy)
    assert not change(client, 'mapping_node', DEACTIVATE)
    assert state(client, 'mapping_node') == 'unconfigured'
    assert not client.count_subscribers('rgb/image')
    assert change(client, 'mapping_node', CONFIGURE, ACTIVATE)


@pytest.mark.parametrize('is_shut_down', [False, True])
def test_without_a_spinning_executor_entities_are_destroyed_all_the_same(
    graph, client, monkeypatch, is_shut_down
):
    monkeypatch.setattr(lifecycle, 'DESTROY_SECONDS', 0.05)
    node = MappingNode(context=graph.context)
    before = len(node._entities())
    executor = SingleThreadedExecutor(context=graph.context)
    executor.add_node(node.node)
    node.start()
    assert len(node._entities()) > before
    if is_shut_down:
        executor.shutdown()
    node.node.trigger_deactivate()
    node.node.trigger_cleanup()
    assert len(node._entities()) == before
    assert node.state == 'unconfigured'
    executor.shutdown()
    node.node.destroy_node()


def test_whoever_waits_for_a_node_that_is_shut_down_is_told_so(graph, client):
    node = graph.add(MappingNode, autostart=False)
    assert change(client, 'mapping_node', CONFIGURE, ACTIVATE)
    busy, go_on = threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        go_on.wait(PATIENCE)

    threading.Thread(target=node._jobs.ask, args=(work, PATIENCE), daemon=True).start()
    wait_until(busy.is_set, 'the work')
    reset = client.create_client(Trigger, 'mapping_node/reset')
    assert reset.wait_for_service(PATIENCE)
    answer = reset.call_async(Trigger.Request())
    wait_until(lambda: len(node._jobs._waiting), 'the call')
    threading.Timer(0.2, go_on.set).start()
    assert change(client, 'mapping_node', Transition.TRANSITION_ACTIVE_SHUTDOWN)
    wait_until(answer.done, 'an answer')
    assert (answer.result().success, answer.result().message) == (False, 'the node is inactive')
    assert 'failed_callbacks' not in node.report.counts()


def test_a_transition_that_the_state_does_not_have_is_refused_and_changes_nothing(graph, client):
    graph.add(lambda **o: CameraNode(Walk(), **o), autostart=False)
    assert not change(client, 'camera_node', ACTIVATE)
    assert change(client, 'camera_node', CONFIGURE)
    assert not change(client, 'camera_node', CONFIGURE)
    assert state(client, 'camera_node') == 'inactive'
    assert change(client, 'camera_node', ACTIVATE, DEACTIVATE)
    assert not change(client, 'camera_node', DEACTIVATE)
    assert change(client, 'camera_node', CLEANUP)


def test_autostart_leaves_the_node_to_a_manager_that_was_first(graph, client):
    node = graph.add(lambda **o: CameraNode(Walk(), **o), autostart=False)
    assert change(client, 'camera_node', CONFIGURE)
    node.values['autostart'] = True
    node.start()  # does not raise, which would end the process
    assert state(client, 'camera_node') == 'inactive'
    assert change(client, 'camera_node', ACTIVATE, DEACTIVATE)


def test_a_node_that_has_ended_is_gone_for_the_others_at_once(graph, client):
    node = graph.add(lambda **o: CameraNode(Walk(), **o), autostart=False)
    wait_until(lambda: 'camera_node' in client.get_node_names(), 'the node')
    gc.disable()  # rclpy would leave it to the garbage collector
    try:
        graph.remove(node)
        wait_until(lambda: 'camera_node' not in client.get_node_names(), 'the end of the node')
        services = dict(client.get_service_names_and_types())
        assert '/camera_node/change_state' not in services
    finally:
        gc.enable()


def test_chunks_and_maps_reach_their_readers_again_after_a_pause(graph, client, camera):
    mapping = make_mapping(graph, camera)
    map_good_frames(mapping, camera, 2)
    assert change(client, 'mapping_node', DEACTIVATE, ACTIVATE)
    chunks = listen(client, msg.MapChunk, 'map_chunks', LATCHED_CHUNKS)
    maps = listen(client, PointCloud2, 'map')
    wait_until(lambda: chunks and maps, 'the chunks and the map')
