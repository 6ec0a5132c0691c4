/* The milter protocol (version 6) as a mail server speaks it: one connection an SMTP session,
 * everything of a message sent at once, the answers read as they come. */
#ifndef POSTBUS_BENCH_VERIFY_MILTER_H
#define POSTBUS_BENCH_VERIFY_MILTER_H

#include "tests/bench/verify/load.h"

struct milter;
/* A message is judged: accepted, and the fields that the milter put on top ("Name: value CRLF";
 * valid during the call). The next may be given at once. */
typedef void milter_fn(void *ctx, bool accepted, struct slice added);

/* Connects to the milter's socket for one SMTP session of this client; what is given before the
 * connection stands waits for it. */
struct milter *milter_open(struct event_base *base, const char *path, const char *ip, const char *helo,
                           milter_fn *judged, void *ctx);
/* One message of the session: on_top: fields that others put on top of it. One at a time. */
void milter_give(struct milter *m, const struct sample *s, struct slice on_top);
/* Ends the session. */
void milter_close(struct milter *m);

#endif
