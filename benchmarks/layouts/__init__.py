"""Folders in exactly the layouts of data sets, written from any scene that can be rendered.

``test/test_datasets.py`` writes small ones and reads them back to the same world;
``benchmarks/readers.py`` writes large ones and times the readers. A writer takes an empty folder
and a ``Recording``, and returns the path that is to be opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.layouts import cameras, phones, rendered
from benchmarks.layouts.bag_files import bag_writer
from benchmarks.layouts.recording import Recording

__all__ = ['BAG_WRITERS', 'WRITERS', 'Recording']

WRITERS: dict[str, Callable[[Path, Recording], Path]] = {
    '7-Scenes': cameras.write_seven_scenes,
    'TUM RGB-D': cameras.write_tum,
    'TUM keyframes': cameras.write_tum_keyframes,
    'ScanNet': cameras.write_scannet,
    'ScanNet .sens': cameras.write_sens,
    'Matterport3D': cameras.write_matterport,
    'Open3D': cameras.write_open3d,
    'ScanNet++ iPhone': phones.write_scannetpp,
    'ARKitScenes': phones.write_arkitscenes,
    'Polycam': phones.write_polycam,
    'Record3D': phones.write_record3d,
    'Replica': rendered.write_replica,
    'ICL-NUIM': rendered.write_icl_nuim,
    'Structured3D': rendered.write_structured3d,
    'Taskonomy': rendered.write_taskonomy,
    'Aria Synthetic Environments': rendered.write_aria_synthetic,
    'ScanNet++ DSLR': rendered.write_scannetpp_dslr,
}
BAG_WRITERS: dict[str, Callable[[Path, Recording], Path]] = {
    'rosbag2, .mcap': bag_writer('mcap'),
    'rosbag2, .db3': bag_writer('sqlite3'),
    'ROS 1 bag': bag_writer('ros1'),
}
