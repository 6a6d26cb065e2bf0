"""blocks: to be written."""
