# banger: one-command development sandboxes on microVMs.
#   make run              set everything up and run a command in a sandbox
#   make run ARGS='…'     the same with any arguments of `banger vm run`
#   make build            the programs, in bin/
#   make unit             the fast tests: no guests; some minutes on two cores
#   make test             the whole test suite, real guests included; TESTS=./internal/… selects
#   make soak             random work under kills and on a full disk, held to a model: ten minutes;
#                         TIME=1h to choose, SEED=N for the steps of another run, GUESTS=real for real guests
#   make check            format, vet, lint, race detector, documentation, vulnerabilities
#   make lint             what of that needs no tests
#   make bench            measurements, written to docs from a commit, or to the directory OUT=DIR;
#                         ONLY=downtime,… measures parts alone (ONLY=? lists them), and writes nothing
#   make bench-images     the same of images: unpacking, and starts from small and large ones
#   make lab              system mode's scenarios, in the lab host; SCENARIO=word selects,
#                         PAIRS=DIR has DIR/VERSION/{firecracker,jailer} to play them with,
#                         TIME=20m begins none after that, CONTINUE=1 leaves out what the last run has
#                         passed with the same programs, and LABS=2 runs them in two hosts
#   make lab-list         the names of the scenarios
#   make lab-shell        a shell in a lab host
#   make lab-bench        the same of system mode, in a lab host
#   make mutation         whether the tests of what bounds privileges see changes of its code;
#                         PACKAGES='internal/host/proc …' selects (hours on a slow machine)
#   make docs             the generated reference pages
#   make release          the files of a release: VERSION=vX.Y.Z, and the repository that
#                         it updates itself from: ROOT=file REPOSITORY=url (docs/release.md)
#   make release-check    builds a release again from a clone and compares it byte by byte: VERSION=vX.Y.Z

SHELL    := /bin/bash
PROGRAMS := banger bangerd bangerd-root banger-agent
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT   ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X banger/internal/buildinfo.version=$(VERSION) -X banger/internal/buildinfo.commit=$(COMMIT)
ARGS     ?= --rm --timing -- uname -a
# A checkout that belongs to somebody else is built in a place of one's own.
BIN      := $(shell mkdir -p bin 2>/dev/null; if [ -w bin ]; then echo bin; else echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/banger/build"; fi)
# The toolchain that scripts/need-go.sh fetches if the machine has no Go that can build banger.
GO_HOME  := $(abspath $(shell mkdir -p .cache 2>/dev/null; if [ -w .cache ]; then echo .cache; else echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/banger"; fi)/go-$(shell awk '!/^\#/ { print $$1; exit }' scripts/go-toolchain))
export PATH := $(GO_HOME)/bin:$(PATH)
# The tools have a module of their own (tools/go.mod), which go.work adds.
ALL      := ./... ./tools/...
export CGO_ENABLED := 0

.PHONY: help run build deps unit test soak race check lint docs committed bench bench-images lab lab-list lab-shell lab-bench mutation release release-check clean

# First, so that `make` alone installs and starts nothing.
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

run: build
	@'$(BIN)/banger' vm run $(ARGS)

build:
	@scripts/deps.sh run
	@scripts/need-go.sh '$(GO_HOME)'
	@mkdir -p '$(BIN)'; [ '$(BIN)' = bin ] || echo "make: bin/ belongs to someone else; building in $(BIN)" >&2
	@GOWORK=off go build -trimpath -ldflags '$(LDFLAGS)' -o '$(BIN)/' $(addprefix ./cmd/,$(PROGRAMS))
	@ln -sf banger '$(BIN)/git-remote-banger' # git's name for it, for URLs such as banger::dev

# What the tests need beside what `make run` needs.
deps:
	@scripts/deps.sh test

test: deps
	@scripts/need-go.sh '$(GO_HOME)'
	@go run ./tools/gotest -timeout 25m $(or $(TESTS),$(ALL))

# Packages of which each takes more than a few seconds are left to `make test`.
SLOW := internal/digeststore internal/guest internal/guest/budget internal/image internal/image/ext4 internal/image/oci/registry internal/host/network/netns internal/publish internal/vm
unit:
	@scripts/need-go.sh '$(GO_HOME)'
	@go run ./tools/gotest -short -timeout 5m $$(go list ./api/... ./client/... ./cmd/... ./internal/... | grep -vxF $(addprefix -e banger/,$(SLOW)))

soak: deps
	@scripts/need-go.sh '$(GO_HOME)'
	@BANGER_MODEL_TIME='$(or $(TIME),10m)' BANGER_MODEL_SEED='$(SEED)' BANGER_MODEL_GUESTS='$(GUESTS)' BANGER_MODEL_CLIENTS='$(or $(CLIENTS),5)' go test -count=1 -v -timeout 0 -run '^TestModel$$' ./test/model

# The race detector needs cgo and a C compiler, and makes programs start slowly. Real
# guests add nothing to it (-short leaves them to `make test`), nor do most sessions.
race:
	@CGO_ENABLED=1 go run ./tools/gotest -race -short -timeout 20m $$(go list $(ALL) | grep -v -e /test/e2e -e /test/script)
	@CGO_ENABLED=1 go run ./tools/gotest -race -timeout 10m -run '^TestScripts$$/^(vm_run|vm_exec|daemon_start_race|daemon_killed_exec)$$' ./test/script

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	@go vet $(ALL)
	@scripts/lint.sh

check: deps lint race

# Whole runs are kept in bin/mutation: what has not changed is not tested again.
PACKAGES ?= internal/host/proc internal/daemon/fcproc internal/rootapi internal/roothelper internal/roothelper/removetree
mutation:
	@scripts/need-go.sh '$(GO_HOME)'
	@nice go run ./tools/mutation -results '$(BIN)/mutation' $(PACKAGES)

docs:
	@go run ./tools/gendoc

# What is written to docs comes from a commit.
committed:
	@[ -n '$(OUT)' ] || scripts/need-commit.sh

bench: $(if $(ONLY),,committed) build
	@go run ./tools/bench -only '$(ONLY)' -out '$(OUT)'

bench-images: committed build
	@go run ./tools/bench -images -out '$(OUT)'

lab: build
	@go build -o '$(BIN)/' ./tools/lab
	@exec '$(BIN)/lab' run --build '$(BIN)' --scenario '$(SCENARIO)' --pairs '$(or $(PAIRS),$(LAB_PAIRS))' --labs '$(or $(LABS),1)' --time '$(or $(TIME),0)' $(if $(CONTINUE),--continue)

lab-list:
	@go run ./tools/lab run --list --scenario '$(SCENARIO)'

lab-shell: build
	@go run ./tools/lab shell

lab-bench: committed build
	@scripts/lab-bench.sh '$(BIN)' '$(OUT)'

# Not what git says: a release is what its maker calls it.
release: private VERSION := $(if $(filter command line environment,$(origin VERSION)),$(VERSION))
release:
	@scripts/need-go.sh '$(GO_HOME)'
	@go run ./tools/release build --version '$(VERSION)' --root '$(ROOT)' --repository '$(REPOSITORY)' --download '$(DOWNLOAD)'

release-check:
	@go run ./tools/release check 'dist/$(VERSION)'

clean:
	rm -rf bin
