"""Checks of this machine: what stands between a manifest and its training, each with a remedy. Changes nothing."""
