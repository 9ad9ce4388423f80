"""Training samples: what a 2D teacher says about posed images, and the map beneath them."""
