"""texture: to be written."""
