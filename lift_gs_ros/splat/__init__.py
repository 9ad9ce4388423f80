"""Differentiable Gaussian splatting: where 2D meets 3D."""
