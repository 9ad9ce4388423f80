"""Losses of LIFT-GS (paper, equations 2 to 6), each on rendered 2D images or on points alike."""
