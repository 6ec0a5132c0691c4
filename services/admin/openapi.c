/* /api/v1/openapi.json: the description of this API, built into the program. */
#include "services/admin/admin.h"

__asm__(".section .rodata\n"
        ".global admin_openapi_start, admin_openapi_end\n"
        "admin_openapi_start:\n"
        ".incbin \"services/admin/openapi.json\"\n"
        "admin_openapi_end:\n"
        ".byte 0\n"
        ".section .text\n");
extern const char admin_openapi_start[], admin_openapi_end[];

void openapi_get(struct request *r) {
    request_answer_text(
        r, 200, "application/json",
        slice_make(admin_openapi_start, (size_t)((uintptr_t)admin_openapi_end - (uintptr_t)admin_openapi_start)));
}
