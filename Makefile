# cserve: `make help` tells the targets.

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
BUILD  ?= build
CC     ?= cc

LAYERS  := base config io http wsgi process
SOURCES := $(wildcard src/*.c src/*/*.c)
HEADERS := $(wildcard include/*/*.h src/*/*.h)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
TEST_SOURCES := $(wildcard tests/unit/*/test_*.c)
TESTS   := $(TEST_SOURCES:tests/unit/%.c=$(BUILD)/tests/%)

BUILD_PACKAGES := gcc libc6-dev pkg-config python3-dev libinih-dev
TEST_PACKAGES  := libcmocka-dev python3-pytest python3-pytest-xdist python3-requests python3-flask python3-django wrk nginx curl \
                  procps nghttp2-client
LINT_PACKAGES  := clang-format clang-tidy cppcheck

# ---- flags ----

SANITIZE ?=
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wwrite-strings -Wundef \
            -Wno-unused-parameter
OPTIMIZE ?= -O2
HARDEN   ?= -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
CFLAGS   ?= -g
CFLAGS_ALL = -std=c11 -D_GNU_SOURCE -Iinclude -MMD -MP -fvisibility=hidden -fno-plt $(OPTIMIZE) $(HARDEN) \
             $(WARNINGS) $(if $(WERROR),-Werror) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) $(LLHTTP_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

PYTHON_CFLAGS = $(shell scripts/python-flags $(PYTHON) compile)
PYTHON_LIBS   = $(shell scripts/python-flags $(PYTHON) link)

# llhttp is the system's where it has one (Debian 13, Ubuntu 24.04), else Debian 13's static library in build/deps.
ifeq ($(wildcard /usr/include/llhttp.h),)
LLHTTP        := build/deps/root/usr/include/llhttp.h
LLHTTP_CFLAGS := -isystem build/deps/root/usr/include
LLHTTP_LIBS    = $(wildcard build/deps/root/usr/lib/*/libllhttp.a)
else
LLHTTP        := /usr/include/llhttp.h
LLHTTP_LIBS   := -lllhttp
endif

# ---- the program ----

all: $(BUILD)/cserve

# Linked anew, and everything compiled anew, when the flags change.
FLAGS_NOW = $(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(PYTHON) $(PYTHON_CFLAGS) $(PYTHON_LIBS)
$(BUILD)/flags: FORCE
	@$(shell mkdir -p $(@D))$(file >$@.new,$(FLAGS_NOW))cmp -s $@.new $@ 2>/dev/null && rm $@.new || mv $@.new $@

$(LLHTTP):
	scripts/fetch-llhttp build/deps

$(BUILD)/src/wsgi/%.o: CFLAGS_ALL += $(PYTHON_CFLAGS)
$(BUILD)/src/config/inifile.o: CFLAGS_ALL += -DINIH_VERSION='"$(shell pkg-config --modversion inih)"'
$(BUILD)/src/http/%.o $(BUILD)/src/wsgi/%.o: OPTIMIZE ?= -O2
$(BUILD)/src/%.o: src/%.c $(BUILD)/flags | $(LLHTTP)
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(BUILD)/cserve: $(OBJECTS)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $(OBJECTS) $(LLHTTP_LIBS) -linih -lpthread $(PYTHON_LIBS)

# One archive a layer: a test pulls in only what it refers to, so that no test but wsgi's needs libpython.
define layer
$(BUILD)/lib/$(1).a: $$(filter $(BUILD)/src/$(1)/%,$$(OBJECTS))
	@mkdir -p $$(@D)
	$$(QUIET)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer,$(l))))

ARCHIVES = $(foreach l,process wsgi http io config base,$(BUILD)/lib/$(l).a)
$(BUILD)/tests/%: tests/unit/%.c $(ARCHIVES)
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(CFLAGS_ALL) $(if $(filter wsgi/%,$*),$(PYTHON_CFLAGS)) -MF $@.d $(LDFLAGS_ALL) -o $@ $< \
	    $(filter-out $(if $(filter wsgi/%,$*),,%/wsgi.a),$(ARCHIVES)) $(LLHTTP_LIBS) -linih -lcmocka -lpthread \
	    $(if $(filter wsgi/%,$*),$(PYTHON_LIBS))

