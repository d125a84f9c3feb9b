"""The decisions: from a TrainJob and what is observed to a plan, child objects and a status. Pure."""
