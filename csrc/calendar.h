/* The names of the calendar in HTTP (RFC 9110 section 5.6.7). */
#ifndef YINYANG_CALENDAR_H
#define YINYANG_CALENDAR_H

static const char *const day_names[7] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"}; /* from 1 January 1970 on */

static const char *const month_names[12] = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
};

#endif
