"""correlation: to be written."""
