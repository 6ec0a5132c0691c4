#include "services/cli/backup/families.h"

#include <string.h>

#include "libcommon/base/member.h"

int family_each(struct cli *c, const char *family, const char *domain, family_fn *one, void *ctx) {
    struct buf path = {0}, after = {0};
    int failed = CLI_OK;
    bool more = true;
    while (!failed && more) {
        json_t *page = NULL, *each;
        size_t i;
        buf_reset(&path);
        buf_printf(&path, "/api/v1/%s?limit=500", family);
        if (domain) buf_add_str(&path, "&domain=");
        if (domain) api_add(&path, domain);
        if (after.n) buf_add_str(&path, "&after=");
        api_add(&path, buf_str(&after));
        failed = api_call(c, "GET", buf_str(&path), NULL, &page);
        json_array_foreach(json_object_get(page, family), i, each) if (!failed) failed = one(ctx, each);
        more = *member_text(page, "next") != 0;
        buf_reset(&after);
        buf_add_str(&after, member_text(page, "next"));
        json_decref(page);
    }
    buf_free(&path);
    buf_free(&after);
    return failed;
}
