"""wavelets: to be written."""
