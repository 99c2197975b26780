"""The exit codes of the watch."""

EXIT_OK = 0
EXIT_EXPECTATION_FAILED = 1
EXIT_USAGE = 2  # it was called wrongly, or where it cannot do what it is asked
EXIT_SIGNAL = 128  # plus the number of the signal
