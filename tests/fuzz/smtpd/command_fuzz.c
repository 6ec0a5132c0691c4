/* A line of SMTP, and everything that reads its parts. */
#include "services/smtpd/smtpd.h"

struct metric smtpd_connections, smtpd_accepted, smtpd_delivered, smtpd_refused, smtpd_deferred, smtpd_bytes;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice line = slice_make(data, size), argument, address, key, value;
    smtp_parse_verb(line, &argument);
    smtp_is_hello_name(argument);
    static const char *const keywords[] = {"FROM", "TO"};
    for (int i = 0; i < 2; i++) {
        struct slice rest = argument;
        if (smtp_parse_path(&rest, keywords[i], &address) == 0)
            while (smtp_next_parameter(&rest, &key, &value) == 1) {
            }
    }
    return 0;
}
