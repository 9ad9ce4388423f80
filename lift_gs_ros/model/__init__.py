"""The LIFT-GS network, its language encoders and its checkpoints."""
