/* Confirmation of actions that cannot be undone. */
#include <string.h>
#include <unistd.h>

#include "services/cli/cli.h"

bool confirm(const struct cli *c, const char *what) {
    char line[16] = "";
    if (c->yes || !isatty(STDIN_FILENO)) return true;
    fprintf(stderr, "%s: this cannot be undone. Type yes to continue: ", what);
    if (!fgets(line, sizeof line, stdin)) *line = 0;
    line[strcspn(line, "\r\n")] = 0;
    if (strcmp(line, "yes") == 0) return true;
    fputs("postbus: nothing was changed\n", stderr);
    return false;
}
