/* Reports as strangers send them: XML, JSON, archives, mails, addresses; what was read can be
 * written. */
#include "libcommon/report/dmarc_aggregate.h"
#include "libcommon/report/dmarc_failure.h"
#include "libcommon/report/report_read.h"
#include "libcommon/report/report_uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice bytes = slice_make(data, size), rest = bytes;
    struct report_read r;
    struct report_uri uri;
    struct buf out = {0};
    report_read_file(bytes, &r);
    if (r.kind == REPORT_DMARC) dmarc_aggregate_write(r.report, &out);
    if (r.kind == REPORT_FAILURE) dmarc_failure_write(r.report, &out);
    report_read_free(&r);
    report_read_mail(bytes, &r);
    report_read_free(&r);
    while (report_uri_next(&rest, &uri)) {
    }
    buf_free(&out);
    return 0;
}
