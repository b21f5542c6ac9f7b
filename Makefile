# `make help` names the targets. PG_CONFIG=/path/to/pg_config chooses the PostgreSQL.

EXTENSION  = vectorext
PG_CONFIG ?= pg_config
CARGO     ?= cargo
PROFILE   ?= release
PG_MAJOR  := $(shell $(PG_CONFIG) --version 2>/dev/null | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
TARGETDIR := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/pg$(PG_MAJOR)
SO        := $(TARGETDIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/lib$(EXTENSION).so
DATA       = $(wildcard sql/$(EXTENSION)--*.sql)
REGRESS    = $(patsubst tests/regress/sql/%.sql,%,$(sort $(wildcard tests/regress/sql/*.sql)))
REGRESS_OPTS = --inputdir=tests/regress --outputdir=target/regress --load-extension=$(EXTENSION)
EXTRA_CLEAN  = target/regress

# which PostgreSQL, for cargo and for the scripts
export PGRX_PG_CONFIG_PATH := $(shell command -v $(PG_CONFIG) 2>/dev/null)
# an unset PG_CONFIG stays unset there: install-prerequisites then chooses
ifneq ($(origin PG_CONFIG),file)
export PG_CONFIG
endif

PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)

all: $(EXTENSION).so
# always ask cargo: it knows what is stale
.PHONY: cargo-build
cargo-build:
	$(CARGO) rustc --lib --crate-type cdylib \
	  --profile $(PROFILE) --features pg$(PG_MAJOR) --target-dir $(TARGETDIR)
$(EXTENSION).so: cargo-build
	@cmp -s $(SO) $@ || cp $(SO) $@
install: install-so
.PHONY: install-so
install-so: all installdirs-so
	$(INSTALL_SHLIB) $(EXTENSION).so '$(DESTDIR)$(pkglibdir)/'
.PHONY: installdirs-so
installdirs-so:
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
uninstall: uninstall-so
.PHONY: uninstall-so
uninstall-so:
	rm -f '$(DESTDIR)$(pkglibdir)/$(EXTENSION).so'
installcheck: regress-output
.PHONY: regress-output
regress-output:
	@mkdir -p target/regress
clean: clean-so
.PHONY: clean-so
clean-so:
	rm -f $(EXTENSION).so

else
.PHONY: all install installcheck
all install installcheck:
	@echo "'$(PG_CONFIG) --pgxs' leads to no PostgreSQL development files."
	@echo "Run 'make prerequisites', or give PG_CONFIG=/path/to/pg_config."
	@false
.DEFAULT_GOAL := all
endif

.PHONY: help prerequisites demo demo-stop test torture bench fmt check-format lint
help:
	@echo "make                  builds $(EXTENSION).so"
	@echo "make install          installs it (DESTDIR, PG_CONFIG)"
	@echo "make demo             everything from nothing to searches; KEEP=1 leaves the server running"
	@echo "make demo-stop        stops that server"
	@echo "make test             all tests, with servers of their own"
	@echo "make torture          kills servers for MINUTES (30), flips bits in indexes; prints counts"
	@echo "make installcheck     SQL regression in a running server (PGHOST, PGPORT, ...)"
	@echo "make bench            every table of benches/README.md, beside pgvector and hnswlib (20 minutes;"
	@echo "                      PARTS=build,search for some, ROWS=20000 for a first look)"
	@echo "make fmt lint         formats; clippy over both halves, warnings are errors"
	@echo "make prerequisites    installs what building and testing takes (Debian, Ubuntu)"
prerequisites:
	@scripts/install-prerequisites tests
demo:
	@scripts/demo
demo-stop:
	@scripts/demo stop
test:
	@scripts/test
torture:
	@MINUTES='$(MINUTES)' scripts/torture
bench:
	@scripts/bench
fmt:
	$(CARGO) fmt --all
check-format:
	$(CARGO) fmt --all -- --check
lint:
	$(CARGO) clippy --all-targets --features server-tests -- -D warnings
	$(CARGO) clippy --lib --profile $(PROFILE) --features pg$(PG_MAJOR) --target-dir $(TARGETDIR) -- -D warnings
