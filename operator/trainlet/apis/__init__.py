"""Typed views of the wire objects: only the fields that our code reads. Everything else is kept as it came."""
