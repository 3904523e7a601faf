# autopilot-sync: build, test and install. `make help` lists what can be asked for.

BUILD := build
PREFIX ?= /usr/local
# A distribution with a folder for each architecture: LIBDIR=/usr/lib/x86_64-linux-gnu.
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
LIBDIR ?= $(PREFIX)/lib
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
INSTALL ?= install
# Told by the compiler, which may be one for another system than this one.
SYSTEM := $(if $(findstring mingw,$(shell $(CC) -dumpmachine 2>/dev/null)),Windows,$(shell uname -s))
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
export PACKAGES SPEC SEED FUZZ_SECONDS

# ---- For which Luas: all whose headers are there, or the one of `make LUA=lua5.4` ----------------

# The first of them runs the command, so one comes first for which distributions have all modules.
ALL_LUAS := lua5.4 lua5.5 lua5.3 lua5.2 lua5.1 luajit
exists = $(shell $(PKG_CONFIG) --exists '$(1)' 2>/dev/null && echo yes)
ifeq ($(origin LUA),command line)
LUAS := $(LUA)
$(foreach lua,$(filter-out $(ALL_LUAS),$(LUA)),$(error there is no $(lua): LUA is one of $(ALL_LUAS)))
else
LUAS := $(strip $(foreach lua,$(ALL_LUAS),$(if $(call exists,$(lua)),$(lua))))
endif
export LUAS

# What is missing, by Debian's names.
header_package_lua5.1 := liblua5.1-0-dev
header_package_luajit := libluajit2-5.1-dev
header_package = $(or $(header_package_$(1)),lib$(1)-dev)
ifeq ($(shell command -v $(firstword $(PKG_CONFIG)) 2>/dev/null),)
missing := pkg-config libcurl4-openssl-dev $(call header_package,$(or $(LUAS),lua5.4))
else
missing := $(strip \
	$(if $(call exists,libcurl),,libcurl4-openssl-dev) \
	$(foreach lua,$(or $(LUAS),lua5.4),$(if $(call exists,$(lua)),,$(call header_package,$(lua)))))
old_curl := $(if $(call exists,libcurl < 7.80),$(shell $(PKG_CONFIG) --modversion libcurl))
endif

# ---- How -----------------------------------------------------------------------------------------

# One short line for each file; `make V=1` shows the whole commands.
run = $(if $(V),$(1),@echo '  cc  $@' && $(1))

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes
COMPILE = $(CC) $(CPPFLAGS) -std=c99 $(WARNINGS) $(if $(CI),-Werror) $(CFLAGS) $(SANITIZER) \
	$(CODE) -fvisibility=hidden -MMD -MP $(CURL_CFLAGS)
CURL_CFLAGS := $(shell $(PKG_CONFIG) --cflags libcurl 2>/dev/null)
CURL_LIBS := $(shell $(PKG_CONFIG) --libs libcurl 2>/dev/null || echo -lcurl)

# The module is never unloaded (nodelete): a resolver thread of libcurl may outlive the Lua state.
# It never links liblua: its functions are found in the program that loads it. On Windows they are
# those of Lua's DLL.
MODULE := core.so
CODE := -pthread -fPIC
ifeq ($(SYSTEM),Windows)
MODULE := core.dll
CODE :=
LINK_MODULE = $(CC) -shared
lua_libs = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null) -lws2_32 -lbcrypt -ladvapi32
else ifeq ($(SYSTEM),Darwin)
LINK_MODULE = $(CC) -pthread -bundle -undefined dynamic_lookup
else
LINK_MODULE = $(CC) -pthread -shared -Wl,-z,nodelete
endif

# `make SANITIZE=yes` builds the same beside it, with the address and undefined sanitizers.
ifdef SANITIZE
KIND := -sanitized
SANITIZER := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
endif

# ---- Sources: plain C is compiled once, the bindings once for each Lua ---------------------------

