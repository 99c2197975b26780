"""One-off studies of faults; the tables that they printed stand beside them."""
