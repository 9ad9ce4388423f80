"""Readers of posed RGB-D recordings."""
