# make           build build/ostree-push and its links
# make install   install them below $(DESTDIR)$(PREFIX)
# make uninstall remove what that has installed
# make dist      make a source archive that builds without a network
# make demo      show a push, through a private sshd
# make test      run all tests; RACE=1 with the race detector
# make lint      run go vet and staticcheck, which is fetched once
# make bench     measure, against rsync and Debian's ostree-push; some hours
# make bench-memory  measure the memory that each side takes at most
# make bench-walk  measure what it takes the receiver to look through a commit
# make deb       make the Debian package
# make rpm       make the rpm package, and check its spec file
# make test-deb  build, install, use and purge it on a clean Debian 12, as root
# make test-distro SUITE=trixie  the same there, and all tests
# make test-docker  run all tests in a container, with docker or podman
# make test-dist check the source archive, and that builds are reproducible
#
# All but install, uninstall, dist and test-docker install the Debian packages they lack.

PREFIX = /usr/local
DESTDIR =
bindir = $(DESTDIR)$(PREFIX)/bin
datadir = $(DESTDIR)$(PREFIX)/share
docdir = $(datadir)/doc/ostree-push
mandir = $(datadir)/man
bashdir = $(datadir)/bash-completion/completions
fishdir = $(datadir)/fish/vendor_completions.d
# Debian's zsh looks in vendor-completions.
zshdir = $(datadir)/zsh/$(ZSH_FUNCTIONS)
ZSH_FUNCTIONS = site-functions

GO = go
INSTALL = install
GOLDFLAGS =
VERSION := $(shell packaging/version.sh)
COMMIT := $(shell packaging/version.sh --commit)
LINKS = ostree-receive ostree-receive-0 ostree-receive-1 ostree-receive-shell
PAGES = $(notdir $(basename $(wildcard docs/man/*.md)))
# They link to each other, and so are installed as they lie here.
DOCS = README.md CHANGELOG.md CONTRIBUTING.md LICENSE packaging/README.md \
	$(wildcard docs/*.md docs/*.svg docs/examples/* docs/man/*.md)

# The program depends on the source, the compilers and the flags alone, not on
# where it is built, nor on what git says of that directory.
build: packages-build
	$(GO) build -trimpath -buildvcs=false \
		-ldflags '-X ostree-push/cli.version=$(VERSION) -X ostree-push/cli.commit=$(COMMIT) $(GOLDFLAGS)' \
		-o build/ostree-push .
	for link in $(LINKS); do ln -sf ostree-push build/$$link; done
	mkdir -p build/man
	for page in $(PAGES); do $(GO) tool go-md2man -in docs/man/$$page.md -out build/man/$$page || exit 1; done

# What was built is installed, so that `sudo make install` needs no compiler.
install:
	@test -x build/ostree-push || { echo "run make first" >&2; exit 1; }
	$(INSTALL) -d $(bindir) $(addprefix $(docdir)/,$(sort $(dir $(DOCS)))) $(mandir)/man1 $(mandir)/man5 $(mandir)/man8 \
		$(bashdir) $(fishdir) $(zshdir)
	$(INSTALL) -m 755 build/ostree-push $(bindir)/ostree-push
	for link in $(LINKS); do ln -sf ostree-push $(bindir)/$$link; done
	for file in $(DOCS); do $(INSTALL) -m 644 $$file $(docdir)/$$file || exit 1; done
	ln -sfn docs/examples $(docdir)/examples
	for page in $(PAGES); do $(INSTALL) -m 644 build/man/$$page $(mandir)/man$${page##*.}/$$page || exit 1; done
	for link in 0 1; do ln -sf ostree-receive.1 $(mandir)/man1/ostree-receive-$$link.1; done
	$(INSTALL) -m 644 packaging/completions/ostree-push.bash $(bashdir)/ostree-push
	for link in ostree-receive ostree-receive-1; do ln -sf ostree-push $(bashdir)/$$link; done
	$(INSTALL) -m 644 packaging/completions/*.fish $(fishdir)
	ln -sf ostree-receive.fish $(fishdir)/ostree-receive-1.fish
	$(INSTALL) -m 644 packaging/completions/_ostree-push $(zshdir)/_ostree-push

uninstall:
	rm -f $(bindir)/ostree-push $(addprefix $(bindir)/,$(LINKS)) \
		$(foreach page,$(PAGES),$(mandir)/man$(subst .,,$(suffix $(page)))/$(page)) \
		$(mandir)/man1/ostree-receive-0.1 $(mandir)/man1/ostree-receive-1.1 \
		$(bashdir)/ostree-push $(bashdir)/ostree-receive $(bashdir)/ostree-receive-1 \
		$(addprefix $(fishdir)/,$(notdir $(wildcard packaging/completions/*.fish)) ostree-receive-1.fish) \
		$(zshdir)/_ostree-push
	rm -rf $(docdir)

demo: packages-test build
	$(GO) run ./internal/demo -bin build

test: packages-test
	$(GO) vet ./...
	$(GO) test -timeout 40m $(if $(RACE),-race) $(TESTFLAGS) ./...

# Not a tool of go.mod: what it needs would be in each source archive, and ask for a newer Go.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
lint: packages-build
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

bench: packages-test build
	$(GO) run ./internal/bench -ours build $(BENCHFLAGS)

bench-memory: packages-test build
	$(GO) run ./internal/bench -ours build -memory $(BENCHFLAGS)

bench-walk: packages-test
	$(GO) test -run '^$$' -bench Walk -benchtime 5x -timeout 1h $(BENCHFLAGS) ./receive

dist:
	GO='$(GO)' packaging/dist.sh

test-dist: packages-build
	GO='$(GO)' packaging/test-dist.sh

deb: packages-deb
	GO='$(GO)' packaging/deb.sh

rpm: packages-rpm
	GO='$(GO)' packaging/rpm.sh

test-deb: packages-deb
	GO='$(GO)' packaging/test-distro.sh bookworm

SUITE = trixie
test-distro: packages-distro
	GO='$(GO)' packaging/test-distro.sh --tests $(SUITE)

test-docker:
	for engine in docker podman; do if $$engine info >/dev/null 2>&1; then break; fi; engine=; done; \
	[ -n "$$engine" ] || { echo "neither docker nor podman is there and working" >&2; exit 1; }; \
	$$engine build -f Dockerfile.test -t ostree-push-test . && $$engine run --rm ostree-push-test

packages-build packages-test packages-deb packages-rpm packages-distro:
	@GO='$(GO)' packaging/packages.sh $(@:packages-%=%)

clean:
	rm -rf build

.PHONY: build install uninstall demo test lint bench bench-memory bench-walk dist test-dist deb rpm test-deb test-distro test-docker \
	packages-build packages-test packages-deb packages-rpm packages-distro clean
