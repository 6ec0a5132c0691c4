/* Settings that are times. What is wrong ends the process, so each of those is read in a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/base/config.h"

static void times_have_a_unit(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {{"0", 0},       {"0s", 0},          {"30s", 30},          {"5m", 300},
                 {"12h", 43200}, {"180d", 15552000}, {"3650d", 315360000}, {"", 7 * 86400}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("POSTBUS_TEST_TIME", cases[i].text, 1);
        assert_int_equal(config_seconds("POSTBUS_TEST_TIME", "7d", 0, 315360000), cases[i].seconds);
    }
}

static void other_times_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "30",           "s",  "-1s", "1.5h", "1 h", "1w", "30S", "3651d", "999999999999999d",
        "10000000000s", "d1", "1dd", "never"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            close(STDOUT_FILENO);
            close(STDERR_FILENO);
            setenv("POSTBUS_TEST_TIME", wrong[i], 1);
            config_seconds("POSTBUS_TEST_TIME", "7d", 0, 315360000);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 78) fail_msg("\"%s\" was taken for a time", wrong[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(times_have_a_unit), cmocka_unit_test(other_times_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
