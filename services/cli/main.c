/* postbus: reads the command line, finds the command and runs it. */
#include <curl/curl.h>
#include <getopt.h>
#include <string.h>

#include "services/cli/cli.h"

static const struct command *const families[] = {domain_commands,  key_commands,     account_commands, alias_commands,
                                                 message_commands, queue_commands,   system_commands,  check_commands,
                                                 report_commands,  mailbox_commands, backup_commands,  undo_commands};

static void help(FILE *out) {
    fputs("usage: postbus COMMAND [options]\n\n", out);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const struct command *k = families[f]; k->family; k++) {
            char line[128];
            snprintf(line, sizeof line, "%s%s%s %s", k->family, k->name ? " " : "", k->name ? k->name : "", k->usage);
            fprintf(out, "  %-36s %s\n", line, k->help);
        }
    fputs("\noptions, anywhere on the line:\n"
          "  --url URL             the admin API; default POSTBUS_API, or http://127.0.0.1:8080\n"
          "  --token-file FILE     the admin token; else POSTBUS_TOKEN_FILE, else /run/secrets/postbus/admin.token\n"
          "  --json                print the answer as JSON\n"
          "  --password-file FILE  the password is the first line of FILE\n"
          "  --password-stdin      the password is the first line of standard input\n"
          "  --yes                 do not ask for confirmation\n"
          "  --limit N --after X   a page of a listing\n"
          "  --domain D            of queue list and queue retry: mail to this domain\n"
          "  --held, --dead        of queue list: messages that are held; damaged entries\n"
          "  --ip A --helo H --mail-from M   the envelope for check\n"
          "  --format F            of domain dns: zone, json or table; of mailbox: maildir or mbox\n"
          "  --folder F            of mailbox: only this folder\n"
          "  --message ID          of mailbox restore: only this message; may be repeated\n"
          "  --beside, --in-place  of mailbox restore: into a folder \"Restored …\" (default with --at), or where it "
          "was\n"
          "  --map FROM=TO         of mailbox import: the folder FROM becomes TO; may be repeated\n"
          "  --keep N              of backup: remove all but the last N states of an account\n"
          "  --at TIME             of restore: the last state that is not after TIME, such as 20261129T220000Z;\n"
          "                        of mailbox restore: as it was then (UTC), such as 2026-11-29T22:00:00Z\n"
          "  --ca FILE             of mailbox import from IMAP: the CA certificates to trust; default: the system's\n"
          "  --rate N              of mailbox import from IMAP: at most N messages in a second\n"
          "  --selector S,…        DKIM selectors for check domain, in addition to the common ones\n"
          "  --resolver ADDR:PORT  the DNS server for check; default: the system's\n",
          out);
}

static const struct command *find(const char *family, const char *name) {
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const struct command *k = families[f]; k->family; k++)
            if (strcmp(k->family, family) == 0 && (!k->name || (name && strcmp(k->name, name) == 0))) return k;
    return NULL;
}

static bool family_exists(const char *family) {
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        if (strcmp(families[f]->family, family) == 0) return true;
    return false;
}

