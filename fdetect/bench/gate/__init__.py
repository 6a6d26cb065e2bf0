"""The gate of a CI job: a run against a baseline, and the baseline that ships."""
