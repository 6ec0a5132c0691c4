/* Settings for mail clients: Thunderbird's autoconfig, Outlook's autodiscover (POX). Also the
 * MTA-STS policy (RFC 8461 §3.2), which has a well-known path too. All are served only for hosted
 * domains. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/mail/domain.h"
#include "services/admin/admin.h"

enum { STS_MAX_AGE = 604800 };

static void add_xml(struct buf *out, const char *text) {
    for (; *text; text++) {
        if (*text == '&')
            buf_add_str(out, "&amp;");
        else if (*text == '<')
            buf_add_str(out, "&lt;");
        else if (*text == '>')
            buf_add_str(out, "&gt;");
        else if (*text == '"')
            buf_add_str(out, "&quot;");
        else
            buf_add_char(out, *text);
    }
}

/* The domain in the Host field after the first label `prefix`; a host without the prefix counts as
 * the domain itself unless the prefix is required. False when there is none. */
static bool find_host_domain(struct request *r, struct slice prefix, bool required, char out[DOMAIN_BYTES]) {
    struct slice host = slice_of(request_head(r, "Host")), name = host;
    ptrdiff_t colon = slice_find_last(host, ':');
    if (colon >= 0) name = slice_head(host, (size_t)colon);
    bool prefixed = slice_starts_nocase(name, prefix);
    if (prefixed) name = slice_skip(name, prefix.n);
    return (prefixed || !required) && domain_normalise(name, out) == 0;
}

/* The domain of an address; address NULL: the domain in the Host field. */
static bool find_domain(struct request *r, const char *address, char out[DOMAIN_BYTES]) {
    if (!address) return find_host_domain(r, SLICE("autoconfig."), false, out);
    ptrdiff_t at = slice_find_last(slice_of(address), '@');
    return domain_normalise(slice_skip(slice_of(address), (size_t)(at + 1)), out) == 0;
}

static void ask_for_domain(struct request *r, const char *domain, request_reply_fn *then) {
    r->state = json_pack("{s:s}", "domain", domain);
    request_ask(r, "accounts.domain.get", json_pack("{s:s}", "domain", domain), ASK_MS, then);
}

/* autoconfig */

static void add_server(struct buf *out, const char *element, const char *type, const char *host, int port,
                       const char *socket) {
    buf_printf(out, "    <%s type=\"%s\">\n      <hostname>", element, type);
    add_xml(out, host);
    buf_printf(out,
               "</hostname>\n      <port>%d</port>\n      <socketType>%s</socketType>\n      "
               "<authentication>password-cleartext</authentication>\n"
               "      <username>%%EMAILADDRESS%%</username>\n    </%s>\n",
               port, socket, element);
}

static void on_autoconfig(struct request *r, int error, const json_t *reply) {
    const char *host = r->admin->worker->hostname, *domain = json_string_value(json_object_get(r->state, "domain"));
    if (error) {
        request_problem_bus(r, reply);
        return;
    }
    struct buf xml = {0};
    buf_add_str(&xml,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"");
    add_xml(&xml, domain);
    buf_add_str(&xml, "\">\n    <domain>");
    add_xml(&xml, domain);
    buf_add_str(&xml, "</domain>\n    <displayName>");
    add_xml(&xml, domain);
    buf_add_str(&xml, "</displayName>\n    <displayShortName>");
    add_xml(&xml, domain);
    buf_add_str(&xml, "</displayShortName>\n");
    add_server(&xml, "incomingServer", "imap", host, 993, "SSL");
    add_server(&xml, "incomingServer", "imap", host, 143, "STARTTLS");
    add_server(&xml, "incomingServer", "pop3", host, 995, "SSL");
    add_server(&xml, "outgoingServer", "smtp", host, 465, "SSL");
    add_server(&xml, "outgoingServer", "smtp", host, 587, "STARTTLS");
    buf_add_str(&xml, "  </emailProvider>\n</clientConfig>\n");
    request_answer_text(r, 200, "application/xml; charset=utf-8", buf_slice(&xml));
    buf_free(&xml);
}

void autoconfig_get(struct request *r) {
    char domain[DOMAIN_BYTES];
    if (find_domain(r, request_query(r, "emailaddress"), domain))
        ask_for_domain(r, domain, on_autoconfig);
    else
        request_problem(r, 400, "name the address: ?emailaddress=name@example.org");
}

