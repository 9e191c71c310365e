# cserve: `make help` tells the targets.

PYTHON  ?= /usr/bin/python3
PREFIX  ?= /usr/local
DESTDIR ?=
# Empty, debug, release, sanitize (ASan and UBSan) or tsan; each builds in a folder of its own.
MODE    :=
BUILD   := build$(MODE:%=/%)

LAYERS       := base config io http wsgi process
SOURCES      := $(wildcard src/*.c src/*/*.c)
HEADERS      := $(wildcard include/*/*.h src/*/*.h)
OBJECTS      := $(SOURCES:%.c=$(BUILD)/%.o)
ARCHIVES     := $(foreach l,process wsgi http io config base,$(BUILD)/lib/$(l).a)
TEST_SOURCES := $(wildcard tests/unit/*/test_*.c)
TESTS        := $(TEST_SOURCES:tests/unit/%.c=$(BUILD)/tests/%)

# A package with a question mark is for those releases of the distribution that have it.
BUILD_PACKAGES := gcc libc6-dev pkgconf libinih-dev libllhttp-dev? $(if $(filter /usr/bin/python3,$(PYTHON)),python3-dev)
TEST_PACKAGES  := libcmocka-dev python3-pytest python3-pytest-xdist python3-requests python3-flask python3-django wrk nginx \
                  curl gunicorn procps nghttp2-client git binutils systemd strace
FUZZ_PACKAGES  := clang libclang-rt-dev
LINT_PACKAGES  := clang-format clang-tidy cppcheck git

# ---- flags ----

# For clang, the WSGI layer's parameter environ shadows that of unistd.h.
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wundef -Wformat-security \
            -Wno-unused-parameter $(if $(findstring clang,$(CC)),-Wno-shadow)
HARDEN   := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LTO       = $(shell echo 'int main(void) { return 0; }' | $(CC) -flto=auto -x c -o /dev/null - 2>/dev/null && echo -flto=auto)

MODE_FLAGS_         := -O3 -g $(HARDEN)
MODE_FLAGS_debug    := -Og -g3
MODE_FLAGS_release   = -O3 -g $(HARDEN) $(LTO)
# gcc takes UBSan's checks of pointers for a sign that they may be NULL.
MODE_FLAGS_sanitize := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -Wno-format-truncation
MODE_FLAGS_tsan     := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
MODE_FLAGS          := $(or $(MODE_FLAGS_$(MODE)),$(error MODE is debug, release, sanitize, tsan or nothing))

# CFLAGS, CPPFLAGS and LDFLAGS are the user's and come last.
CFLAGS_ALL  = -std=c11 -D_GNU_SOURCE -Iinclude -MMD -MP -fvisibility=hidden -fno-plt -fPIE $(WARNINGS) $(MODE_FLAGS) \
              $(if $(WERROR),-Werror) $(LLHTTP_CFLAGS) $(INIH_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now,--as-needed $(MODE_FLAGS) $(LDFLAGS)
LIBS        = $(LLHTTP_LIBS) $(INIH_LIBS) -lpthread
INIH_LIBS  := -linih
INIH_VERSION := $(shell pkg-config --modversion inih 2>/dev/null)
INIH_CFLAGS := $(if $(INIH_VERSION),-DINIH_VERSION='"$(INIH_VERSION)"')

# Asked once, and only by a target that needs them.
PYTHON_CFLAGS = $(eval PYTHON_CFLAGS := $(shell scripts/python-flags $(PYTHON) compile 2>/dev/null))$(PYTHON_CFLAGS)
PYTHON_LIBS   = $(eval PYTHON_LIBS := $(shell scripts/python-flags $(PYTHON) link 2>/dev/null))$(PYTHON_LIBS)

# llhttp: the system's if that is new enough, else Debian 13's static library in build/deps; LLHTTP=/prefix names another one.
LLHTTP ?= $(shell scripts/llhttp-version $(CC) | grep -q '^good' || echo build/deps/root/usr)
LLHTTP := $(LLHTTP)
ifneq ($(LLHTTP),)
LLHTTP_CFLAGS := -isystem $(LLHTTP)/include
LLHTTP_LIBS    = $(wildcard $(LLHTTP)/lib/libllhttp.a $(LLHTTP)/lib/*/libllhttp.a)
LLHTTP_HEADER := $(filter build/deps/%,$(LLHTTP)/include/llhttp.h)
else
LLHTTP_LIBS   := -lllhttp
endif

