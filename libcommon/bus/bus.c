/* The connection, and the two ways of a message to its handler on the worker's loop: taken from the
 * NATS library right after the loop has read it (direct handlers), or from the library's delivery
 * thread over a locked list and an eventfd. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libcommon/base/config.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/ulid.h"
#include "libcommon/bus/bus_private.h"

enum {
    RECONNECT_WAIT_MS = 250,
    CONNECT_TIMEOUT_MS = 3000,
    RECONNECT_BUFFER = 4 * 1024 * 1024,
    PING_INTERVAL_MS = 5000,
    PENDING_MESSAGES_MAX = 65536,
    WRITE_AGAIN_MS = 2,
    LAST_WRITES = 20
};

/* The library's data for its connection: the read event of the present socket. */
struct attached {
    struct bus *bus;
    struct event *read;
};

static void hand_over(struct handler *h, natsMsg *msg) {
    struct bus *b = h->bus;
    struct handover *item = memory_alloc(sizeof *item);
    item->handler = h;
    item->msg = msg;
    pthread_mutex_lock(&b->lock);
    bool was_empty = b->first == NULL;
    if (was_empty)
        b->first = item;
    else
        b->last->next = item;
    b->last = item;
    pthread_mutex_unlock(&b->lock);
    if (was_empty) eventfd_write(b->wake_fd, 1);
}

/* On the library's thread. */
static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure) {
    (void)nc, (void)sub;
    hand_over(closure, msg);
}

static void on_complete(void *closure) { hand_over(closure, NULL); }

static void handler_free(struct handler *h) {
    struct bus *b = h->bus;
    if (h->previous)
        h->previous->next = h->next;
    else
        b->handlers = h->next;
    if (h->next) h->next->previous = h->previous;
    natsSubscription_Destroy(h->subscription);
    free(h->permanent);
    free(h);
}

/* natsMsg_Destroy passes a message to a thread of the library, which frees it, and wakes that
 * thread. For single messages this is the most expensive part of receiving them, so they are freed
 * in batches. */
static void free_spent(struct bus *b) {
    for (size_t i = 0; i < b->spent_count; i++) natsMsg_Destroy(b->spent[i]);
    b->spent_count = b->spent_bytes = 0;
}

static void message_done(struct bus *b, natsMsg *msg) {
    b->spent[b->spent_count++] = msg;
    b->spent_bytes += (size_t)natsMsg_GetDataLength(msg);
    if (b->spent_count == SPENT_MAX || b->spent_bytes > SPENT_BYTES_MAX) free_spent(b);
}

/* Calls the direct handlers with the messages that have been read for them. */
static void take_direct(struct bus *b) {
    for (struct handler *h = b->direct; h; h = h->next_direct) {
        uint64_t queued = 0;
        natsMsg *msg;
        if (natsSubscription_QueuedMsgs(h->subscription, &queued) != NATS_OK) continue;
        while (queued-- && natsSubscription_NextMsg(&msg, h->subscription, 0) == NATS_OK) {
            cost_add(COST_BUS_RECEIVED, 1);
            h->fn(h->ctx, msg);
            message_done(b, msg);
        }
    }
}

static void on_readable(evutil_socket_t fd, short what, void *ctx) {
    struct bus *b = ctx;
    (void)fd, (void)what;
    natsConnection_ProcessReadEvent(b->connection);
    event_active(b->take, EV_TIMEOUT, 0);
}

/* Handlers never run within the read event: a thread of the library that connects again frees that
 * event with the connection locked, and waits for it to end, while a handler that publishes waits
 * for the lock. */
static void on_take(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    take_direct(ctx);
}

/* Writing
 *
 * The library would wait until the socket is writable, which needs two epoll_ctl and one more turn
 * of the loop for each write. The socket nearly always is, so all messages of one turn of the loop
 * are written at its end: the event is queued after all events that are active when the first
 * message is published, and once more after those that their callbacks activate. The rest is tried
 * again a little later. */

