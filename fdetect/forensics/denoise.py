"""denoise: to be written."""
