/* What yinyang/core/watch/exporter.pxd shows of the watch to Prometheus. */
#ifndef YINYANG_WATCH_EXPORTER_H
#define YINYANG_WATCH_EXPORTER_H

/* The bounds of the histogram of latencies, from 1 ms to 10 s. */
static const double latency_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                        0.25,  0.5,    1,     2.5,  5,     10}; /* seconds */
enum { LATENCY_BOUNDS = sizeof latency_bounds / sizeof latency_bounds[0] };

#endif
