"""cooccurrence: to be written."""