/* 0, or the exit status. */
static int read_options(struct cli *c, int argc, char **argv) {
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'},
        {"token-file", required_argument, NULL, 't'},
        {"json", no_argument, NULL, 'j'},
        {"password-file", required_argument, NULL, 'p'},
        {"password-stdin", no_argument, NULL, 's'},
        {"force", no_argument, NULL, 'f'},
        {"yes", no_argument, NULL, 'y'},
        {"now", no_argument, NULL, 'n'},
        {"quota", required_argument, NULL, 'q'},
        {"limit", required_argument, NULL, 'l'},
        {"after", required_argument, NULL, 'a'},
        {"ip", required_argument, NULL, 'i'},
        {"helo", required_argument, NULL, 'e'},
        {"mail-from", required_argument, NULL, 'm'},
        {"resolver", required_argument, NULL, 'r'},
        {"format", required_argument, NULL, 'F'},
        {"selector", required_argument, NULL, 'S'},
        {"domain", required_argument, NULL, 'd'},
        {"held", no_argument, NULL, 'H'},
        {"dead", no_argument, NULL, 'D'},
        {"folder", required_argument, NULL, 'o'},
        {"map", required_argument, NULL, 'M'},
        {"keep", required_argument, NULL, 'k'},
        {"at", required_argument, NULL, 'A'},
        {"ca", required_argument, NULL, 'C'},
        {"rate", required_argument, NULL, 'R'},
        {"message", required_argument, NULL, 'g'},
        {"beside", no_argument, NULL, 'b'},
        {"in-place", no_argument, NULL, 'I'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'u': c->url = optarg; break;
        case 't': c->token_file = optarg; break;
        case 'j': c->json = true; break;
        case 'p': c->password_file = optarg; break;
        case 's': c->password_stdin = true; break;
        case 'f': c->force = true; break;
        case 'y': c->yes = true; break;
        case 'n': c->now = true; break;
        case 'q': c->quota = optarg; break;
        case 'l': c->limit = optarg; break;
        case 'a': c->after = optarg; break;
        case 'i': c->ip = optarg; break;
        case 'e': c->helo = optarg; break;
        case 'm': c->mail_from = optarg; break;
        case 'r': c->resolver = optarg; break;
        case 'F': c->format = optarg; break;
        case 'S': c->selector = optarg; break;
        case 'd': c->domain = optarg; break;
        case 'H': c->held = true; break;
        case 'D': c->dead = true; break;
        case 'o': c->folder = optarg; break;
        case 'k': c->keep = optarg; break;
        case 'A': c->at = optarg; break;
        case 'C': c->ca = optarg; break;
        case 'R': c->rate = optarg; break;
        case 'M':
            if (c->map_count == sizeof c->maps / sizeof *c->maps || !strchr(optarg, '=')) {
                fputs("postbus: --map is FROM=TO, at most 64 times\n", stderr);
                return CLI_USAGE;
            }
            c->maps[c->map_count++] = optarg;
            break;
        case 'b': c->beside = true; break;
        case 'I': c->in_place = true; break;
        case 'g':
            if (c->message_count == sizeof c->messages / sizeof *c->messages) {
                fputs("postbus: --message at most 64 times\n", stderr);
                return CLI_USAGE;
            }
            c->messages[c->message_count++] = optarg;
            break;
        case 'h': help(stdout); return -1;
        default: fputs("see: postbus help\n", stderr); return CLI_USAGE;
        }
    }
    c->words = argv + optind;
    c->count = argc - optind;
    return CLI_OK;
}

int main(int argc, char **argv) {
    struct cli c = {0};
    int failed = read_options(&c, argc, argv);
    if (failed) return failed < 0 ? CLI_OK : failed;
    if (c.count == 0) {
        help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(c.words[0], "help") == 0) {
        help(stdout);
        return CLI_OK;
    }
    const struct command *k = find(c.words[0], c.count > 1 ? c.words[1] : NULL);
    if (!k) {
        fprintf(stderr, "postbus: there is no command %s%s%s: see postbus help\n", c.words[0],
                family_exists(c.words[0]) && c.count > 1 ? " " : "",
                family_exists(c.words[0]) && c.count > 1 ? c.words[1] : "");
        return CLI_USAGE;
    }
    int skip = k->name ? 2 : 1;
    c.words += skip;
    c.count -= skip;
    if (c.count < k->min || c.count > k->max) {
        fprintf(stderr, "usage: postbus %s%s%s %s\n", k->family, k->name ? " " : "", k->name ? k->name : "", k->usage);
        return CLI_USAGE;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    failed = k->run(&c);
    api_close(&c);
    curl_global_cleanup();
    return failed;
}
