/* A verdict's JSON (trust_result_put, or the API's) as text for people. Private to services/cli. */
#ifndef POSTBUS_CLI_VERDICT_H
#define POSTBUS_CLI_VERDICT_H

#include <jansson.h>

/* Prints each result with its steps. Bytes that could control a terminal are printed as "?". */
void verdict_print(const json_t *verdict);

/* Prints text from outside; bytes that could control a terminal are printed as "?". */
void print_foreign(const char *text);

#endif
