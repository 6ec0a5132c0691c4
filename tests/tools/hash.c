/* hash PASSWORD PASSES BYTES: a stored password as another version of Postbus may have made it
 * (argon2id). */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    char out[crypto_pwhash_STRBYTES];
    if (argc != 4 || sodium_init() < 0) return 64;
    if (crypto_pwhash_str(out, argv[1], strlen(argv[1]), strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10)) != 0)
        return 70;
    puts(out);
    return 0;
}
