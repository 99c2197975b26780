"""The state of a watch as a line of text, as JSON, and for Prometheus."""
