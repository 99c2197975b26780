"""The state of a watch for a terminal of any size."""