say = $(if $(V),,@printf '  %-4s %s\n' $(1) $(@:$(BUILD)/%=%);)

# ---- the program ----

all: $(BUILD)/cserve

# Everything is built anew when the flags change; what is missing is said before the compiler does.
FLAGS_NOW = $(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(LIBS) $(PYTHON) $(PYTHON_CFLAGS) $(PYTHON_LIBS)
$(BUILD)/flags: FORCE | $(LLHTTP_HEADER)
	@$(shell mkdir -p $(@D))$(file >$@.new,$(FLAGS_NOW))cmp -s $@.new $@ && rm $@.new || \
	    { scripts/check-build $(PYTHON) $(CC) $(LLHTTP_CFLAGS) $(INIH_CFLAGS) $(CPPFLAGS) && mv $@.new $@; }

build/deps/root/usr/include/llhttp.h:
	@scripts/fetch-llhttp build/deps

$(BUILD)/src/wsgi/%.o: CFLAGS_ALL += $(PYTHON_CFLAGS)
$(BUILD)/src/%.o: src/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,cc)$(CC) $(CFLAGS_ALL) -c -o $@ $<

# Replaced as a whole: tests, or a server that runs, may use the old one meanwhile.
$(BUILD)/cserve: $(OBJECTS)
	$(call say,link)$(CC) $(LDFLAGS_ALL) -o $@.new $(OBJECTS) $(LIBS) $(PYTHON_LIBS) && mv -f $@.new $@

# One archive a layer: a test pulls in only what it refers to, and no test but wsgi's gets Python.
define archive
$(BUILD)/lib/$(1).a: $(filter $(BUILD)/src/$(1)/%,$(OBJECTS))
	@mkdir -p $$(@D)
	$$(call say,ar)rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call archive,$(l))))

$(BUILD)/tests/wsgi/%: CFLAGS_ALL += $(PYTHON_CFLAGS)
$(BUILD)/tests/wsgi/%: LIBS += $(PYTHON_LIBS)
$(BUILD)/tests/%: tests/unit/%.c $(ARCHIVES)
	@mkdir -p $(@D)
	$(call say,test)$(CC) $(CFLAGS_ALL) -MF $@.d $(LDFLAGS_ALL) -o $@ $< \
	    $(filter-out $(if $(filter wsgi/%,$*),,%/wsgi.a),$(ARCHIVES)) -lcmocka $(LIBS)

-include $(OBJECTS:.o=.d) $(TESTS:%=%.d)

# ---- running and testing ----

deps:
	@scripts/install-deps $(BUILD_PACKAGES)
test-deps:
	@scripts/install-deps $(BUILD_PACKAGES) $(TEST_PACKAGES)
lint-deps:
	@scripts/install-deps $(BUILD_PACKAGES) $(LINT_PACKAGES)
fuzz-deps:
	@scripts/install-deps $(BUILD_PACKAGES) $(FUZZ_PACKAGES)

# A make of its own builds: only after the packages are there the flags can be known. It uses all CPUs unless -j says otherwise.
BUILD_ALL = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

run: deps
	@$(BUILD_ALL) all
	@scripts/run-example $(BUILD)/cserve hello

test: test-deps
	@$(BUILD_ALL) test-build
	@scripts/run-tests $(BUILD) $(TEST_OPTIONS)

test-build: $(BUILD)/cserve $(TESTS)

