# make           build build/ostree-push and its links
# make install   install them below $(DESTDIR)$(PREFIX)/bin
# make demo      show a push, through a private sshd
# make test      run all tests; RACE=1 with the race detector
# make bench     measure, against rsync and Debian's ostree-push; some hours
# make bench-memory  measure the memory that each side takes for a million objects
#
# demo, test and both benches install the Debian packages they lack.

PREFIX = /usr/local
DESTDIR =
bindir = $(DESTDIR)$(PREFIX)/bin

GO = go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LINKS = ostree-receive ostree-receive-0 ostree-receive-1 ostree-receive-shell

build: packages-build
	$(GO) build -trimpath -ldflags '-X ostree-push/cli.version=$(VERSION)' -o build/ostree-push .
	for link in $(LINKS); do ln -sf ostree-push build/$$link; done

# What was built is installed, so that `sudo make install` needs no compiler.
install:
	@test -x build/ostree-push || { echo "run make first" >&2; exit 1; }
	install -d $(bindir)
	install build/ostree-push $(bindir)/ostree-push
	for link in $(LINKS); do ln -sf ostree-push $(bindir)/$$link; done

demo: packages-test build
	$(GO) run ./internal/demo -bin build

test: packages-test
	$(GO) vet ./...
	$(GO) test -timeout 20m $(if $(RACE),-race) $(TESTFLAGS) ./...

bench: packages-test build
	$(GO) run ./internal/bench -ours build $(BENCHFLAGS)

bench-memory: packages-test build
	$(GO) run ./internal/bench -ours build -memory $(BENCHFLAGS)

packages-build packages-test:
	@./packages.sh $(@:packages-%=%)

clean:
	rm -rf build

.PHONY: build install demo test bench bench-memory packages-build packages-test clean
