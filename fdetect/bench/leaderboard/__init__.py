"""Several runs in one table: who competes, in which order, and what a score costs."""
