/* Names of folders from elsewhere. */
#include "libcommon/mail/utf7.h"
#include "services/cli/mailbox/imap/answer.h"

/* A level in UTF-8. Some servers send UTF-8 where modified UTF-7 is due. */
static bool add_level(struct slice level, struct buf *out) {
    size_t start = out->n;
    if (!utf7_decode(level, out)) {
        if (!utf8_is_valid(level)) return false;
        buf_add_slice(out, level);
    }
    for (size_t i = start; i < out->n; i++)
        if ((unsigned char)out->data[i] < ' ' || out->data[i] == 0x7f || out->data[i] == '/') out->data[i] = '_';
    return true;
}

bool imap_folder_name(struct slice name, char separator, struct slice prefix, struct buf *out) {
    size_t start = out->n;
    if (prefix.n && name.n > prefix.n && slice_starts_nocase(name, prefix)) name = slice_skip(name, prefix.n);
    if (slice_is_nocase(name, "INBOX")) {
        buf_add_str(out, "INBOX");
        return true;
    }
    for (bool more = name.n > 0; more;) {
        struct slice level = name;
        more = separator && slice_cut(&name, separator, &level);
        if (!level.n) continue;
        if (out->n > start) buf_add_char(out, '/');
        if (!add_level(level, out)) {
            out->n = start;
            if (out->data) out->data[start] = 0;
            return false;
        }
    }
    return out->n > start;
}