static void on_flush(evutil_socket_t fd, short what, void *ctx) {
    struct bus *b = ctx;
    struct timeval wait = {0, WRITE_AGAIN_MS * 1000};
    (void)fd, (void)what;
    if (!atomic_exchange(&b->flush_late, true)) {
        event_active(b->flush, EV_TIMEOUT, 0);
        return;
    }
    atomic_store(&b->flush_late, false);
    if (natsConnection_Buffered(b->connection) <= 0)
        return; /* sending 0 bytes would count as a
                   lost connection */
    natsConnection_ProcessWriteEvent(b->connection);
    if (atomic_load(&b->writing)) event_add(b->flush, &wait);
}

/* Called by the library with its connection locked, on any thread: there is something to write, or
 * no more. */
static natsStatus want_write(void *data, bool add) {
    struct bus *b = ((struct attached *)data)->bus;
    if (add && !atomic_exchange(&b->writing, true)) event_active(b->flush, EV_TIMEOUT, 0);
    if (!add) atomic_store(&b->writing, false);
    return NATS_OK;
}

static natsStatus want_read(void *data, bool add) {
    struct event *read = ((struct attached *)data)->read;
    return (add ? event_add(read, NULL) : event_del(read)) == 0 ? NATS_OK : NATS_ERR;
}

/* Called on the loop first, on a thread of the library when it connects again. */
static natsStatus attach(void **data, void *ctx, natsConnection *nc, natsSock socket) {
    struct attached *a = *data;
    (void)nc;
    if (!a) {
        a = memory_alloc(sizeof *a);
        a->bus = ctx;
        *data = a;
    } else {
        event_free(a->read);
    }
    atomic_store(&a->bus->writing, false);
    a->read = event_new(a->bus->base, socket, EV_READ | EV_PERSIST, on_readable, a->bus);
    if (!a->read) memory_exhausted();
    return want_read(a, true);
}

static natsStatus detach(void *data) {
    struct attached *a = data;
    event_free(a->read);
    free(a);
    return NATS_OK;
}

static void on_wake(evutil_socket_t fd, short what, void *ctx) {
    struct bus *b = ctx;
    eventfd_t count;
    (void)what;
    eventfd_read(fd, &count);
    if (atomic_exchange(&b->missed, false))
        for (const struct follower *f = b->followers; f; f = f->next) f->missed(f->ctx);
    pthread_mutex_lock(&b->lock);
    struct handover *item = b->first;
    b->first = b->last = NULL;
    pthread_mutex_unlock(&b->lock);
    take_direct(b);
    while (item) {
        struct handover *next = item->next;
        if (!item->msg) {
            handler_free(item->handler);
        } else {
            cost_add(COST_BUS_RECEIVED, 1);
            if (!item->handler->cancelled) item->handler->fn(item->handler->ctx, item->msg);
            message_done(b, item->msg);
        }
        free(item);
        item = next;
    }
}

static natsStatus subscribe(struct handler *h, const char *subject, const char *group) {
    natsConnection *nc = h->bus->connection;
    if (h->direct && group) return natsConnection_QueueSubscribeSync(&h->subscription, nc, subject, group);
    if (h->direct) return natsConnection_SubscribeSync(&h->subscription, nc, subject);
    if (group) return natsConnection_QueueSubscribe(&h->subscription, nc, subject, group, on_message, h);
    return natsConnection_Subscribe(&h->subscription, nc, subject, on_message, h);
}

static struct handler *create(struct bus *b, bool direct, const char *subject, const char *group, handler_fn *fn,
                              void *ctx) {
    struct handler *h = memory_alloc(sizeof *h);
    h->bus = b;
    h->direct = direct;
    h->fn = fn;
    h->ctx = ctx;
    natsStatus s = subscribe(h, subject, group);
    if (s != NATS_OK) {
        log_error("cannot subscribe on the bus", "subject", subject, "reason", natsStatus_GetText(s), NULL);
        free(h);
        return NULL;
    }
    natsSubscription_SetPendingLimits(h->subscription, PENDING_MESSAGES_MAX, -1);
    if (direct) {
        h->next_direct = b->direct;
        b->direct = h;
    } else {
        natsSubscription_SetOnCompleteCB(h->subscription, on_complete, h);
        h->next = b->handlers;
        if (h->next) h->next->previous = h;
        b->handlers = h;
    }
    return h;
}

struct handler *handler_create(struct bus *b, const char *subject, const char *group, handler_fn *fn, void *ctx) {
    return create(b, false, subject, group, fn, ctx);
}

