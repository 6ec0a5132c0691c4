#include "libcommon/codec/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

/* Addresses and replies of other servers are bytes: text that is not UTF-8 is kept unchanged. */
static const yyjson_write_flag WRITE_FLAGS = YYJSON_WRITE_ALLOW_INVALID_UNICODE;
static const yyjson_read_flag READ_FLAGS = YYJSON_READ_ALLOW_INVALID_UNICODE;

static const char *const origins[] = {"submission", "mx", "bounce", "report"};
static const char *const bodies[] = {"7bit", "8bitmime", "binarymime"};
static const char *const states[] = {"due", "deferred", "delivered", "sent", "bounced"};
static const char *const reports[] = {"none", "failed", "delayed", "delivered", "relayed"};
#define NAMES(table) table, (int)(sizeof(table) / sizeof *(table))

static void add_text(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *name, struct slice value) {
    if (value.n) yyjson_mut_obj_add_strn(doc, object, name, value.p, value.n);
}

static void add_true(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *name, bool value) {
    if (value) yyjson_mut_obj_add_bool(doc, object, name, true);
}

static void write_out(yyjson_mut_doc *doc, struct buf *out) {
    size_t n;
    char *text = yyjson_mut_write(doc, WRITE_FLAGS, &n);
    if (!text) memory_exhausted(); /* every value above can be written */
    buf_add(out, text, n);
    free(text);
    yyjson_mut_doc_free(doc);
}

static yyjson_mut_doc *begin(yyjson_mut_val **root) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    if (!doc) memory_exhausted();
    *root = yyjson_mut_obj(doc);
    if (!*root) memory_exhausted();
    yyjson_mut_doc_set_root(doc, *root);
    return doc;
}

void envelope_encode(const struct envelope *e, struct buf *out) {
    yyjson_mut_val *root;
    yyjson_mut_doc *doc = begin(&root);
    yyjson_mut_obj_add_strn(doc, root, "from", e->from.p ? e->from.p : "", e->from.n);
    yyjson_mut_obj_add_str(doc, root, "origin", origins[e->origin]);
    yyjson_mut_obj_add_uint(doc, root, "size", e->size);
    yyjson_mut_obj_add_sint(doc, root, "received", e->received_ms);
    add_text(doc, root, "message_id", e->message_id);
    add_true(doc, root, "smtputf8", e->smtputf8);
    add_true(doc, root, "require_tls", e->require_tls);
    if (e->body != BODY_7BIT) yyjson_mut_obj_add_str(doc, root, "body", bodies[e->body]);
    add_text(doc, root, "ret", e->ret);
    add_text(doc, root, "envid", e->envid);
    add_text(doc, root, "folder", e->folder);
    add_text(doc, root, "hold", e->hold);
    add_text(doc, root, "prefix", e->prefix);
    if (e->priority) yyjson_mut_obj_add_int(doc, root, "priority", e->priority);
    add_true(doc, root, "text_in_queue", e->text_in_queue);
    yyjson_mut_val *rcpts = yyjson_mut_obj_add_arr(doc, root, "rcpts");
    if (!rcpts) memory_exhausted();
    for (size_t i = 0; i < e->rcpt_count; i++) {
        const struct envelope_rcpt *r = &e->rcpts[i];
        yyjson_mut_val *rcpt = yyjson_mut_arr_add_obj(doc, rcpts);
        if (!rcpt) memory_exhausted();
        add_text(doc, rcpt, "address", r->address);
        add_text(doc, rcpt, "user", r->user);
        if (r->from.p) yyjson_mut_obj_add_strn(doc, rcpt, "from", r->from.p, r->from.n);
        add_text(doc, rcpt, "orcpt", r->orcpt);
        add_text(doc, rcpt, "notify", r->notify);
    }
    write_out(doc, out);
}

void envelope_encode_state(const struct envelope_rcpt *r, struct buf *out) {
    yyjson_mut_val *root;
    yyjson_mut_doc *doc = begin(&root);
    yyjson_mut_obj_add_str(doc, root, "state", states[r->state]);
    if (r->owed != REPORT_NONE) yyjson_mut_obj_add_str(doc, root, "owed", reports[r->owed]);
    if (r->attempts) yyjson_mut_obj_add_int(doc, root, "attempts", r->attempts);
    if (r->next_ms) yyjson_mut_obj_add_sint(doc, root, "next", r->next_ms);
    add_true(doc, root, "warned", r->warned);
    if (r->code) yyjson_mut_obj_add_int(doc, root, "code", r->code);
    add_text(doc, root, "enhanced", r->enhanced);
    add_text(doc, root, "reply", r->reply);
    add_text(doc, root, "host", r->host);
    write_out(doc, out);
}

/* The state of reading; `damaged` stays set, so that the functions below need not check it after
 * each member. */
struct reading {
    struct arena *arena;
    yyjson_val *object;
    bool damaged;
};

/* A member that may be left out; `absent` then. */
static struct slice read_text(struct reading *g, const char *name, struct slice absent) {
    yyjson_val *value = yyjson_obj_get(g->object, name);
    if (!value) return absent;
    if (!yyjson_is_str(value)) g->damaged = true;
    struct slice text = slice_make(yyjson_get_str(value), yyjson_get_len(value));
    return g->damaged ? absent : slice_make(arena_copy(g->arena, text), text.n);
}

static int64_t read_number(struct reading *g, const char *name, int64_t least, int64_t most) {
    yyjson_val *value = yyjson_obj_get(g->object, name);
    if (!value) return 0;
    bool fits = yyjson_is_int(value) && (!yyjson_is_uint(value) || yyjson_get_uint(value) <= INT64_MAX);
    int64_t number = fits ? yyjson_get_sint(value) : 0;
    if (!fits || number < least || number > most) g->damaged = true;
    return g->damaged ? 0 : number;
}

