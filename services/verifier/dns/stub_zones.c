#include "services/verifier/dns/stub_zones.h"

static struct slice without_dot(struct slice name) {
    return name.n && name.p[name.n - 1] == '.' ? slice_head(name, name.n - 1) : name;
}

bool stub_zones_have(const char *stubs, struct slice name) {
    struct slice rest = slice_of(stubs), one, zone;
    name = without_dot(name);
    for (bool more = rest.n > 0; more;) {
        more = slice_cut(&rest, ',', &one);
        if (!more) one = rest;
        if (!slice_cut(&one, '=', &zone)) continue;
        zone = without_dot(slice_trim(zone));
        if (!zone.n || zone.n > name.n) continue;
        struct slice end = slice_skip(name, name.n - zone.n);
        if (slice_equal_nocase(end, zone) && (end.p == name.p || end.p[-1] == '.')) return true;
    }
    return false;
}
