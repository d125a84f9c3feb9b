"""`trainlet demo`: its run, its image, and what it trains; train_digits.py is run by nodes as a file, never imported."""
