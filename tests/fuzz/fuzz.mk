# Fuzzing with libFuzzer: `make fuzz SECONDS=60` runs every harness for that long, `make fuzz FUZZ=engine` one of them.
# Included by the Makefile; uses LLHTTP_CFLAGS, LLHTTP_LIBS, INIH_CFLAGS and INIH_LIBS from there. Wants clang and its libFuzzer
# (Debian: clang libclang-rt-14-dev). What a run learns stays in build/fuzz/corpus; an input that fails is written to build/fuzz.

FUZZ ?= proxy_protocol forwarded chunked inifile engine
SECONDS ?= 30
FUZZ_CC ?= clang
FUZZ_DIR = build/fuzz

FUZZ_CFLAGS = -std=c11 -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -Wall -Wextra -Iinclude -Itests/fuzz \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined $(LLHTTP_CFLAGS) $(INIH_CFLAGS)
FUZZ_LIBS = $(LLHTTP_LIBS) $(INIH_LIBS) -lpthread
FUZZ_OBJECTS = $(patsubst src/%.c,$(FUZZ_DIR)/obj/%.o,$(wildcard src/base/*.c src/config/*.c src/io/*.c src/http/*.c))

$(FUZZ_DIR)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -MMD -MP -c $< -o $@

$(FUZZ_DIR)/libcserve.a: $(FUZZ_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(FUZZ_DIR)/fuzz_%: tests/fuzz/%.c tests/fuzz/fuzz.h $(FUZZ_DIR)/libcserve.a
	$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer $< $(FUZZ_DIR)/libcserve.a $(FUZZ_LIBS) -o $@

.PHONY: fuzz fuzz-build
fuzz-build: $(FUZZ:%=$(FUZZ_DIR)/fuzz_%)

fuzz: fuzz-build
	@for harness in $(FUZZ); do \
		mkdir -p $(FUZZ_DIR)/corpus/$$harness; \
		echo "fuzz: $$harness for $(SECONDS) s"; \
		$(FUZZ_DIR)/fuzz_$$harness -max_total_time=$(SECONDS) -timeout=20 -max_len=8192 -verbosity=0 -print_final_stats=1 \
			$$(test -f tests/fuzz/$$harness.dict && echo -dict=tests/fuzz/$$harness.dict) \
			-artifact_prefix=$(FUZZ_DIR)/$$harness- $(FUZZ_DIR)/corpus/$$harness tests/fuzz/seeds/$$harness \
			|| { echo "fuzz: $$harness failed; the input is in $(FUZZ_DIR)" >&2; exit 1; }; \
	done

-include $(FUZZ_OBJECTS:.o=.d)
