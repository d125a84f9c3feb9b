"""Documents on disk: YAML in with positions and limits, status documents out, atomically."""
