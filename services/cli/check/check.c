/* postbus check …: the verification of this system as shell commands, without a running site. The
 * commands are in check_spf.c, check_message.c, check_domain.c. */
#include "services/cli/check/check.h"

const struct command check_commands[] = {
    {"check", "spf", "--ip A --helo H --mail-from M", "check whether a client may send for a domain", 0, 0, check_spf},
    {"check", "message", "FILE", "verify a stored message (- for standard input)", 1, 1, check_message},
    {"check", "domain", "DOMAIN [--selector S,…]",
     "check a domain's mail records: MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT, TLSA, BIMI, CAA", 1, 1, check_domain},
    {0},
};
