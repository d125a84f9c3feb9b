"""A job's logs from where they are: the engine while containers exist, files afterwards."""
