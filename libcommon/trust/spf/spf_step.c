/* Lines of explanation. Bytes from DNS or the client are made printable before they reach a
 * terminal or a JSON string. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#include "libcommon/trust/spf/spf_step.h"

enum { STEP_BYTES_MAX = 1200 };

const char *spf_printable(struct arena *arena, struct slice s, size_t max) {
    struct buf b = {0};
    size_t n = s.n < max ? s.n : max;
    for (size_t i = 0; i < n; i++) {
        if (s.p[i] >= ' ' && s.p[i] < 0x7f)
            buf_add_char(&b, s.p[i]);
        else
            buf_printf(&b, "\\x%02x", (unsigned char)s.p[i]);
    }
    if (n < s.n) buf_add_str(&b, "...");
    const char *text = arena_copy(arena, buf_slice(&b));
    buf_free(&b);
    return text;
}

void spf_step_add(struct spf_run *r, const char *format, ...) {
    char text[STEP_BYTES_MAX];
    va_list values;
    if (r->out->step_count == SPF_STEPS_MAX) return;
    if (r->out->step_count == SPF_STEPS_MAX - 1) {
        r->out->steps[r->out->step_count++] = "and more, which is left out here";
        return;
    }
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    r->out->steps[r->out->step_count++] = arena_copy(r->arena, slice_of(text));
}

const char *spf_addresses_text(struct spf_run *r, const struct trust_answer *a) {
    struct buf b = {0};
    size_t shown = 0;
    if (!r->query->explain) return "";
    for (size_t i = 0; i < a->count; i++) {
        char text[INET6_ADDRSTRLEN];
        struct slice data = a->records[i].data;
        if (data.n != 4 && data.n != 16) continue;
        if (shown == SPF_ADDRESSES_MAX) {
            buf_printf(&b, " and %zu more", a->count - shown);
            break;
        }
        buf_printf(&b, "%s%s", shown++ ? ", " : "",
                   inet_ntop(data.n == 16 ? AF_INET6 : AF_INET, data.p, text, sizeof text));
    }
    const char *text = arena_copy(r->arena, buf_slice(&b));
    buf_free(&b);
    return text;
}

enum spf_step spf_wrong(struct spf_run *r, const char *reason) {
    r->out->reason = reason;
    spf_step(r, "permerror: %s", reason);
    return SPF_STOP_PERM;
}

enum spf_step spf_unsure(struct spf_run *r, const char *reason) {
    r->out->reason = reason;
    spf_step(r, "temperror: %s", reason);
    return SPF_STOP_TEMP;
}
