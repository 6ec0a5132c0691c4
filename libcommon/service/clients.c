#include "libcommon/service/clients.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/base/arena.h"

enum { BUCKETS = 1024, NETWORK_BYTES = 9 };

struct client {
    struct client *next;
    unsigned char network[NETWORK_BYTES];
    size_t count;
};

struct clients {
    size_t max;
    pthread_mutex_t lock; /* guards what follows */
    struct client *buckets[BUCKETS];
    unsigned char key[crypto_shorthash_KEYBYTES];
};

/* The kind of address and its network: 4 bytes of IPv4, or the first 8 of IPv6. */
static void network_of(const char *ip, unsigned char out[NETWORK_BYTES]) {
    unsigned char address[16] = {0};
    memset(out, 0, NETWORK_BYTES);
    if (inet_pton(AF_INET, ip, address) == 1) {
        out[0] = 4;
        memcpy(out + 1, address, 4);
    } else if (inet_pton(AF_INET6, ip, address) == 1) {
        out[0] = 6;
        memcpy(out + 1, address, 8);
    }
}

/* The place of the client's pointer in its list. */
static struct client **find(struct clients *c, const unsigned char network[NETWORK_BYTES]) {
    unsigned char hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, network, NETWORK_BYTES, c->key);
    struct client **at = &c->buckets[(hash[0] | hash[1] << 8) % BUCKETS];
    while (*at && memcmp((*at)->network, network, NETWORK_BYTES) != 0) at = &(*at)->next;
    return at;
}

struct clients *clients_create(size_t max) {
    struct clients *c = memory_alloc(sizeof *c);
    c->max = max;
    pthread_mutex_init(&c->lock, NULL);
    randombytes_buf(c->key, sizeof c->key);
    return c;
}

void clients_destroy(struct clients *c) {
    if (!c) return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct client *each = c->buckets[i], *next; each; each = next) {
            next = each->next;
            free(each);
        }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

bool clients_enter(struct clients *c, const char *ip) {
    unsigned char network[NETWORK_BYTES];
    network_of(ip, network);
    pthread_mutex_lock(&c->lock);
    struct client **at = find(c, network);
    if (!*at) {
        *at = memory_alloc(sizeof **at);
        memcpy((*at)->network, network, NETWORK_BYTES);
    }
    bool room = (*at)->count < c->max;
    if (room) (*at)->count++;
    pthread_mutex_unlock(&c->lock);
    return room;
}

void clients_leave(struct clients *c, const char *ip) {
    unsigned char network[NETWORK_BYTES];
    network_of(ip, network);
    pthread_mutex_lock(&c->lock);
    struct client **at = find(c, network), *client = *at;
    if (client && --client->count == 0) {
        *at = client->next;
        free(client);
    }
    pthread_mutex_unlock(&c->lock);
}
