"""Encodings saved and loaded through grounding_node, in a real graph with a real network."""

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import torch  # noqa: E402
from ros_graph import wait_until  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from test_encoding_file import count_encodings  # noqa: E402
from test_grounder import language  # noqa: E402, F401
from test_map_services import Robot  # noqa: E402
from test_nodes import call, map_good_frames  # noqa: E402

from lift_gs_ros import srv  # noqa: E402
from lift_gs_ros.grounding.grounder import Grounder  # noqa: E402
from lift_gs_ros.model.config import LiftGSConfig  # noqa: E402
from lift_gs_ros.model.lift_gs import LiftGS  # noqa: E402
from lift_gs_ros.nodes.grounding_node import GroundingNode  # noqa: E402


class Listener:
    """A grounding_node with a small network of random weights, the same for the same seed."""

    def __init__(self, graph, robot: Robot, language, folder, seed: int = 0) -> None:  # noqa: F811
        torch.manual_seed(seed)
        config = LiftGSConfig.tiny(language_dim=language.dim)
        self.grounder = Grounder(LiftGS(config), language)
        self.node = graph.add(
            lambda **options: GroundingNode(lambda values: self.grounder, **options),
            map_folder=str(folder),
            max_encodings_mb=1,
            answer_rate=50.0,
            score_threshold=0.0,  # its answers mean nothing
            mask_threshold=0.2,
        )
        self._client, self._robot = robot.client, robot

    def call(self, service: str, name: str):
        kind = srv.SaveMap if service == 'save_encodings' else srv.LoadMap
        return call(self._client, kind, f'grounding_node/{service}', kind.Request(name=name))

    def refuses(self, service: str, name: str, words: str) -> None:
        answer = self.call(service, name)
        assert not answer.success
        assert words in answer.message

    def ask(self):
        request = srv.Ground.Request(query='the red wall')
        return call(self._client, srv.Ground, 'grounding_node/ground', request, 60.0).grounding

    def wait_for_the_map(self) -> None:
        """Wait until all that mapping_node has is encoded."""
        mapper = self._robot.mapping._mapper

        def is_encoded() -> bool:
            known = self.node._answering.summary.version == mapper.map.version > 0
            encoded = bool(self.grounder._encoded) and not self.node._answering.encoding
            return known and encoded and not mapper.pending

        wait_until(is_encoded, 'the encodings of the map', 60.0)


def test_after_a_restart_a_loaded_map_is_answered_without_encoding_it(
    graph,
    tmp_path,
    language,  # noqa: F811
    monkeypatch,
):
    robot = Robot(graph, tmp_path)
    first = Listener(graph, robot, language, tmp_path)
    first.refuses('save_encodings', 'flat', 'no chunk is encoded: nothing was written')
    map_good_frames(robot.mapping, robot.camera, 3)
    first.wait_for_the_map()
    assert robot.call(srv.SaveMap, 'flat').success
    saved = first.call('save_encodings', 'flat')
    assert saved.success, saved.message
    assert saved.message.startswith(f'{tmp_path}/flat.encodings: ')
    before = first.ask()
    graph.remove(first.node)
    assert call(robot.client, Trigger, 'mapping_node/reset', Trigger.Request()).success

    second = Listener(graph, robot, language, tmp_path)
    encoded = count_encodings(second.grounder, monkeypatch)
    loaded = second.call('load_encodings', 'flat')
    assert loaded.success, loaded.message
    assert robot.call(srv.LoadMap, 'flat').success
    second.wait_for_the_map()
    after = second.ask()
    assert encoded == []
    # Half precision may make a duplicate of what was hardly none: the best one stays.
    assert after.instances[0].score == pytest.approx(before.instances[0].score, abs=5e-3)


def test_what_is_no_file_of_encodings_for_this_node_is_refused_and_the_map_kept(
    graph,
    tmp_path,
    language,  # noqa: F811
):
    robot = Robot(graph, tmp_path)
    listener = Listener(graph, robot, language, tmp_path / 'files')
    map_good_frames(robot.mapping, robot.camera, 2)
    listener.wait_for_the_map()
    before = listener.ask()
    assert listener.call('save_encodings', 'good').success
    good = tmp_path / 'files' / 'good.encodings'
    content = good.read_bytes()
    good.with_name('half.encodings').write_bytes(content[: len(content) // 2])
    good.with_name('large.encodings').write_bytes(bytes(1_000_001))
    good.with_name('link.encodings').symlink_to(good)
    for name, words in {
        'half': 'is damaged',
        'large': 'expected at most 1 MB (max_encodings_mb)',
        'link': 'is a symbolic link',
        'absent': 'there is no file',
        '../outside': 'expected that of a file in',
        '': 'expected that of a file in',
    }.items():
        listener.refuses('load_encodings', name, words)
    listener.refuses('save_encodings', '../outside', 'expected that of a file in')
    assert not (tmp_path / 'outside.encodings').exists()
    after = listener.ask()
    assert [i.score for i in after.instances] == [i.score for i in before.instances]
    graph.remove(listener.node)

    other = Listener(graph, robot, language, tmp_path / 'files', seed=1)
    other.refuses('load_encodings', 'good', 'the checkpoint is another one')
    other.wait_for_the_map()
    assert other.ask().instances
