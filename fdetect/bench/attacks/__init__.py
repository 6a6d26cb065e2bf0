"""Attacks on a detector, and what is left of it."""
