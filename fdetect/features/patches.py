"""patches: to be written."""
