"""Furnished rooms, a simulated RGB-D camera in them, and expressions about them."""
