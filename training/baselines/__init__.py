"""What LIFT-GS is compared with: answers that need no training."""
