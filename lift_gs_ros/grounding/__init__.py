"""Map and model in, answers out."""
