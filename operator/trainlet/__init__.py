"""trainlet: drop a TrainJob file into a directory and it trains, on one machine."""

__version__ = "0.1.0"
