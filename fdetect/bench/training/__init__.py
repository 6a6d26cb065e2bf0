"""What is trained in the trials of a run, on which columns and pairs, and what was chosen there."""
