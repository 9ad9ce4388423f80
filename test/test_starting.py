"""What a node's program does before anything else, in processes of their own."""

import os
import signal
import subprocess
import sys

CODE = """
from lift_gs_ros.nodes import starting

class Importing:
    def import_module(self, name):
        print(name, flush=True)
        starting.signal.pause()

starting.importlib = Importing()
starting.start('camera_node')
"""


def run(parent: str = '') -> subprocess.Popen:
    environment = {**os.environ, 'LIFT_GS_ROS_END_WITH_PARENT': parent}
    command = [sys.executable, '-c', CODE]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_ctrl_c_while_a_node_is_importing_ends_it_without_a_traceback():
    with run() as process:
        assert process.stdout.readline() == 'lift_gs_ros.nodes.camera_node\n'
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ''


def test_a_node_ends_whose_launch_was_gone_before_it_could_look():
    with subprocess.Popen([sys.executable, '-c', '']) as gone:
        gone.wait()
    with run(str(gone.pid)) as process:
        assert process.wait(20) == -signal.SIGTERM
        assert process.stdout.read() == ''


def test_a_node_lives_that_launch_has_started_through_another_program():
    with run(str(os.getppid())) as process:
        assert process.stdout.readline() == 'lift_gs_ros.nodes.camera_node\n'
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM
