"""LIFT-GS on a robot: language grounding in a streaming 3D map."""

from pkgutil import extend_path

# The generated lift_gs_ros.msg and lift_gs_ros.srv are in the installed package; with this, they
# are found beside the modules of a source checkout that comes first on the path.
__path__ = extend_path(__path__, __name__)
