"""Plain references: loops in float64, straight from the formulas; nothing of fdetect is imported."""
