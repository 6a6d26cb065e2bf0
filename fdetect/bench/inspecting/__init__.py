"""One suspicious image: a verdict, how stable it is, where it lies, the traces behind it, and what the file says."""
