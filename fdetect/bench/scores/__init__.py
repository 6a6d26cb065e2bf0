"""What is read off a table of scores: cells, differences, curves, placebos; and scores made elsewhere."""
