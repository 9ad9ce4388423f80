"""Offline training of LIFT-GS. Stands on lift_gs_ros; nothing on the robot imports it."""
