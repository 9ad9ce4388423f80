"""From a recording to weights that the node loads: the steps of ``make learn``, at tiny sizes."""

import re
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.model.checkpoint import load_checkpoint, read_metadata
from lift_gs_ros.sequences import open_sequence
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import RoomSequence
from training.config import load_settings
from training.labelling.job import run_job
from training.labelling.scenes import list_scenes
from training.labelling.settings import JobSettings
from training.labelling.workers import in_processes
from training.pretrain import PretrainSettings, pretrain
from training.teachers.load import TeacherSpec

REPOSITORY = Path(__file__).parents[1]
SHIPPED = REPOSITORY / 'lift_gs_ros/weights/small.safetensors'


def record(folder: Path, sequence: RoomSequence) -> None:
    """Write a sequence as TUM keyframes."""
    poses = []
    for kind in ('raw_imgs', 'depth_imgs'):
        (folder / kind).mkdir(parents=True)
    for number, frame in enumerate(sequence):
        Image.fromarray(frame.color).save(folder / f'raw_imgs/{number:04d}_rgb_raw.jpg', quality=95)
        depth = np.round(frame.depth * 5000).astype(np.uint16)
        Image.fromarray(depth).save(folder / f'depth_imgs/{number:04d}_depth_raw.png')
        pose = frame.world_from_camera
        quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
        poses.append([frame.stamp / 1e9, *pose[:3, 3], *quaternion])
    np.savetxt(folder / 'truth_cam_poses.txt', poses)
    (fx, _, cx), (_, fy, cy) = frame.camera.intrinsics[:2]
    (folder / 'camera.yaml').write_text(
        f'Camera.fx: {fx}\nCamera.fy: {fy}\nCamera.cx: {cx}\nCamera.cy: {cy}\n'
        'DepthMapFactor: 5000\n'
    )


def test_a_recording_is_labelled_pretrained_on_and_what_comes_of_it_answers(tmp_path):
    record(tmp_path / 'walk', RoomSequence(make_room(3, 'train'), 6, seed=3))
    teachers = TeacherSpec('simulated:train/3')  # in the place of SAM and a VLM
    settings = JobSettings(teachers, every=2, width=80)
    run = partial(in_processes, devices=['cpu'])
    report = run_job(str(tmp_path / 'labels'), list_scenes([str(tmp_path / 'walk')]), settings, run)
    assert (report.views, report.bad_scenes) == (3, {})
    options = [
        f'rooms={tmp_path / "labels"}', f'output={tmp_path / "run"}', f'start_from={SHIPPED}',
        'steps=1', 'warmup=1', 'batch_size=1', 'accelerator=cpu', 'sample.max_points=1500',
        'sample.min_points=10',
    ]  # fmt: skip
    config = REPOSITORY / 'config/train/sequence.yaml'
    checkpoint = pretrain(load_settings(PretrainSettings, config, options))
    assert read_metadata(checkpoint)[1]['steps'] == 1
    before, after = load_checkpoint(SHIPPED).state_dict(), load_checkpoint(checkpoint).state_dict()
    moved = [
        (after[name] - before[name]).abs().max()
        for name in before
        if before[name].is_floating_point() and 'running' not in name
    ]
    assert 0 < max(moved) < 0.01  # it is the shipped network, a step further
    voxel_map = VoxelMap()
    for frame in open_sequence(tmp_path / 'walk'):
        voxel_map.integrate(frame)
    grounder = Grounder.load(
        str(checkpoint), settings=GrounderSettings(chunk_size=voxel_map.chunk_size)
    )
    for key in voxel_map.chunk_keys():
        grounder.update(key, voxel_map.chunk(key))
    assert np.isfinite(grounder.ground('the chair').none_score)


def test_make_learn_does_these_steps_in_this_order():
    recipe = re.search(r'^learn:.*?\n((?:\t.*\n)+)', (REPOSITORY / 'Makefile').read_text(), re.M)[1]
    steps = re.findall(r'-m (training\.\w+)', recipe)
    assert steps == ['training.pseudolabel', 'training.pretrain', 'training.evaluate']