struct handler *handler_create_direct(struct bus *b, const char *subject, const char *group, handler_fn *fn,
                                      void *ctx) {
    return create(b, true, subject, group, fn, ctx);
}

void handler_cancel(struct handler *h) {
    if (!h || h->cancelled) return;
    h->cancelled = true;
    natsSubscription_Unsubscribe(h->subscription); /* on_complete follows and frees it */
}

/* On any thread. */
static void say_missed(struct bus *b) {
    atomic_store(&b->missed, true);
    eventfd_write(b->wake_fd, 1);
}

static void on_connected(natsConnection *nc, void *closure) {
    struct bus *b = closure;
    (void)nc;
    if (!atomic_exchange(&b->ready, true)) log_info("connected to the bus", NULL);
    if (atomic_exchange(&b->lost, false)) say_missed(b);
}

static void on_disconnected(natsConnection *nc, void *closure) {
    struct bus *b = closure;
    const char *why = NULL;
    natsConnection_GetLastError(nc, &why);
    atomic_store(&b->lost, true);
    if (atomic_exchange(&b->ready, false))
        log_warn("lost the bus; trying again", "reason", why && *why ? why : "closed", NULL);
}

static void on_closed(natsConnection *nc, void *closure) {
    struct bus *b = closure;
    (void)nc;
    atomic_store(&b->closed, true);
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus err, void *closure) {
    const char *why = NULL;
    (void)sub;
    if (err == NATS_SLOW_CONSUMER) say_missed(closure); /* the library has dropped a message */
    natsConnection_GetLastError(nc, &why);
    log_warn("the bus reports an error", "reason", natsStatus_GetText(err), "detail", why, NULL);
}

struct bus *bus_create(struct event_base *base, const char *url, const char *service, const char *user,
                       const char *password) {
    struct bus *b = memory_alloc(sizeof *b);
    char unique[ULID_BYTES], prefix[sizeof b->service + 8];
    b->base = base;
    ulid_create(unique);
    snprintf(b->service, sizeof b->service, "%s", service);
    snprintf(prefix, sizeof prefix, "_INBOX.%s", b->service);
    snprintf(b->inbox, sizeof b->inbox, "%s.%s", prefix, unique);
    snprintf(b->source, sizeof b->source, "/%s/%s", service, config_text("POSTBUS_HOSTNAME", "localhost"));
    pthread_mutex_init(&b->lock, NULL);
    b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    b->wake = event_new(base, b->wake_fd, EV_READ | EV_PERSIST, on_wake, b);
    event_add(b->wake, NULL);
    b->take = event_new(base, -1, 0, on_take, b);
    b->flush = event_new(base, -1, 0, on_flush, b);
    if (!b->take || !b->flush) memory_exhausted();

    natsOptions_Create(&b->options);
    natsOptions_SetURL(b->options, url);
    if (user && password) natsOptions_SetUserInfo(b->options, user, password);
    natsOptions_SetName(b->options, service);
    /* answers arrive at subjects that no other service may subscribe to: deploy/nats/nats.conf */
    natsOptions_SetCustomInboxPrefix(b->options, prefix);
    natsOptions_SetTimeout(b->options, CONNECT_TIMEOUT_MS);
    natsOptions_SetMaxReconnect(b->options, -1);
    natsOptions_SetReconnectWait(b->options, RECONNECT_WAIT_MS);
    natsOptions_SetReconnectBufSize(b->options, RECONNECT_BUFFER);
    natsOptions_SetPingInterval(b->options, PING_INTERVAL_MS);
    natsOptions_SetMaxPingsOut(b->options, 2);
    natsOptions_UseGlobalMessageDelivery(b->options, true);
    natsOptions_SetDisconnectedCB(b->options, on_disconnected, b);
    natsOptions_SetReconnectedCB(b->options, on_connected, b);
    natsOptions_SetClosedCB(b->options, on_closed, b);
    natsOptions_SetRetryOnFailedConnect(b->options, true, on_connected, b);
    natsOptions_SetErrorHandler(b->options, on_error, b);
    /* Reads and writes happen on the worker's loop; "as soon as possible" means that the loop is
     * told at once, not over a thread of the library that does nothing else. */
    natsOptions_SetSendAsap(b->options, true);
    natsOptions_SetEventLoop(b->options, b, attach, want_read, want_write, detach);
    natsStatus s = natsConnection_Connect(&b->connection, b->options);
    if (s == NATS_OK)
        on_connected(b->connection, b);
    else if (s == NATS_NOT_YET_CONNECTED)
        log_warn("cannot reach the bus yet; trying again", "url", url, NULL);
    else
        config_refuse("POSTBUS_NATS", natsStatus_GetText(s));
    rpc_start(b);
    return b;
}

