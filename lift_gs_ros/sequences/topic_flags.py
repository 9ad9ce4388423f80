"""Flags of a command line that name the topics of a bag."""

from __future__ import annotations

import argparse

from lift_gs_ros.sequences.bag_topics import BagTopics

TOPIC_FLAGS = {
    'rgb': 'colour images',
    'depth': 'depth images',
    'camera_info': 'calibration of colour',
    'pose': 'odometry or poses, or /tf',
    'map_frame': 'the fixed frame in TF, not a topic',
}


def add_topic_flags(parser: argparse.ArgumentParser) -> None:
    """Let a command line name topics of bags."""
    group = parser.add_argument_group('topics of a bag, where finding them by type is not enough')
    for name, text in TOPIC_FLAGS.items():
        group.add_argument(f'--{name.replace("_", "-")}', default='', help=text)


def bag_topics(arguments: argparse.Namespace) -> BagTopics:
    """Read which topics of a bag were named on the command line."""
    return BagTopics(**{name: getattr(arguments, name) for name in TOPIC_FLAGS})


def said_topics(topics: BagTopics) -> str:
    """Say topics as on a command line: ``--rgb /front/image``; '' where none is named."""
    named = {name: getattr(topics, name) for name in TOPIC_FLAGS}
    return ' '.join(f'--{name.replace("_", "-")} {value}' for name, value in named.items() if value)