/* autodiscover */

static void add_protocol(struct buf *out, const char *type, const char *host, int port, const char *login) {
    buf_printf(out, "      <Protocol>\n        <Type>%s</Type>\n        <Server>", type);
    add_xml(out, host);
    buf_printf(out,
               "</Server>\n        <Port>%d</Port>\n        <DomainRequired>off</DomainRequired>\n        <LoginName>",
               port);
    add_xml(out, login);
    buf_add_str(out, "</LoginName>\n        <SPA>off</SPA>\n        <SSL>on</SSL>\n        "
                     "<AuthRequired>on</AuthRequired>\n      </Protocol>\n");
}

static void on_autodiscover(struct request *r, int error, const json_t *reply) {
    const char *host = r->admin->worker->hostname, *login = json_string_value(json_object_get(r->state, "address"));
    if (error) {
        request_problem_bus(r, reply);
        return;
    }
    struct buf xml = {0};
    buf_add_str(
        &xml,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Autodiscover "
        "xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n"
        "  <Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">\n    "
        "<Account>\n"
        "      <AccountType>email</AccountType>\n      <Action>settings</Action>\n");
    add_protocol(&xml, "IMAP", host, 993, login);
    add_protocol(&xml, "POP3", host, 995, login);
    add_protocol(&xml, "SMTP", host, 465, login);
    buf_add_str(&xml, "    </Account>\n  </Response>\n</Autodiscover>\n");
    request_answer_text(r, 200, "application/xml; charset=utf-8", buf_slice(&xml));
    buf_free(&xml);
}

/* The text of <EMailAddress>, the only needed part of the request. */
static struct slice find_address(struct slice body) {
    const char *start = body.n ? memmem(body.p, body.n, "<EMailAddress>", 14) : NULL;
    if (!start) return SLICE("");
    struct slice rest = slice_skip(body, (size_t)(start - body.p) + 14);
    ptrdiff_t end = slice_find(rest, '<');
    return end < 0 ? SLICE("") : slice_trim(slice_head(rest, (size_t)end));
}

void autodiscover_post(struct request *r) {
    struct mail_address address;
    char text[ADDRESS_BYTES_MAX];
    if (address_normalise(find_address(buf_slice(&r->body)), &address) != 0) {
        request_problem(r, 400, "the request has no EMailAddress");
        return;
    }
    ask_for_domain(r, address.domain, on_autodiscover);
    json_object_set_new(r->state, "address", json_string(address_text(&address, text)));
}

/* MTA-STS */

static void on_mta_sts(struct request *r, int error, const json_t *reply) {
    const char *own = json_string_value(json_object_get(json_object_get(reply, "dns"), "mta_sts"));
    const char *mode = !own   ? r->admin->mta_sts
                       : *own ? own
                              : "none"; /* the domain's own setting overrides the site's */
    if (error) {
        request_problem_bus(r, reply);
        return;
    }
    struct buf policy = {0};
    buf_printf(&policy, "version: STSv1\r\nmode: %s\r\nmx: %s\r\nmax_age: %d\r\n", mode, r->admin->worker->hostname,
               STS_MAX_AGE);
    request_answer_text(r, 200, "text/plain; charset=utf-8", buf_slice(&policy));
    buf_free(&policy);
}

/* RFC 8461 §3.3: the policy of a domain is served only at the host mta-sts.<domain>. */
void mta_sts_get(struct request *r) {
    char domain[DOMAIN_BYTES];
    if (find_host_domain(r, SLICE("mta-sts."), true, domain))
        ask_for_domain(r, domain, on_mta_sts);
    else
        request_problem(r, 404, "there is no policy for this host");
}

const char *mta_sts_mode_setting(void) {
    const char *mode = config_text("POSTBUS_MTA_STS", "none"); /* while no policy is announced, senders that cached one
                                                                  learn that it has ended (RFC 8461 §8.3) */
    if (strcmp(mode, "enforce") != 0 && strcmp(mode, "testing") != 0 && strcmp(mode, "none") != 0)
        config_refuse("POSTBUS_MTA_STS", "expected enforce, testing or none");
    return mode;
}