# All unit tests, and the end-to-end tests that carry the mark `core`; SANITIZE_TESTS= runs every one of them.
SANITIZE_TESTS ?= -m core
sanitize: test-deps
	@$(BUILD_ALL) MODE=sanitize test-build
	@scripts/run-tests build/sanitize $(SANITIZE_TESTS)

# The unit tests alone: races are between the threads of a worker, and they drive its engine with as many.
tsan: test-deps
	@$(BUILD_ALL) MODE=tsan test-build
	@UNIT_ONLY=1 scripts/run-tests build/tsan

# Load, deploys good and bad, kills, upgrades: the figures balance at the end, or it is red.
MINUTES ?= 30
soak: test-deps
	@$(BUILD_ALL) all
	@$(PYTHON) tests/load/soak.py --minutes $(MINUTES) --binary $(BUILD)/cserve

debug release:
	@$(BUILD_ALL) MODE=$@ all

lint: lint-deps $(LLHTTP_HEADER)
	@scripts/lint $(PYTHON) $(LLHTTP_CFLAGS)

format:
	clang-format -i $(SOURCES) $(HEADERS) $(wildcard tests/unit/*/*.[ch] tests/fuzz/*.[ch] benchmarks/floor/*.[ch])

docs: $(BUILD)/cserve
	$(BUILD)/cserve --generate=ini >conf/cserve.ini
	$(BUILD)/cserve --generate=markdown >docs/settings.md
	$(BUILD)/cserve --generate=man >docs/cserve.8

# ---- installing ----

SHARE    = $(DESTDIR)$(PREFIX)/share
INSTALL := install -D -m 0644
SAMPLES := conf/cserve.ini conf/cserve.service conf/cserve.socket conf/nginx.conf

install: all
	install -D -m 0755 $(BUILD)/cserve $(DESTDIR)$(PREFIX)/bin/cserve
	$(INSTALL) docs/cserve.8 $(SHARE)/man/man8/cserve.8
	$(INSTALL) -t $(SHARE)/doc/cserve LICENSE README.md $(wildcard docs/*.md) $(SAMPLES)

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/cserve $(SHARE)/man/man8/cserve.8
	rm -rf $(SHARE)/doc/cserve

clean:
	rm -rf build

help:
	@echo 'make              build/cserve; PYTHON=/path/to/python3 picks the interpreter, V=1 shows the commands'
	@echo 'make run          installs what the build lacks, builds, serves an example on http://127.0.0.1:8000'
	@echo 'make test         installs what the tests lack, builds, runs unit and end-to-end tests;'
	@echo '                  TEST_OPTIONS="-k reload" goes to pytest'
	@echo 'make sanitize     the unit tests and the core of the end-to-end tests under ASan and UBSan'
	@echo 'make tsan         the unit tests, the engine with many threads among them, under ThreadSanitizer'
	@echo 'make soak         a server under load while everything happens to it, MINUTES=30; prints the figures'
	@echo 'make lint         clang-format, clang-tidy, cppcheck        make format    rewrites the sources in our format'
	@echo 'make debug        build/debug/cserve                        make release   build/release/cserve: -O3 and LTO'
	@echo 'make install      PREFIX=/usr/local DESTDIR= MODE=release   make uninstall removes it'
	@echo 'make fuzz         libFuzzer harnesses, SECONDS=30 each      make docs      generates conf/cserve.ini and docs/'
	@echo 'make bench        cserve beside every server installed here, SCENARIOS=hello,browser ROUNDS=5 SECONDS=1; benchmarks/README.md'
	@echo '                  make bench-peers installs more of them; make bench-report writes docs/benchmarks/'
	@echo 'make bench-check  instructions and system calls per request against their bounds; UPDATE=1 records them'
	@echo 'make clean        removes build/'

FORCE:
.PHONY: all deps test-deps lint-deps fuzz-deps run test test-build sanitize tsan soak debug release lint format docs install uninstall clean help FORCE
.DELETE_ON_ERROR:

-include tests/fuzz/fuzz.mk
include benchmarks/bench.mk
