/* The typed codecs on any bytes: readers take or refuse them, and what the writer makes of what was
 * read is read as the same again. */
#include <stdlib.h>

#include "libcommon/codec/deliver.h"
#include "libcommon/codec/events.h"
#include "libcommon/codec/resolve.h"
#include "libcommon/codec/verify.h"

static void same(struct slice a, struct slice b) {
    if (!slice_equal(a, b)) abort();
}

static void asks(struct arena *arena, struct slice text) {
    struct verify_ask verify, again;
    struct sign_ask sign, sign_again;
    struct buf out = {0};
    if (!verify_ask_read(arena, text, &verify)) {
        if (!verify_ask_write(&verify, &out) || verify_ask_read(arena, buf_slice(&out), &again)) abort();
        same(verify.header, again.header);
        same(verify.helo, again.helo);
        same(verify.mail_from, again.mail_from);
        if (verify.hash_count != again.hash_count || verify.smtputf8 != again.smtputf8) abort();
    }
    buf_reset(&out);
    if (!sign_ask_read(arena, text, &sign)) {
        if (!sign_ask_write(&sign, &out) || sign_ask_read(arena, buf_slice(&out), &sign_again)) abort();
        same(sign.header, sign_again.header);
        same(sign.domain, sign_again.domain);
    }
    buf_free(&out);
}

static void answers(struct arena *arena, struct slice text) {
    struct verify_reply verdict;
    struct resolve_reply resolved, again;
    struct deliver_reply delivered;
    struct mailbox_changed changed;
    struct slice headers;
    struct buf out = {0};
    if (!verify_reply_read(arena, text, &verdict)) {
        yyjson_val *o;
        yyjson_doc *doc = json_take(verdict.proofs, &o); /* it goes into events as it is */
        if (!doc) abort();
        yyjson_doc_free(doc);
    }
    if (!resolve_reply_read(arena, text, &resolved)) {
        if (!resolve_reply_write(&resolved, &out) || resolve_reply_read(arena, buf_slice(&out), &again)) abort();
        if (resolved.user_count != again.user_count || resolved.remote_count != again.remote_count) abort();
    }
    deliver_reply_read(arena, text, &delivered);
    mailbox_changed_read(arena, text, &changed);
    uint64_t modseq;
    if (mailbox_changed_folder(text, &modseq) != changed.folder) abort();
    if (modseq != (changed.modseq > 0 ? (uint64_t)changed.modseq : 0)) abort();
    sign_reply_read(arena, text, &headers);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct arena *arena = arena_create();
    struct buf out = {0};
    struct slice text = slice_make(bytes, n);
    asks(arena, text);
    answers(arena, text);
    /* any bytes as a text: refused where they are not UTF-8, and else read as they are */
    struct json_put j = json_put_begin(&out);
    yyjson_val *o;
    json_put_object(&j, NULL);
    json_put_text(&j, "t", text);
    json_put_base64(&j, "b", text);
    json_put_end(&j, '}');
    yyjson_doc *doc = json_take(buf_slice(&out), &o);
    struct slice back;
    if (!doc || j.failed == json_is_utf8(text)) abort();
    if (!j.failed) same(json_take_text(o, "t"), text);
    if (json_take_base64(arena, o, "b", &back) != 0) abort();
    same(back, text);
    yyjson_doc_free(doc);
    buf_free(&out);
    arena_destroy(arena);
    return 0;
}
