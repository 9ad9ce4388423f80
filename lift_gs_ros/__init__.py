"""LIFT-GS on a robot: language grounding in a streaming 3D map."""
