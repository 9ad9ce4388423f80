"""Axes of cameras and worlds that are not those of REP-103."""

from __future__ import annotations

import numpy as np

# A camera with x right, y up, z backward (OpenGL, Blender, ARKit); it is its own inverse.
OPENGL_FROM_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])
# A world with y up (ARKit, OpenGL) into one with z up; x stays.
Z_UP_FROM_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
