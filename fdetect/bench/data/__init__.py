"""Looking at data before a run: overview, checks, subsets, perturbed copies, the built-in benchmark."""