# The thread beside nginx's event loop.
posix_only := $(addprefix src/,lua_transfer_thread.c transfer_thread.c wake_socket.c)
left_out := $(if $(filter Windows,$(SYSTEM)),$(posix_only))
binding_sources := $(filter-out $(left_out),$(wildcard src/lua_*.c src/core.c))
plain_sources := $(filter-out $(left_out) $(binding_sources),$(wildcard src/*.c src/*/*.c))
plain_objects := $(plain_sources:src/%.c=$(BUILD)/c$(KIND)/%.o)
test_sources := $(wildcard spec/c/*_test.c)
tests := $(test_sources:spec/c/%.c=$(BUILD)/tests$(KIND)/%)
# Again, without what only Linux has.
ifeq ($(SYSTEM)$(KIND),Linux)
plain_unix := src/wake_socket.c src/platform/posix.c
tests += $(patsubst spec/c/%.c,$(BUILD)/tests-plain-unix/%,$(wildcard spec/c/transfer_thread*_test.c))
endif
modules := $(LUAS:%=$(BUILD)/%$(KIND)/autopilot/$(MODULE))

all: headers $(modules)

tests: headers $(tests)

$(BUILD)/c$(KIND)/%.o: src/%.c Makefile | headers
	@mkdir -p $(@D)
	$(call run,$(COMPILE) -c -o $@ $<)

$(BUILD)/tests$(KIND)/%: spec/c/%.c $(plain_objects) Makefile | headers
	@mkdir -p $(@D)
	$(call run,$(COMPILE) -Isrc -o $@ $< $(plain_objects) $(LDFLAGS) $(CURL_LIBS) -lm)

$(BUILD)/tests-plain-unix/%: spec/c/%.c spec/c/plain_unix.h $(plain_unix) $(plain_objects) Makefile | headers
	@mkdir -p $(@D)
	$(call run,$(COMPILE) -include spec/c/plain_unix.h -Isrc -o $@ $< $(plain_unix) \
		$(filter-out $(plain_unix:src/%.c=$(BUILD)/c/%.o),$(plain_objects)) \
		$(LDFLAGS) $(CURL_LIBS) -lm)

# $(1): one Lua
define module_rules
lua_cflags_$(1) := $$(shell $$(PKG_CONFIG) --cflags $(1) 2>/dev/null)

$(BUILD)/$(1)$(KIND)/%.o: src/%.c Makefile | headers
	@mkdir -p $$(@D)
	$$(call run,$$(COMPILE) $$(lua_cflags_$(1)) -c -o $$@ $$<)

$(BUILD)/$(1)$(KIND)/autopilot/$(MODULE): $(binding_sources:src/%.c=$(BUILD)/$(1)$(KIND)/%.o) \
		$(plain_objects)
	@mkdir -p $$(@D)
	$$(call run,$$(LINK_MODULE) $$(CFLAGS) $$(SANITIZER) -o $$@ $$^ $$(LDFLAGS) $$(CURL_LIBS) \
		$$(call lua_libs,$(1)))
endef
$(foreach lua,$(LUAS),$(eval $(call module_rules,$(lua))))

headers:
ifneq ($(old_curl),)
	@echo "libcurl $(old_curl) is too old: autopilot-sync needs 7.80.0 or later" >&2
	@exit 1
else ifneq ($(missing),)
	@echo "The build needs pkg-config, libcurl >= 7.80 and the headers of a Lua. Missing here:" >&2
	@echo "  apt-get install --no-install-recommends $(missing)" >&2
	@exit 1
endif

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*.d)

# ---- Tasks: first their packages (once), then a make that sees what has been installed -----------

TASKS := demo test lint sanitize fuzz bench worlds windows-test

$(TASKS): %: $(BUILD)/packages/%
	@$(MAKE) --no-print-directory run-$@

$(BUILD)/packages/%: .ci/packages
	@.ci/packages $*
	@mkdir -p $(@D) && touch $@

run-demo: all
	@.ci/with-lua $(firstword $(LUAS)) examples/demo.sh

# Clients that the emulated service is tried with, a server that judges our sign-ins, and what drives a browser
# to the portal's dashboard. Without Node.js or its registry these specs are pending.
node_packages := $(BUILD)/node/package.json
has_npm := $(if $(filter no,$(PACKAGES)),,$(shell command -v node >/dev/null && command -v npm))

$(node_packages): spec/node/package.json
	@mkdir -p $(@D) && cp $< $@
	@npm install --prefix $(@D) --no-audit --no-fund --no-package-lock --fetch-retries=1 \
		>$(@D)/log 2>&1 </dev/null || { rm $@; echo "npm failed, see $(@D)/log; going on" >&2; }

wants_node := $(if $(SPEC),$(strip $(foreach it,node_clients oidc_provider dashboard,$(findstring $(it),$(SPEC)))),yes)
run-test: all $(if $(SPEC),,tests) $(if $(and $(has_npm),$(wants_node)),$(node_packages))
	@.ci/test

run-lint:
	@CPPFLAGS="$(CPPFLAGS) $(CURL_CFLAGS)" WARNINGS="$(WARNINGS)" .ci/lint

run-sanitize:
	@$(MAKE) --no-print-directory SANITIZE=yes LUA=lua5.4 all tests
	@$(MAKE) --no-print-directory LUA=lua5.4 all tests
	@.ci/sanitize

run-fuzz: headers
	@CFLAGS="$(CPPFLAGS) $(CURL_CFLAGS)" LIBS="$(CURL_LIBS)" .ci/fuzz $(plain_sources)

run-worlds:
	@.ci/worlds

run-windows-test: all
	@.ci/windows-test

run-bench: all
	@.ci/with-lua lua5.4 spec/bench/run.sh

bench-machines: all $(BUILD)/packages/test
	@.ci/with-lua lua5.4 lua5.4 spec/bench/machines.lua

bench-fleet: all $(BUILD)/packages/bench
	@.ci/with-lua lua5.4 spec/bench/fleet.sh

# ---- Install -------------------------------------------------------------------------------------

# LuaJIT has the paths of Lua 5.1 and loads what was built for it, so that one wins.
lua_version = $(if $(filter luajit,$(1)),5.1,$(1:lua%=%))
installed_luas = $(if $(filter lua5.1,$(LUAS)),$(filter-out luajit,$(LUAS)),$(LUAS))
# The command runs on the first of them whose interpreter is there too.
command_lua = $(firstword $(foreach lua,$(LUAS),$(shell command -v $(lua) >/dev/null && echo $(lua))) \
	$(LUAS))
docs = $(DATADIR)/doc/autopilot-sync
portal := examples/openresty
example_folders := $(sort $(dir $(shell find examples -type f)))
lua_folders := $(sort $(dir $(shell find lua -name '*.lua')))

# As the shell sees a folder that may be given relative to this one.
absolute = case '$(1)' in /*) printf '%s' '$(1)' ;; *) printf '%s' '$(CURDIR)/$(1)' ;; esac

# $(1): one Lua; $(2): its version
define install_one
	for folder in $(lua_folders:lua/%=%); do \
		$(INSTALL) -d "$(DESTDIR)$(DATADIR)/lua/$(2)/$$folder" && \
		$(INSTALL) -m 644 lua/$$folder*.lua "$(DESTDIR)$(DATADIR)/lua/$(2)/$$folder" || exit 1; \
	done
	$(INSTALL) -d "$(DESTDIR)$(LIBDIR)/lua/$(2)/autopilot"
	$(INSTALL) -m 755 $(BUILD)/$(1)/autopilot/$(MODULE) "$(DESTDIR)$(LIBDIR)/lua/$(2)/autopilot"

endef

# Says how a Lua finds what was installed, where it does not look there by itself.
define tell_path
	@data="$$($(call absolute,$(DATADIR)))/lua/$(2)"; lib="$$($(call absolute,$(LIBDIR)))/lua/$(2)"; \
	if [ -z "$(DESTDIR)" ] && command -v $(1) >/dev/null && ! (cd / && unset LUA_PATH LUA_CPATH && \
		$(1) -e 'require "autopilot.version" require "autopilot.core"') 2>/dev/null; then \
		echo "$(1) does not look there. The command does; for scripts of yours:"; \
		echo "  export LUA_PATH='$$data/?.lua;$$data/?/init.lua;;' LUA_CPATH='$$lib/?.so;;'"; \
	fi

endef

install: all
	$(foreach lua,$(installed_luas),$(call install_one,$(lua),$(call lua_version,$(lua))))
	$(INSTALL) -d "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(DATADIR)/autopilot-sync/portal/portal" \
		"$(DESTDIR)$(docs)/doc"
	data=$$($(call absolute,$(DATADIR))) && lib=$$($(call absolute,$(LIBDIR))) && \
	folders=$$(printf '[[%s/lua/]], [[%s/lua/]]' "$$data" "$$lib" | sed 's/[&|\\]/\\&/g') && \
	sed -e '1s|.*|#!/usr/bin/env $(command_lua)|' -e "s|^local lua, c = .*|local lua, c = $$folders|" \
		bin/autopilot-sync > "$(DESTDIR)$(BINDIR)/autopilot-sync"
	chmod 755 "$(DESTDIR)$(BINDIR)/autopilot-sync"
	$(INSTALL) -m 644 $(filter-out $(portal)/portal $(portal)/prepare,$(wildcard $(portal)/*)) \
		"$(DESTDIR)$(DATADIR)/autopilot-sync/portal"
	$(INSTALL) -m 755 $(portal)/prepare "$(DESTDIR)$(DATADIR)/autopilot-sync/portal"
	$(INSTALL) -m 644 $(portal)/portal/*.lua "$(DESTDIR)$(DATADIR)/autopilot-sync/portal/portal"
	$(INSTALL) -m 644 *.md LICENSE "$(DESTDIR)$(docs)"
	$(INSTALL) -m 644 doc/*.md "$(DESTDIR)$(docs)/doc"
	for folder in $(filter-out $(portal)/%,$(example_folders)); do \
		$(INSTALL) -d "$(DESTDIR)$(docs)/$$folder" && \
		$(INSTALL) -m 644 $$(find $$folder -maxdepth 1 -type f) "$(DESTDIR)$(docs)/$$folder" || exit 1; \
	done
	chmod 755 "$(DESTDIR)$(docs)/examples/"*.sh
	ln -sfn ../../../autopilot-sync/portal "$(DESTDIR)$(docs)/$(portal)"
	$(INSTALL) -d "$(DESTDIR)$(DATADIR)/man/man1"
	$(man_page) > "$(DESTDIR)$(DATADIR)/man/man1/autopilot-sync.1" 2>/dev/null || \
		rm "$(DESTDIR)$(DATADIR)/man/man1/autopilot-sync.1" # another system's build, or no argparse
	$(foreach lua,$(installed_luas),$(call tell_path,$(lua),$(call lua_version,$(lua))))
	@if [ -z "$(DESTDIR)" ] && ! $(command_lua) -e 'require "cjson.safe" require "argparse"' 2>/dev/null; then \
		echo "The command needs $(command_lua), lua-cjson and argparse, and not all of them are here. Debian:"; \
		echo "  apt-get install --no-install-recommends $(command_lua) lua-cjson lua-argparse"; \
		echo "LuaRocks: lua-cjson, argparse. Then make install again, for the man page."; \
	fi

# Made of what reads the arguments.
man_page = .ci/with-lua $(command_lua) $(command_lua) .ci/man.lua

man: all
	@$(man_page)

# Of every Lua, or of the one of `make uninstall LUA=lua5.4`; folders that are empty then go too.
removed_versions = $(sort $(foreach lua,$(if $(filter command line,$(origin LUA)),$(LUA),$(ALL_LUAS)),$(call \
	lua_version,$(lua))))

uninstall:
	for version in $(removed_versions); do \
		rm -rf "$(DESTDIR)$(DATADIR)/lua/$$version/autopilot"; \
		rm -f "$(DESTDIR)$(LIBDIR)/lua/$$version/autopilot/core".*; \
		for folder in "$(DATADIR)/lua/$$version" "$(LIBDIR)/lua/$$version/autopilot" \
			"$(LIBDIR)/lua/$$version"; do \
			rmdir "$(DESTDIR)$$folder" 2>/dev/null || true; \
		done; \
	done
ifneq ($(origin LUA),command line)
	rm -rf "$(DESTDIR)$(DATADIR)/autopilot-sync" "$(DESTDIR)$(docs)"
	rm -f "$(DESTDIR)$(BINDIR)/autopilot-sync" "$(DESTDIR)$(DATADIR)/man/man1/autopilot-sync.1"
endif

# A release: the archive of the commit, and its rockspec. REPOSITORY=https://… is where it is published.
dist:
	@.ci/dist $(REPOSITORY)

clean:
	rm -rf $(BUILD)

help:
	@sed -n 's/^#: //p' Makefile

#: make                  builds autopilot.core for every Lua whose headers are there (LUA=lua5.4: one)
#: make demo             shows the command against the emulated service, over TLS on loopback
#: make test             the C tests, then the specs on every Lua (LUA=lua5.4 SPEC=spec/x_spec.lua: one)
#: make lint             luacheck, clang-format, clang-tidy, cppcheck, compilers' warnings, stylua
#: make sanitize         C tests and specs under ASan and UBSan, then under valgrind
#: make fuzz             the parsers' fuzzers for FUZZ_SECONDS (10) each
#: make worlds           Windows' compiler, other processors and releases of Debian, GnuTLS
#: make windows-test     builds libcurl and Lua for Windows too, and runs specs in wine
#: make bench            the figures of doc/performance.md
#: make bench-fleet      those of a fleet
#: make bench-machines   those of stores, and of a fleet over several machines
#: make install          to PREFIX (/usr/local), below DESTDIR, also BINDIR, DATADIR, LIBDIR; the command finds
#:                       its modules there (LUA="lua5.1 lua5.4": for these)
#: make man              prints the man page of the command
#: make uninstall        removes what was installed there
#: make dist             the archive and rockspec of a release, in build/dist (REPOSITORY=https://…)
#: make clean            removes build/
#: Packages that are missing are installed through apt; PACKAGES=no leaves that to you.
#: V=1 shows whole commands.

.PHONY: all tests headers install uninstall dist man clean help bench-fleet bench-machines $(TASKS) \
	$(TASKS:%=run-%)
