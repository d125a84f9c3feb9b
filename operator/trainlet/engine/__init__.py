"""The engines: where containers, networks and processes really are."""
