/* The details of a journey's steps in words, from recorded data only: every result of a verdict,
 * the forwarding of copies, and the TLS authentication of the hosts of a route. */
#include "libcommon/base/member.h"
#include "services/admin/admin.h"

static json_int_t number_of(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static void add_field(struct buf *out, const char *before, const json_t *object, const char *name, const char *after) {
    const char *text = member_text(object, name);
    if (*text) buf_printf(out, "%s%s%s", before, text, after);
}

/* Appends the text of line to lines, and empties line. */
static void put(json_t *lines, struct buf *line) {
    json_array_append_new(lines, json_string(buf_str(line)));
    buf_reset(line);
}

static void spf(json_t *lines, struct buf *line, const json_t *spf) {
    bool helo = strcmp(member_text(spf, "scope"), "helo") == 0;
    if (!json_is_object(spf)) return;
    buf_printf(line, "SPF of %s", helo ? "HELO" : "MAIL FROM");
    add_field(line, " ", spf, "domain", "");
    buf_printf(line, ": %s", member_text(spf, "result"));
    add_field(line, ": ", spf, "reason", "");
    put(lines, line);
}

static void dkim(json_t *lines, struct buf *line, const json_t *list) {
    size_t i;
    const json_t *one;
    if (json_is_array(list) && json_array_size(list) == 0)
        json_array_append_new(lines, json_string("DKIM: none: the message carries no signature"));
    json_array_foreach((json_t *)(uintptr_t)list, i, one) {
        buf_add_str(line, "DKIM");
        add_field(line, " d=", one, "domain", "");
        add_field(line, " s=", one, "selector", "");
        buf_printf(line, ": %s", member_text(one, "result"));
        add_field(line, ": ", one, "reason", "");
        if (number_of(one, "bits"))
            buf_printf(line, " (%s, %lld bits)", member_text(one, "algorithm"), number_of(one, "bits"));
        if (json_is_true(json_object_get(one, "testing"))) buf_add_str(line, "; the key is in testing");
        put(lines, line);
    }
}

static void dmarc(json_t *lines, struct buf *line, const json_t *dmarc) {
    size_t i;
    const json_t *one;
    if (!json_is_object(dmarc)) return;
    buf_add_str(line, "DMARC");
    add_field(line, " of ", dmarc, "from", "");
    buf_printf(line, ": %s", member_text(dmarc, "result"));
    add_field(line, ": ", dmarc, "reason", "");
    if (*member_text(dmarc, "record_domain")) {
        buf_printf(line, "; %s asks for %s", member_text(dmarc, "record_domain"), member_text(dmarc, "policy"));
        add_field(line, ", done: ", dmarc, "disposition", "");
    }
    put(lines, line);
    json_array_foreach(json_object_get(dmarc, "overrides"), i, one) {
        buf_printf(line, "DMARC override %s", member_text(one, "type"));
        add_field(line, ": ", one, "comment", "");
        put(lines, line);
    }
}

void words_of_verdict(json_t *lines, const json_t *verdict) {
    struct buf line = {0};
    const json_t *arc = json_object_get(verdict, "arc"), *iprev = json_object_get(verdict, "iprev");
    spf(lines, &line, json_object_get(verdict, "spf"));
    spf(lines, &line, json_object_get(verdict, "spf_helo"));
    dkim(lines, &line, json_object_get(verdict, "dkim"));
    dmarc(lines, &line, json_object_get(verdict, "dmarc"));
    if (strcmp(member_text(verdict, "disposition"), "hold") == 0) {
        buf_add_str(&line, "accepted, and held in the queue until a person releases or deletes it");
        put(lines, &line);
    }
    if (json_is_object(arc)) {
        buf_printf(&line, "ARC: %s", member_text(arc, "cv"));
        add_field(&line, ": ", arc, "reason", "");
        if (number_of(arc, "sets")) buf_printf(&line, " (%lld sets", number_of(arc, "sets"));
        if (number_of(arc, "sets")) add_field(&line, ", newest seal of ", arc, "sealer", "");
        if (number_of(arc, "sets")) buf_add_str(&line, ")");
        put(lines, &line);
    }
    if (json_is_object(iprev)) {
        buf_printf(&line, "reverse name: %s", member_text(iprev, "result"));
        add_field(&line, ": ", iprev, "name", "");
        put(lines, &line);
    }
    buf_free(&line);
}

void words_of_recipients(json_t *lines, const json_t *accepted) {
    struct buf line = {0};
    size_t i;
    const json_t *each;
    json_array_foreach(json_object_get(accepted, "rcpts"), i, each) {
        const char *from = json_string_value(json_object_get(each, "from"));
        if (from) {
            buf_printf(&line, "%s: its copy is forwarded from <%s>", member_text(each, "address"), from);
            put(lines, &line);
        }
        if (strcmp(member_text(each, "user"), "reporter") == 0) {
            buf_printf(&line, "%s is a report address: for the reporter, not for a mailbox",
                       member_text(each, "address"));
            put(lines, &line);
        }
    }
    if (*member_text(accepted, "sealed")) {
        buf_printf(&line, "ARC seal of %s added with these results", member_text(accepted, "sealed"));
        put(lines, &line);
    }
    buf_free(&line);
}

void words_of_route(json_t *lines, const json_t *routed) {
    struct buf line = {0};
    size_t i;
    const json_t *each, *patterns = json_object_get(json_object_get(routed, "mta_sts"), "mx");
    json_array_foreach(json_object_get(routed, "hosts"), i, each) {
        size_t tlsa = json_array_size(json_object_get(each, "tlsa"));
        if (!*member_text(each, "dnssec") && !tlsa) continue;
        buf_printf(&line, "%s:", member_text(each, "name"));
        add_field(&line, " ", each, "dnssec", " by DNSSEC,");
        buf_printf(&line, " %zu TLSA record%s", tlsa, tlsa == 1 ? "" : "s");
        put(lines, &line);
    }
    json_array_foreach((json_t *)(uintptr_t)patterns, i, each)
        buf_printf(&line, "%s%s", i ? ", " : "MTA-STS allows the hosts ", json_string_value(each));
    if (line.n) put(lines, &line);
    buf_free(&line);
}
