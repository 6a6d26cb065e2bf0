"""provenance: to be written."""
