/* postbus backup, postbus restore. */
#include "services/cli/backup/backup.h"

const struct command backup_commands[] = {
    {"backup", NULL, "DIRECTORY [DOMAIN|ADDRESS]", "write all accounts, or these, to a directory, while the site runs",
     1, 2, backup_run},
    {"restore", NULL, "DIRECTORY [DOMAIN|ADDRESS]", "make the accounts of a backup again, and put back their mail", 1,
     2, backup_restore},
    {0},
};
