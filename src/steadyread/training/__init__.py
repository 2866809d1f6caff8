"""Training: a network fitted to cases, the best epoch on validation images kept."""
