#include "services/cli/verdict.h"
#include "libcommon/base/member.h"

#include <stdio.h>

#include "services/cli/cli.h"

/* Control characters, including C1, are replaced. */
void print_foreign(const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        bool c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
        putchar(*c < ' ' || *c == 0x7f || c1 ? '?' : *c);
        if (c1) c++;
    }
}

static void put_field(const char *before, const json_t *object, const char *name, const char *after) {
    const char *text = member_text(object, name);
    if (!*text) return;
    fputs(before, stdout);
    print_foreign(text);
    fputs(after, stdout);
}

static void head(const char *proof, const char *result, const json_t *object) {
    printf("%-7s%s", proof, result);
    put_field(": ", object, "reason", "");
}

static void steps(const char *proof, const json_t *object) {
    size_t i;
    const json_t *line;
    putchar('\n');
    json_array_foreach((json_t *)(uintptr_t)json_object_get(object, "steps"), i, line) {
        printf("%-7s    ", proof);
        print_foreign(json_is_string(line) ? json_string_value(line) : "");
        putchar('\n');
    }
}

static void print_spf(const json_t *spf, const char *identity) {
    if (!json_is_object(spf)) return;
    head("spf", member_text(spf, "result"), spf);
    printf(" (%s", identity);
    put_field(" ", spf, "domain", "");
    printf(", %lld lookups, %lld of them void)", json_integer_value(json_object_get(spf, "lookups")),
           json_integer_value(json_object_get(spf, "void_lookups")));
    steps("spf", spf);
    if (*member_text(spf, "explanation")) put_field("spf        the domain explains: ", spf, "explanation", "\n");
}

static void print_dkim(const json_t *list) {
    size_t i;
    const json_t *one;
    if (json_is_array(list) && json_array_size(list) == 0) puts("dkim   none: the message carries no signature");
    json_array_foreach((json_t *)(uintptr_t)list, i, one) {
        head("dkim", member_text(one, "result"), one);
        put_field(" (d=", one, "domain", "");
        put_field(" s=", one, "selector", "");
        put_field(" a=", one, "algorithm", "");
        printf("%s%s)", *member_text(one, "domain") ? "" : " (",
               json_is_true(json_object_get(one, "testing")) ? ", the key is in testing" : "");
        steps("dkim", one);
    }
}

static void print_dmarc(const json_t *dmarc) {
    size_t i;
    const json_t *one;
    if (!json_is_object(dmarc)) return;
    head("dmarc", member_text(dmarc, "result"), dmarc);
    put_field(" (from ", dmarc, "from", "");
    put_field(", record of ", dmarc, "record_domain", "");
    printf("%spolicy %s, done %s)", *member_text(dmarc, "from") ? ", " : " (", member_text(dmarc, "policy"),
           member_text(dmarc, "disposition"));
    steps("dmarc", dmarc);
    json_array_foreach(json_object_get(dmarc, "overrides"), i, one) {
        put_field("dmarc      another disposition than the policy's: ", one, "type", "");
        put_field(": ", one, "comment", "");
        putchar('\n');
    }
}

void verdict_print(const json_t *verdict) {
    const json_t *spf = json_object_get(verdict, "spf"), *arc = json_object_get(verdict, "arc"),
                 *iprev = json_object_get(verdict, "iprev");
    print_spf(spf, strcmp(member_text(spf, "scope"), "helo") == 0 ? "HELO, for the null reverse-path," : "MAIL FROM");
    print_spf(json_object_get(verdict, "spf_helo"), "HELO");
    print_dkim(json_object_get(verdict, "dkim"));
    if (json_is_object(arc)) {
        head("arc", member_text(arc, "cv"), arc);
        printf(" (%lld sets", json_integer_value(json_object_get(arc, "sets")));
        put_field(", newest seal of ", arc, "sealer", "");
        putchar(')');
        steps("arc", arc);
    }
    print_dmarc(json_object_get(verdict, "dmarc"));
    if (json_is_object(iprev)) {
        head("iprev", member_text(iprev, "result"), iprev);
        put_field(": the client's name is ", iprev, "name", "");
        steps("iprev", iprev);
    }
}
