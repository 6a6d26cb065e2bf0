"""colour: to be written."""
