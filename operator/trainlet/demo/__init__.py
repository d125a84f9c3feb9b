"""`trainlet demo`: its run, its image, and what it trains; nodes run train_digits.py as a file, nobody imports it."""
