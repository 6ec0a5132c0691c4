/* Records for a domain's incoming and outgoing mail, and for the mail clients of its users. */
#include "services/verifier/zone/record_list.h"

enum { SPF_BYTES_MAX = 400 };

static void add_spf(struct record_list *l, const struct records_input *in) {
    struct buf spf = {0};
    const char *one;
    buf_add_str(&spf, "v=spf1");
    for (int from = 0; from < 2; from++) {
        struct slice left = slice_of(from ? in->outgoing : in->addresses);
        while ((one = record_next(l->arena, &left)) && spf.n < SPF_BYTES_MAX) {
            int family = record_family(one);
            if (family) buf_printf(&spf, " ip%d:%s", family, one);
        }
    }
    buf_add_str(&spf, " mx -all");
    record_add(l, in->domain, "TXT", record_txt(l->arena, buf_str(&spf)), RECORD_NEEDED,
               "SPF: which addresses may send mail of this domain");
    buf_free(&spf);
}

void records_add_mail(struct record_list *l, const struct records_input *in) {
    record_add(l, in->domain, "MX", arena_printf(l->arena, "10 %s.", in->mail_host), RECORD_NEEDED,
               "mail for the domain comes here");
    add_spf(l, in);
}

static void add_alias(struct record_list *l, const struct records_input *in, const char *label, const char *purpose) {
    const char *name = arena_printf(l->arena, "%s.%s", label, in->domain);
    if (strcasecmp(name, in->mail_host) != 0)
        record_add(l, name, "CNAME", arena_printf(l->arena, "%s.", in->mail_host), RECORD_ADVISED, purpose);
}

/* RFC 6186 §3 and RFC 8314 §5.1: a client should use the record with the lowest priority value. */
void records_add_services(struct record_list *l, const struct records_input *in) {
    static const struct {
        const char *name;
        int priority, port;
        const char *purpose;
    } services[] = {
        {"_submissions", 0, 465, "mail clients find where to send (TLS)"},
        {"_submission", 5, 587, "mail clients find where to send (STARTTLS)"},
        {"_imaps", 0, 993, "mail clients find IMAP (TLS)"},
        {"_imap", 5, 143, "mail clients find IMAP (STARTTLS)"},
        {"_pop3s", 10, 995, "mail clients find POP3 (TLS)"},
        {"_pop3", 15, 110, "mail clients find POP3 (STARTTLS)"},
        {"_autodiscover", 0, 443, "Outlook finds its settings"},
    };
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        record_add(l, arena_printf(l->arena, "%s._tcp.%s", services[i].name, in->domain), "SRV",
                   arena_printf(l->arena, "%d 1 %d %s.", services[i].priority, services[i].port, in->mail_host),
                   RECORD_ADVISED, services[i].purpose);
    add_alias(l, in, "autoconfig", "Thunderbird finds its settings");
    add_alias(l, in, "autodiscover", "Outlook finds its settings");
}
