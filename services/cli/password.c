/* Reads a password: never from the command line, which every process can see. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "services/cli/cli.h"

enum { PASSWORD_MAX = 1024 };

/* The first line of f. */
static char *first_line(FILE *f) {
    char *line = memory_alloc(PASSWORD_MAX + 3);
    if (!fgets(line, PASSWORD_MAX + 3, f)) *line = 0;
    line[strcspn(line, "\r\n")] = 0;
    return line;
}

static char *ask(FILE *terminal, const char *question) {
    struct termios before, quiet;
    fputs(question, terminal);
    fflush(terminal);
    bool hidden = tcgetattr(fileno(terminal), &before) == 0;
    if (hidden) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(fileno(terminal), TCSAFLUSH, &quiet);
    }
    char *line = first_line(terminal);
    if (hidden) tcsetattr(fileno(terminal), TCSAFLUSH, &before);
    fputc('\n', terminal); // NOLINT(clang-analyzer-unix.Stream): a terminal has no position
    return line;
}

static char *from_terminal(void) {
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (!terminal) {
        fputs("postbus: there is no terminal to ask for the password: use --password-file or --password-stdin\n",
              stderr);
        return NULL;
    }
    char *one = ask(terminal, "Password: "), *two = ask(terminal, "Again: ");
    bool same = strcmp(one, two) == 0;
    fclose(terminal);
    password_free(two);
    if (same) return one;
    password_free(one);
    fputs("postbus: the passwords differ\n", stderr);
    return NULL;
}

char *password_get(const struct cli *c) {
    char *password;
    if (c->password_file) {
        FILE *f = fopen(c->password_file, "re");
        if (!f) {
            fprintf(stderr, "postbus: cannot read %s: %s\n", c->password_file, strerror(errno));
            return NULL;
        }
        password = first_line(f);
        fclose(f);
    } else {
        password = c->password_stdin ? first_line(stdin) : from_terminal();
    }
    if (password && !*password) {
        fputs("postbus: the password is empty\n", stderr);
        password_free(password);
        return NULL;
    }
    return password;
}

void password_free(char *password) {
    if (password) explicit_bzero(password, strlen(password));
    free(password);
}