-include $(OBJECTS:.o=.d) $(TESTS:%=%.d)

QUIET = $(if $(V),,@echo "  $(notdir $@)" &&) 

# ---- running and testing ----

deps:
	@scripts/install-deps $(BUILD_PACKAGES)
test-deps: deps
	@scripts/install-deps $(TEST_PACKAGES)
lint-deps: deps
	@scripts/install-deps $(LINT_PACKAGES)

run: deps
	@$(MAKE) --no-print-directory all
	@echo
	@echo "cserve serves examples/hello at http://127.0.0.1:8000 - press Ctrl-C to stop it"
	@echo
	@exec $(BUILD)/cserve --chdir examples/hello wsgi:app

test: test-deps
	@$(MAKE) --no-print-directory test-build
	@scripts/run-tests $(BUILD) $(TEST_OPTIONS)

test-build: $(BUILD)/cserve $(TESTS)

sanitize: test-deps
	@$(MAKE) --no-print-directory BUILD=build/sanitize SANITIZE=address,undefined OPTIMIZE=-O1 HARDEN=-fPIE test-build
	@scripts/run-tests build/sanitize -m core

debug:
	@$(MAKE) --no-print-directory BUILD=build/debug OPTIMIZE=-Og HARDEN=-fPIE CFLAGS=-g3 all

release:
	@$(MAKE) --no-print-directory BUILD=build/release OPTIMIZE="-O3 -flto=auto" LDFLAGS="-O3 -flto=auto" all

lint: lint-deps
	@$(MAKE) --no-print-directory $(LLHTTP)
	@scripts/lint "$(LLHTTP_CFLAGS) $(PYTHON_CFLAGS)"

format:
	clang-format -i $(SOURCES) $(HEADERS) $(wildcard tests/unit/*/*.[ch] tests/fuzz/*.[ch])

docs: $(BUILD)/cserve
	@mkdir -p conf docs
	$(BUILD)/cserve --generate=ini >conf/cserve.ini
	$(BUILD)/cserve --generate=markdown >docs/settings.md
	$(BUILD)/cserve --generate=man >docs/cserve.8

install: all
	install -D -m 0755 $(BUILD)/cserve $(DESTDIR)$(PREFIX)/bin/cserve
	install -D -m 0644 docs/cserve.8 $(DESTDIR)$(PREFIX)/share/man/man8/cserve.8
	install -D -m 0644 conf/cserve.ini $(DESTDIR)$(PREFIX)/share/doc/cserve/cserve.ini
	install -D -m 0644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/cserve/LICENSE
	for f in cserve.service cserve.socket nginx.conf; do \
	    install -D -m 0644 conf/$$f $(DESTDIR)$(PREFIX)/share/doc/cserve/$$f; done

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/cserve $(DESTDIR)$(PREFIX)/share/man/man8/cserve.8
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/cserve

clean:
	rm -rf build

help:
	@echo "make            build build/cserve             make run        install what is missing, build, serve an example"
	@echo "make test       unit and end-to-end tests      make sanitize   the same under ASan and UBSan"
	@echo "make lint       format, clang-tidy, cppcheck   make format     rewrite the sources in our format"
	@echo "make debug      build/debug/cserve             make release    build/release/cserve with LTO"
	@echo "make install    PREFIX=$(PREFIX) DESTDIR=      make uninstall  remove what install put there"
	@echo "make docs       generate conf and docs from the options table"
	@echo "make clean      remove build/                  PYTHON=/path/to/python3 picks the interpreter, V=1 shows commands"

FORCE:
.PHONY: all deps test-deps lint-deps run test test-build sanitize debug release lint format docs install uninstall clean help FORCE
.DELETE_ON_ERROR:

-include tests/fuzz/fuzz.mk