static bool read_bool(struct reading *g, const char *name) {
    yyjson_val *value = yyjson_obj_get(g->object, name);
    if (value && !yyjson_is_bool(value)) g->damaged = true;
    return yyjson_get_bool(value);
}

/* The index of a member's word in a table; the first one where it may be left out and is. */
static int read_word(struct reading *g, const char *name, bool needed, const char *const words[], int count) {
    yyjson_val *value = yyjson_obj_get(g->object, name);
    if (!value && !needed) return 0;
    for (int i = 0; value && i < count; i++)
        if (yyjson_equals_str(value, words[i])) return i;
    g->damaged = true;
    return 0;
}

static void read_rcpt(struct reading *g, struct envelope_rcpt *r) {
    struct slice none = {"", 0};
    r->address = read_text(g, "address", none);
    r->user = read_text(g, "user", none);
    r->from = read_text(g, "from", (struct slice){NULL, 0});
    r->orcpt = read_text(g, "orcpt", none);
    r->notify = read_text(g, "notify", none);
    r->enhanced = r->reply = r->host = none;
    if (r->address.n == 0) g->damaged = true;
}

static void read_envelope(struct reading *g, struct envelope *e) {
    struct slice none = {"", 0};
    yyjson_val *rcpts = yyjson_obj_get(g->object, "rcpts"), *rcpt;
    size_t i, count;
    if (!yyjson_is_str(yyjson_obj_get(g->object, "from"))) g->damaged = true;
    e->from = read_text(g, "from", none);
    e->origin = (enum envelope_origin)read_word(g, "origin", true, NAMES(origins));
    e->size = (uint64_t)read_number(g, "size", 0, INT64_MAX);
    e->received_ms = read_number(g, "received", 0, INT64_MAX);
    e->message_id = read_text(g, "message_id", none);
    e->smtputf8 = read_bool(g, "smtputf8");
    e->require_tls = read_bool(g, "require_tls");
    e->body = (enum envelope_body)read_word(g, "body", false, NAMES(bodies));
    e->ret = read_text(g, "ret", none);
    e->envid = read_text(g, "envid", none);
    e->folder = read_text(g, "folder", none);
    e->hold = read_text(g, "hold", none);
    e->prefix = read_text(g, "prefix", none);
    e->priority = (int)read_number(g, "priority", -9, 9);
    e->text_in_queue = read_bool(g, "text_in_queue");
    count = yyjson_arr_size(rcpts);
    if (count == 0 || count > ENVELOPE_RCPTS_MAX) g->damaged = true;
    if (g->damaged) return;
    e->rcpts = arena_alloc(g->arena, count * sizeof *e->rcpts);
    e->rcpt_count = count;
    struct yyjson_arr_iter at = yyjson_arr_iter_with(rcpts);
    for (i = 0; (rcpt = yyjson_arr_iter_next(&at)); i++) {
        g->object = rcpt;
        read_rcpt(g, &e->rcpts[i]);
    }
}

static yyjson_doc *read_object(struct slice text) {
    yyjson_doc *doc = text.n ? yyjson_read(text.p, text.n, READ_FLAGS) : NULL;
    if (yyjson_is_obj(yyjson_doc_get_root(doc))) return doc;
    yyjson_doc_free(doc);
    return NULL;
}

struct envelope *envelope_decode(const char *id, struct slice text) {
    yyjson_doc *doc = read_object(text);
    if (!doc) return NULL;
    struct reading g = {arena_create(), yyjson_doc_get_root(doc), false};
    struct envelope *e = arena_alloc(g.arena, sizeof *e);
    e->arena = g.arena;
    snprintf(e->id, sizeof e->id, "%s", id);
    read_envelope(&g, e);
    yyjson_doc_free(doc);
    if (!g.damaged) return e;
    envelope_destroy(e);
    return NULL;
}

int envelope_decode_state(struct envelope *e, size_t index, struct slice text) {
    struct slice none = {"", 0};
    yyjson_doc *doc = index < e->rcpt_count ? read_object(text) : NULL;
    if (!doc) return -1;
    struct reading g = {e->arena, yyjson_doc_get_root(doc), false};
    struct envelope_rcpt r = e->rcpts[index];
    r.state = (enum rcpt_state)read_word(&g, "state", true, NAMES(states));
    r.owed = (enum rcpt_report)read_word(&g, "owed", false, NAMES(reports));
    r.attempts = (int)read_number(&g, "attempts", 0, INT32_MAX);
    r.next_ms = read_number(&g, "next", 0, INT64_MAX);
    r.warned = read_bool(&g, "warned");
    r.code = (int)read_number(&g, "code", 0, 999);
    r.enhanced = read_text(&g, "enhanced", none);
    r.reply = read_text(&g, "reply", none);
    r.host = read_text(&g, "host", none);
    yyjson_doc_free(doc);
    if (g.damaged) return -1;
    e->rcpts[index] = r;
    return 0;
}

void envelope_destroy(struct envelope *e) {
    if (e) arena_destroy(e->arena); /* the envelope itself is in it */
}

struct slice envelope_from(const struct envelope *e, size_t index) {
    return e->rcpts[index].from.p ? e->rcpts[index].from : e->from;
}

struct slice envelope_domain(struct slice address) {
    ptrdiff_t at = slice_find_last(address, '@');
    return at < 0 ? SLICE("") : slice_skip(address, (size_t)at + 1);
}
