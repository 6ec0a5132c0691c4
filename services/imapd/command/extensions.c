#include "services/imapd/command/extensions.h"

#include "services/imapd/limits.h"

#define TEXT_OF(number) #number
#define NUMBER(limit) TEXT_OF(limit)

/* LITERAL- is not announced: LITERAL+ includes it, and RFC 7888 §5 allows only one of them. */
const struct extension extensions[] = {
    {"IMAP4rev1", EXTENSION_ALWAYS, "dispatch.c"},
    {"IMAP4rev2", EXTENSION_ALWAYS, "dispatch.c"},
    {"LITERAL+", EXTENSION_ALWAYS, "session.c"},
    {"SASL-IR", EXTENSION_ALWAYS, "auth/cmd_auth.c"},
    {"ID", EXTENSION_ALWAYS, "command/cmd_id.c"},
    {"ENABLE", EXTENSION_ALWAYS, "command/cmd_enable.c"},
    {"STARTTLS", EXTENSION_PLAIN, "auth/cmd_auth.c"},
    {"LOGINDISABLED", EXTENSION_PLAIN, "auth/cmd_auth.c"},
    {"AUTH=PLAIN", EXTENSION_TLS, "auth/cmd_auth.c"},
    {"AUTH=LOGIN", EXTENSION_TLS, "auth/cmd_auth.c"},
    {"AUTH=SCRAM-SHA-256", EXTENSION_TLS, "auth/auth_scram.c"},
    {"AUTH=SCRAM-SHA-256-PLUS", EXTENSION_TLS, "auth/auth_scram.c"},
    {"UNAUTHENTICATE", EXTENSION_LOGGED_IN, "command/cmd_unauthenticate.c"},
    {"COMPRESS=DEFLATE", EXTENSION_LOGGED_IN, "command/cmd_compress.c"},
    {"IDLE", EXTENSION_LOGGED_IN, "command/cmd_idle.c"},
    {"NAMESPACE", EXTENSION_LOGGED_IN, "command/cmd_basic.c"},
    {"UNSELECT", EXTENSION_LOGGED_IN, "command/cmd_select.c"},
    {"UIDPLUS", EXTENSION_LOGGED_IN, "command/cmd_expunge.c"},
    {"MOVE", EXTENSION_LOGGED_IN, "command/cmd_copy.c"},
    {"MULTIAPPEND", EXTENSION_LOGGED_IN, "command/cmd_append.c"},
    {"REPLACE", EXTENSION_LOGGED_IN, "command/cmd_replace.c"},
    {"CHILDREN", EXTENSION_LOGGED_IN, "command/cmd_list.c"},
    {"LIST-EXTENDED", EXTENSION_LOGGED_IN, "command/cmd_list.c"},
    {"LIST-STATUS", EXTENSION_LOGGED_IN, "command/cmd_list.c"},
    {"SPECIAL-USE", EXTENSION_LOGGED_IN, "command/cmd_list.c"},
    {"CREATE-SPECIAL-USE", EXTENSION_LOGGED_IN, "command/cmd_folder.c"},
    {"STATUS=SIZE", EXTENSION_LOGGED_IN, "command/cmd_status.c"},
    {"ESEARCH", EXTENSION_LOGGED_IN, "search/cmd_search.c"},
    {"MULTISEARCH", EXTENSION_LOGGED_IN, "search/cmd_esearch.c"},
    {"CONTEXT=SEARCH", EXTENSION_LOGGED_IN, "search/context.c"},
    {"CONTEXT=SORT", EXTENSION_LOGGED_IN, "search/context.c"},
    {"SEARCHRES", EXTENSION_LOGGED_IN, "search/cmd_search.c"},
    {"WITHIN", EXTENSION_LOGGED_IN, "search/search_parse.c"},
    {"INPROGRESS", EXTENSION_LOGGED_IN, "search/search_run.c"},
    {"PARTIAL", EXTENSION_LOGGED_IN, "search/results.c"},
    {"SORT", EXTENSION_LOGGED_IN, "sort/cmd_sort.c"},
    {"SORT=DISPLAY", EXTENSION_LOGGED_IN, "order/sort_key.c"},
    {"ESORT", EXTENSION_LOGGED_IN, "sort/cmd_sort.c"},
    {"THREAD=ORDEREDSUBJECT", EXTENSION_LOGGED_IN, "sort/thread.c"},
    {"THREAD=REFERENCES", EXTENSION_LOGGED_IN, "sort/thread.c"},
    {"THREAD=REFS", EXTENSION_LOGGED_IN, "sort/thread.c"},
    {"I18NLEVEL=1", EXTENSION_LOGGED_IN, "order/casemap.c"},
    {"CONDSTORE", EXTENSION_LOGGED_IN, "command/cmd_store.c"},
    {"QRESYNC", EXTENSION_LOGGED_IN, "command/cmd_select.c"},
    {"UIDONLY", EXTENSION_LOGGED_IN, "view/tell.c"},
    {"BINARY", EXTENSION_LOGGED_IN, "fetch/section.c"},
    {"OBJECTID", EXTENSION_LOGGED_IN, "fetch/fetch_write.c"},
    {"SAVEDATE", EXTENSION_LOGGED_IN, "fetch/fetch_write.c"},
    {"PREVIEW", EXTENSION_LOGGED_IN, "fetch/fetch_write.c"},
    {"QUOTA", EXTENSION_LOGGED_IN, "command/cmd_quota.c"},
    {"QUOTA=RES-STORAGE", EXTENSION_LOGGED_IN, "command/cmd_quota.c"},
    {"QUOTASET", EXTENSION_LOGGED_IN, "command/cmd_quota.c"},
    {"METADATA", EXTENSION_LOGGED_IN, "metadata/cmd_metadata.c"},
    {"LIST-METADATA", EXTENSION_LOGGED_IN, "command/cmd_list.c"},
    {"UTF8=ACCEPT", EXTENSION_LOGGED_IN, "syntax/names.c"},
    {"APPENDLIMIT=" NUMBER(LIMIT_APPEND_BYTES), EXTENSION_LOGGED_IN, "command/cmd_append.c"},
    {0},
};

void extensions_write(enum extension_state state, struct buf *out) {
    const char *space = "";
    for (const struct extension *e = extensions; e->name; e++) {
        if (!(e->states & state)) continue;
        buf_printf(out, "%s%s", space, e->name);
        space = " ";
    }
}
