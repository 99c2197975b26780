/* The buckets of the histogram in /metrics: those that Prometheus' own clients have by default. */
#ifndef YINYANG_DURATIONS_H
#define YINYANG_DURATIONS_H

static const struct duration_bucket {
    int most; /* ms */
    const char *seconds;
} duration_buckets[] = {
    {5, "0.005"}, {10, "0.01"}, {25, "0.025"}, {50, "0.05"}, {100, "0.1"},  {250, "0.25"},
    {500, "0.5"}, {1000, "1"},  {2500, "2.5"}, {5000, "5"},  {10000, "10"},
};

enum { DURATION_BUCKETS = sizeof duration_buckets / sizeof *duration_buckets };

#endif
