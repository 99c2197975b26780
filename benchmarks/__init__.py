"""Benchmarks of the server; README.md says what each one shows."""
