"""Services that take long leave the executor's one thread free."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup  # noqa: E402
from ros_graph import wait_until  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from lift_gs_ros.nodes.long_calls import LongCalls  # noqa: E402


def test_messages_come_in_while_a_service_takes_long_and_its_answer_is_sent(graph, client):
    server, go_on = graph.client('server'), threading.Event()
    calls, heard, callers = LongCalls(server), [], []

    def serve(request, response):
        callers.append(threading.current_thread())
        assert go_on.wait(20)
        response.message = 'done'
        return response

    group = MutuallyExclusiveCallbackGroup()
    server.create_service(Trigger, 'work', calls.beside(serve), callback_group=group)
    server.create_subscription(String, 'news', heard.append, 10)
    asker, speaker = (
        client.create_client(Trigger, 'work'),
        client.create_publisher(String, 'news', 10),
    )
    wait_until(asker.service_is_ready, 'the service')
    wait_until(speaker.get_subscription_count, 'a reader')
    answer = asker.call_async(Trigger.Request())
    wait_until(lambda: callers, 'the call')
    speaker.publish(String(data='meanwhile'))
    wait_until(lambda: heard, 'a message during the call')
    assert not answer.done()
    assert not calls.wait(0)
    go_on.set()
    wait_until(answer.done, 'the answer')
    assert answer.result().message == 'done'
    assert calls.wait(1)
    wait_until(lambda: not callers[0].is_alive(), 'the end of its thread')


def test_what_a_service_raises_is_raised_in_the_executor(graph, client):
    server, raised, executors = graph.client('server'), [], []
    calls = LongCalls(server)

    def serve(request, response):
        raise RuntimeError('a defect')

    async def watched(request, response):
        executors.append(threading.current_thread())
        try:
            return await calls.beside(serve)(request, response)
        except RuntimeError as error:
            raised.append((str(error), threading.current_thread()))
            return response

    server.create_service(Trigger, 'work', watched)
    asker = client.create_client(Trigger, 'work')
    wait_until(asker.service_is_ready, 'the service')
    asker.call_async(Trigger.Request())
    wait_until(lambda: raised, 'the error')
    assert raised == [('a defect', executors[0])]
    assert calls.wait(1)
