/* The date of a message (RFC 5322 §3.3 with the obsolete forms of §4.3). Pure. */
#ifndef POSTBUS_MAIL_DATE_H
#define POSTBUS_MAIL_DATE_H

#include "libcommon/base/slice.h"

struct date {
    int64_t seconds;      /* since 1970, UTC */
    int year, month, day; /* as written, in the sender's zone: SENTON compares these (RFC 9051
                             §6.4.4) */
    int zone_minutes;     /* east of UTC */
};

/* Reads a Date value: comments and folds allowed, the day's name and the seconds optional, two- and
 * three-digit years, zones by name ("EST", "Z"; unknown ones are +0000). 0, or -1 when it is not a
 * date; years 1900 to 9999. */
int date_parse(struct slice value, struct date *out);
/* Days since 1970 of a date in the Gregorian calendar. */
int64_t date_days(int year, int month, int day);

#endif
