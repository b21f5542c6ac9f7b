EXTENSION  = vectorext
PG_CONFIG ?= pg_config
CARGO     ?= cargo
PROFILE   ?= release
PG_MAJOR  := $(shell $(PG_CONFIG) --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
TARGETDIR := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/pg$(PG_MAJOR)
SO        := $(TARGETDIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/lib$(EXTENSION).so
DATA       = $(wildcard sql/$(EXTENSION)--*.sql)
REGRESS    = $(patsubst tests/regress/sql/%.sql,%,$(sort $(wildcard tests/regress/sql/*.sql)))
REGRESS_OPTS = --inputdir=tests/regress --load-extension=$(EXTENSION)

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

all: $(EXTENSION).so
# always ask cargo: it knows what is stale
.PHONY: cargo-build
cargo-build:
	PGRX_PG_CONFIG_PATH=$(shell which $(PG_CONFIG)) $(CARGO) rustc --lib --crate-type cdylib \
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
