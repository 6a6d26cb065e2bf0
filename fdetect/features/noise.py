"""noise: to be written."""
