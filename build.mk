# Compiles everything: run inside the toolchain image (the Makefile beside this file does that).
#   make -f build.mk [MODE=release|asan|fuzz] programs | unit | fuzzers | bench
# Sources are found automatically: a folder in services/ is a program, all of libcommon/ one archive, tests/unit/**/X_test.c a test,
# tests/fuzz/**/X_fuzz.c a fuzz target. A test below tests/unit/<service>/ or tests/fuzz/<service>/ is linked with that service, without its main.c.
MODE ?= release
B := build/$(MODE)
CC := gcc

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Wformat=2 -Wundef
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fPIE
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_fuzz := $(CFLAGS_asan) -fsanitize=fuzzer-no-link
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_fuzz := $(LDFLAGS_asan)
ifeq ($(MODE),fuzz)
CC := clang
endif
CFLAGS += -std=c17 -D_GNU_SOURCE -I. $(WARN) $(CFLAGS_$(MODE)) -MMD -MP
LDFLAGS += $(LDFLAGS_$(MODE)) -Wl,--as-needed
LIBS := -levent -lyyjson -levent_openssl -levent_pthreads -lnats -lhiredis -ljansson -lmicrohttpd -lgnutls -lssl -lcrypto -lsodium -lzstd -lz -lunbound -lldns -lpsl -lidn2 -lutf8proc -lcurl -lexpat -larchive -lpthread -lm

SERVICES := $(sort $(patsubst services/%/main.c,%,$(wildcard services/*/main.c)))
LIB_SRC := $(shell find libcommon -name '*.c')
LIB := $(B)/libcommon.a
obj = $(patsubst %.c,$(B)/%.o,$(1))
UNIT_SRC := $(shell find tests/unit -name '*_test.c')
FUZZ_SRC := $(shell find tests/fuzz -name '*_fuzz.c')
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
TOOLS := $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))
# each is one program of all files in its folder
DRIVE := $(B)/bench/drive
VERIFY_LOAD := $(B)/bench/verify_load
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))

.PHONY: all programs unit fuzzers bench
all: programs unit
programs: $(SERVICES:%=$(B)/bin/%) $(TOOLS)
unit: $(UNIT)
fuzzers: $(FUZZ)
bench: $(DRIVE) $(VERIFY_LOAD)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(CFLAGS) -c -o $@ $<

$(LIB): $(call obj,$(LIB_SRC))
	@rm -f $@ && ar rcs $@ $^

# One archive for each service (all except main.c), so that its tests can link it.
define service_rules
$(B)/services/$(1).a: $(call obj,$(filter-out services/$(1)/main.c,$(shell find services/$(1) -name '*.c')))
	@mkdir -p $$(@D) && rm -f $$@ && ar rcs $$@ $$^
$(B)/bin/$(1): $(B)/services/$(1)/main.o $(B)/services/$(1).a $(LIB)
	@mkdir -p $$(@D)
	@echo "  link  $(1)"
	@$(CC) $(LDFLAGS) -o $$@ $$^ $(LIBS)
$(B)/unit/$(1)/%: $(B)/tests/unit/$(1)/%.o $(B)/services/$(1).a $(LIB)
	@mkdir -p $$(@D)
	@$(CC) $(LDFLAGS) -o $$@ $$^ -lcmocka $(LIBS)
$(B)/fuzz/$(1)/%: $(B)/tests/fuzz/$(1)/%.o $(B)/services/$(1).a $(LIB)
	@mkdir -p $$(@D)
	@$(CC) -fsanitize=fuzzer $(LDFLAGS) -o $$@ $$^ $(LIBS)
endef
$(foreach s,$(SERVICES),$(eval $(call service_rules,$(s))))

$(VERIFY_LOAD): $(call obj,$(wildcard tests/bench/verify/*.c)) $(LIB)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(DRIVE): $(call obj,$(wildcard tests/bench/drive/*.c)) $(LIB)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/tools/%: $(B)/tests/tools/%.o $(LIB)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/unit/%: $(B)/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(LIB)
	@mkdir -p $(@D)
	@$(CC) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LIBS)

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)

# The assembler reads it, so the compiler does not list it as a dependency.
$(B)/services/admin/openapi.o: services/admin/openapi.json
