"""A map from a file in a real ROS 2 graph: published as a SLAM does, and asked about."""

from __future__ import annotations

import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import PointCloud2

from lift_gs_ros import output
from lift_gs_ros.demo import (
    DemoClient,
    check_processes,
    node_command,
    running,
    set_environment,
    viewer_command,
    wait_for_interrupt,
)
from lift_gs_ros.mapping.cloud_map import voxel_map_of
from lift_gs_ros.mapping.ply import read_ply
from lift_gs_ros.nodes.conversions import make_header
from lift_gs_ros.nodes.point_clouds import cloud_to_message
from lift_gs_ros.nodes.qos import LATCHED

ENCODING_SECONDS = 1200.0  # for all chunks of a large map on a CPU


def run_cloud_demo(
    path: str,
    queries: list[str],
    out: Path,
    checkpoint: str,
    device: str,
    viewer_port: int | None = None,
) -> int:
    """Ask grounding_node about the cloud (map frame, metres) of a PLY file; the exit status."""
    if not queries:
        raise ValueError('a cloud needs a query, for example QUERY="the red cabinet"')
    voxel_map = voxel_map_of(read_ply(path))
    cloud = voxel_map.to_point_cloud()
    print(f'{path}: {len(cloud)} voxels in {len(voxel_map.chunk_keys())} chunks', flush=True)
    set_environment()
    command = node_command(
        'grounding_node', cloud_map='cloud_map', checkpoint=checkpoint, device=device
    )
    commands = {'grounding_node': command, **viewer_command(viewer_port, cloud_map='cloud_map')}
    with running(commands, out / 'logs') as processes:
        client = DemoClient(lambda: check_processes(processes, out / 'logs'))
        try:
            publisher = client.node.create_publisher(PointCloud2, 'cloud_map', LATCHED)
            publisher.publish(cloud_to_message(cloud, make_header(time.time_ns(), 'map')))
            _wait_for_encodings(client)
            answers = [client.ask(query) for query in queries]
        except TimeoutError as error:
            raise TimeoutError(f'{error}: see {out / "logs"}') from error
        finally:
            client.close()
        output.write_on_map(out, answers, client.answers[-1].weights, cloud, voxel_map.voxel_size)
        print(f'\nwritten: {out / "answers.json"} and a picture of each answer')
        if viewer_port is not None:
            wait_for_interrupt(processes, out / 'logs')
    return 0


def _wait_for_encodings(client: DemoClient) -> None:
    """Wait until grounding_node knows the whole map; its diagnostics say so."""
    state: dict[str, str] = {}

    def listen(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith('grounding_node'):
                state.update({row.key: row.value for row in status.values})

    client.node.create_subscription(DiagnosticArray, '/diagnostics', listen, 10)

    def is_encoded() -> bool:
        return int(state.get('chunks in map', 0)) > 0 and state['encoding'] == 'False'

    client.spin_until(is_encoded, ENCODING_SECONDS, 'encoding of the whole map')
