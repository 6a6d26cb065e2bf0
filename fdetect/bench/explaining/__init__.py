"""What a score comes from, and how good such explanations are."""
