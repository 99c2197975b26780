// What the watch counts by.
#ifndef YINYANG_WATCH_TALLY_H
#define YINYANG_WATCH_TALLY_H

#include <stdint.h>

#define NEVER (-(INT64_C(1) << 62)) // a time before any other, in microseconds
#define BUCKET_RATIO 1.02 // of the bounds of a bucket of latencies, so that quantiles are right to 1 %
#define SLOW_PART 0.9 // of the requests that were asked for: less than this is slow, ...
#define SLOW_DEVIATIONS 4.0 // ... if chance does not explain it: standard deviations of a number of requests

#endif
