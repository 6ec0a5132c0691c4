/* The positions of a message's MIME parts: one pass over the bytes, no copies of bodies (RFC 2045,
 * 2046, 2183, 2231). Pure.
 *
 * Part 0 is the message itself. The children of a multipart are its parts; the only child of a
 * message/rfc822 (or message/global) part that is not itself encoded is the message inside it.
 * Lines end with CRLF and nothing else. Parsing never fails: malformed text becomes part of the
 * body in which it is. Bounds: MIME_DEPTH_MAX levels (deeper multiparts and messages are leaves)
 * and MIME_PARTS_MAX parts (the last one takes the rest). */
#ifndef POSTBUS_MAIL_MIME_H
#define POSTBUS_MAIL_MIME_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

enum { MIME_DEPTH_MAX = 100, MIME_PARTS_MAX = 10000, MIME_PARAMETERS_MAX = 64, MIME_BOUNDARY_MAX = 200 };
#define MIME_NONE ((uint32_t)-1)

enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QUOTED_PRINTABLE, MIME_BASE64, MIME_ENCODING_OTHER };

struct mime_part {
    size_t start, body, end;    /* of the message: header block [start, body), its empty line
                                   included; body [body, end) */
    size_t lines;               /* CRLFs in the body */
    struct slice type, subtype; /* as written; "text", "plain" (in a digest "message", "rfc822")
                                   when missing or malformed; views of the message */
    enum mime_encoding encoding;
    uint32_t parent, first_child, next; /* indices into parts, or MIME_NONE */
    uint32_t child_count;
    bool is_multipart;
    bool is_message; /* a message/rfc822 part with the message as its child */
};

struct mime {
    struct slice message;
    size_t count;
    struct mime_part *parts; /* in the order in which they begin */
    bool bounded;            /* a bound was reached: the message has more parts than listed */
};

/* Reads a message. The result, never NULL, lives in arena; the message must live as long. */
struct mime *mime_parse(struct arena *arena, struct slice message);

/* The part that the IMAP section numbers name (RFC 9051 §6.4.5.1: BODY[4.2.1] is 4, 2, 1), or
 * MIME_NONE. n 0 is the message itself. */
uint32_t mime_find(const struct mime *m, size_t n, const uint32_t numbers[]);

enum mime_section {
    MIME_SECTION_BODY,   /* BODY[4.1]: the part's body, not decoded; BODY[]: the whole message */
    MIME_SECTION_MIME,   /* BODY[4.1.MIME]: the part's own header block */
    MIME_SECTION_HEADER, /* BODY[4.HEADER]: the header block, with its empty line, of the message in
                            a message/rfc822 part; BODY[HEADER] */
    MIME_SECTION_TEXT,   /* BODY[4.TEXT]: the body of the message in a message/rfc822 part;
                            BODY[TEXT] */
};
/* The bytes of a section, a view of the message; false when there is none. */
bool mime_section(const struct mime *m, size_t n, const uint32_t numbers[], enum mime_section section,
                  struct slice *out);

/* A part's header block (with its empty line, when it has one) and body. */
struct slice mime_header(const struct mime *m, uint32_t part);
struct slice mime_body(const struct mime *m, uint32_t part);
/* Adds the body without its transfer encoding to out: 0, or -1 when the encoding is unknown (out is
 * then as before). Text that is not valid quoted-printable is kept unchanged (RFC 2045 §6.7); bytes
 * that are not base 64 are ignored, and the first "=" ends it (§6.8). */
int mime_decode_body(const struct mime *m, uint32_t part, struct buf *out);

/* A structured field's value (Content-Type, Content-Disposition): its first word and its
 * parameters. */
struct mime_parameter {
    struct slice name;              /* lower case */
    struct slice value;             /* without quotes; RFC 2231 pieces put together and
                                       percent-decoded */
    struct slice charset, language; /* of an RFC 2231 value; else empty */
    bool is_extended;               /* came in RFC 2231 form */
};
struct mime_value {
    struct slice word; /* "text/plain", "attachment": as written; empty when malformed */
    size_t count;
    struct mime_parameter parameters[MIME_PARAMETERS_MAX]; /* more are left out */
};
/* Reads value (folds and comments allowed) into *out, whose texts live in arena or in value. */
void mime_read_value(struct arena *arena, struct slice value, struct mime_value *out);
/* As mime_read_value, but with the parameters as written: RFC 2231 pieces ("filename*0*") are
 * separate and not decoded, and the case of names is kept. BODYSTRUCTURE shows these. */
void mime_read_value_raw(struct arena *arena, struct slice value, struct mime_value *out);
/* The value of a parameter; false when it is not there. */
bool mime_parameter(const struct mime_value *value, const char *name, struct slice *out);
/* "type/subtype" of a Content-Type value without allocation; false when malformed. */
bool mime_read_type(struct slice value, struct slice *type, struct slice *subtype);

#endif