void bus_close(struct bus *b) {
    if (!b || b->is_closed) return;
    b->is_closed = true;
    bool was_ready = atomic_exchange(&b->ready, false); /* requests made by the callbacks below are
                                                           refused */
    struct handler *direct = b->direct;
    b->direct = NULL; /* messages that are read from here on have no handler: its objects may be
                         freed already */
    rpc_stop(b);
    wakes_destroy(b->wakes);
    b->wakes = NULL;
    while (b->followers) {
        struct follower *f = b->followers;
        b->followers = f->next;
        free(f);
    }
    if (was_ready) {
        /* the loop still runs during this flush: the last answers and events are sent */
        for (int i = 0; i < LAST_WRITES && natsConnection_Buffered(b->connection) > 0; i++) {
            event_base_loop(b->base, EVLOOP_NONBLOCK);
            if (natsConnection_Buffered(b->connection) > 0) usleep(WRITE_AGAIN_MS * 1000);
        }
    }
    for (struct handler *h = b->handlers; h; h = h->next) handler_cancel(h);
    natsConnection_Close(b->connection);
    for (int i = 0; i < 2000 && (b->handlers || !atomic_load(&b->closed)); i++) {
        event_base_loop(b->base, EVLOOP_NONBLOCK);
        usleep(1000); /* the library's threads pass on their last messages */
    }
    while (direct) {
        struct handler *next = direct->next_direct;
        natsSubscription_Destroy(direct->subscription);
        free(direct->permanent);
        free(direct);
        direct = next;
    }
}

void bus_destroy(struct bus *b) {
    if (!b) return;
    bus_close(b);
    rpc_free(b);
    free_spent(b);
    natsConnection_Destroy(b->connection);
    natsOptions_Destroy(b->options);
    event_free(b->wake);
    event_free(b->take);
    event_free(b->flush);
    close(b->wake_fd);
    pthread_mutex_destroy(&b->lock);
    buf_free(&b->scratch);
    buf_free(&b->event);
    free(b);
}

bool bus_is_ready(const struct bus *b) { return atomic_load(&b->ready); }

int bus_send(struct bus *b, const char *subject, const char *reply_to, struct slice bytes) {
    if (b->is_closed && natsConnection_IsClosed(b->connection)) return -1;
    if (bytes.n > BUS_PAYLOAD_MAX) {
        log_error("a message for the bus is too large; not sent", "subject", subject, NULL);
        return -1;
    }
    natsStatus s = reply_to ? natsConnection_PublishRequest(b->connection, subject, reply_to, bytes.p, (int)bytes.n)
                            : natsConnection_Publish(b->connection, subject, bytes.p, (int)bytes.n);
    cost_add(COST_BUS_SENT, 1);
    if (reply_to) cost_add(COST_BUS_REQUESTS, 1);
    if (s != NATS_OK) log_warn("cannot publish", "subject", subject, "reason", natsStatus_GetText(s), NULL);
    return s == NATS_OK ? 0 : -1;
}

struct slice bus_bytes(const natsMsg *msg) {
    return slice_make(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
}

json_t *bus_decode(struct slice bytes) {
    cost_add(COST_JSON_READ, 1);
    return json_loadb(bytes.p, bytes.n, 0, NULL);
}

static int add_json(const char *bytes, size_t n, void *ctx) {
    buf_add(ctx, bytes, n);
    return 0;
}

struct slice bus_json(struct bus *b, const json_t *value) {
    buf_reset(&b->scratch);
    json_dump_callback(value, add_json, &b->scratch, JSON_COMPACT);
    cost_add(COST_JSON_WRITTEN, 1);
    return buf_slice(&b->scratch);
}
