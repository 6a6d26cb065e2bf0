"""Published figures: what each rests on, and whether it is reached here."""
