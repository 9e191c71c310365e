# The benchmarks: benchmarks/README.md explains them. Included by the Makefile.
#   make bench ROUNDS=5 SECONDS=1 SCENARIOS=hello,browser SERVERS=floor,cserve    merges into build/bench/results.json
#   make bench-report REPORT=docs/benchmarks                                     writes the report from it
#   make bench-check UPDATE=1                                                    records what a request costs now

ROUNDS    ?= 5
SCENARIOS ?= all
SERVERS   ?= all
REPORT    ?= docs/benchmarks
BENCH     := build/bench
BENCH_VENV := build/bench-venv
FLOORS    := $(BENCH)/kernel $(BENCH)/python
PEERS     ?= bjoern fastwsgi granian meinheld

BENCH_PACKAGES := wrk util-linux python3-matplotlib python3-flask python3-django gunicorn uwsgi-core uwsgi-plugin-python3 \
                  python3-waitress python3-cheroot libapache2-mod-wsgi-py3
PEER_PACKAGES  := python3-venv libev-dev python3-greenlet
CHECK_PACKAGES := valgrind strace binutils

bench-deps:
	@scripts/install-deps $(BUILD_PACKAGES) $(BENCH_PACKAGES)

# One after the other: what cannot be built here, or not for this interpreter, is said and left out. Nothing is taken along but the peer
# itself: meinheld asks for a greenlet that newer interpreters cannot build, and runs with Debian's.
bench-peers:
	@scripts/install-deps $(BUILD_PACKAGES) $(PEER_PACKAGES)
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv --system-site-packages $(BENCH_VENV)
	@for peer in $(PEERS); do \
	    $(BENCH_VENV)/bin/python -m pip install -q --no-input --disable-pip-version-check --no-deps $$peer >$(BENCH_VENV)/$$peer.log 2>&1 && \
	        echo "  $$peer" || echo "  $$peer: not installed, see $(BENCH_VENV)/$$peer.log"; \
	done

# The floors run on the interpreter that cserve embeds, linked in the same way.
$(BENCH)/kernel: benchmarks/floor/kernel.c benchmarks/floor/net.h
	@mkdir -p $(@D)
	$(call say,cc)$(CC) -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wno-unused-parameter -o $@ $<
$(BENCH)/python: benchmarks/floor/python.c benchmarks/floor/net.h $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,cc)$(CC) -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wno-unused-parameter $(PYTHON_CFLAGS) -o $@ $< $(PYTHON_LIBS)

BENCH_RUN = $(PYTHON) -B benchmarks/run.py --binary $(BUILD)/cserve --floors $(BENCH) --python $(PYTHON) --venv $(BENCH_VENV) \
            --results $(BENCH)/results.json

bench: bench-deps
	@$(BUILD_ALL) $(BUILD)/cserve $(FLOORS)
	@$(BENCH_RUN) measure --scenarios $(SCENARIOS) --servers $(SERVERS) --rounds $(ROUNDS) --seconds $(if $(filter file,$(origin SECONDS)),1,$(SECONDS))
	@$(MAKE) --no-print-directory bench-report REPORT=$(REPORT)

bench-report: bench-deps
	@$(BENCH_RUN) report --folder $(REPORT)

bench-check:
	@scripts/install-deps $(BUILD_PACKAGES) $(CHECK_PACKAGES)
	@$(BUILD_ALL) $(BUILD)/cserve
	@$(PYTHON) -B benchmarks/check.py --binary $(BUILD)/cserve --compiler '$(CC)' $(if $(UPDATE),--update)

.PHONY: bench-deps bench-peers bench bench-report bench-check
