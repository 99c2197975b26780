"""Checks what the user expects of the balancer against what was seen."""
