# The front door: `make` says what there is to make. CI calls the same targets.

PYTHON ?= python3
BIN = .venv/bin
LINT = build/lint/bin
KUBERNETES ?= build/kubernetes
RELEASE = build/release-tools/bin
QEMU = qemu-aarch64-static,qemu-arm-static,qemu-ppc64le-static,qemu-riscv64-static,qemu-s390x-static
WITHOUT_TOOLS = 'not static and not containers and not proxies and not prometheus and not strace and not browser'
CORE = $(shell find csrc yinyang -name '*.h' -o -name '*.p[yx][xd]' -o -path '*/wall/*')
SCRIPTS = $(shell grep -rlE '^#!.*\b(ba)?sh$$' .ci benchmarks tests tools)

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: .venv/made ## have the package in .venv, with all that its tests need; again when the core was changed
.venv/made: setup.py pyproject.toml $(CORE)
	$(PYTHON) -m venv .venv
	@touch .venv/begun  # a file that is changed while this runs is newer
	$(BIN)/pip install -q -e '.[test]'
	@mv .venv/begun $@

test: dev ## run the tests, on all CPUs; OPTIONS='-k NAME' chooses some
	$(BIN)/pytest -q -n auto --dist loadgroup $(OPTIONS)

lint: dev $(LINT)/made ## check style and types, and that the sdist has all files
	$(LINT)/ruff check .
	$(LINT)/ruff format --check --quiet .
	PATH=$(CURDIR)/$(LINT):$$PATH cython-lint benchmarks tests yinyang
	$(LINT)/cython -3 -Werror -Wextra -X cdivision=True -X boundscheck=False -X wraparound=False -o build/lint/core.c yinyang/_core.pyx
	$(LINT)/clang-format --dry-run -Werror csrc/*.[ch]
	$(LINT)/shellcheck $(SCRIPTS)
	$(LINT)/mypy
	$(LINT)/mypy --allow-untyped-decorators deploy/locustfile.py
	$(LINT)/python -m mypy.stubtest --concise --mypy-config-file pyproject.toml --allowlist tools/stubtest-allowlist.txt yinyang._core
	PATH=$(CURDIR)/$(LINT):$$PATH check-manifest --quiet
linters: $(LINT)/made ## install the linters, in build/lint, in the versions of tools/requirements-lint.txt
$(LINT)/made: tools/requirements-lint.txt
	$(PYTHON) -m venv build/lint
	$(LINT)/pip install -q -r tools/requirements-lint.txt
	@touch $@

format: $(LINT)/made ## format Python and C
	$(LINT)/ruff format .
	$(LINT)/clang-format -i csrc/*.[ch]

load: build/load/made ## install k6 (by Go, for minutes) and Locust, in build, for docs/load.md and its tests
	tools/install-k6
build/load/made: tests/requirements-load.txt
	$(PYTHON) -m venv build/load
	build/load/bin/pip install -q -r tests/requirements-load.txt
	@touch $@

static: dev ## build the static program, build/static/yinyang; ARCH=arm64 for another machine
	$(BIN)/python setup.py -q build_static

cross: dev ## build the static program for each architecture that Debian and musl have, and test some; OPTIONS='riscv64' chooses
	tools/cross-toolchains
	PYTHON=$(BIN)/python tests/cross $(OPTIONS)

image: ## build the container image; ENGINE=podman with another tool
	$(or $(ENGINE),docker) build -t yinyang .

dist: $(LINT)/made ## build sdist and wheel, in build/dist
	rm -rf build/dist
	$(LINT)/python -m build -o build/dist .
	! $(LINT)/python -m zipfile -l build/dist/*.whl | grep -E '\.(c|h|pyx|pxd) '  # no sources in the wheel

release: $(RELEASE)/made ## build all that a release consists of, in build/release (root; RELEASING.md)
	rm -rf build/release
	$(RELEASE)/python tools/release.py build/release
release-test: dev $(RELEASE)/made ## build a release twice, check it, push it to a registry of the test's own, and pull it (Go)
	tools/registry-tools
	YINYANG_REQUIRE=containers,static,skopeo,wget,file,jq,curl,$(QEMU) $(BIN)/pytest -q -m release $(OPTIONS)
release-tools: $(RELEASE)/made ## install what builds, checks and publishes a release, in build/release-tools
$(RELEASE)/made: tools/requirements-release.txt
	$(PYTHON) -m venv build/release-tools
	$(RELEASE)/pip install -q -r tools/requirements-release.txt
	@touch $@

wheel-test: ## test the wheel that is in build/dist; PYTHON=python3.13 on another version, OPTIONS='test_server.py' in part
	$(PYTHON) -m venv --clear build/wheel
	build/wheel/bin/pip install -q "$$(echo build/dist/*.whl)[watch]" pytest pytest-rerunfailures pytest-xdist hypothesis pillow prometheus-client
	cd tests && ../build/wheel/bin/pytest -q -p no:cacheprovider -n auto -m $(WITHOUT_TOOLS) $(or $(OPTIONS),.)

CLUSTER = $(addprefix $(KUBERNETES)/,kubernetes coredns metrics-server rollouts-controller flagger k6-operator k6-operator.yaml)
kubernetes: dev $(CLUSTER) ## try deploy/ on a Kubernetes of two nodes, which it builds (Go, root); OPTIONS chooses tests
	tools/install-kubectl
	tools/install-crds
	tools/install-k6
	$(BIN)/pip install -q -r tests/requirements-proxies.txt
	YINYANG_KUBERNETES=$(abspath $(KUBERNETES)) YINYANG_REQUIRE=kubernetes,containers,static,crds,prometheus,traefik,k6 \
		$(BIN)/pytest -q $(OPTIONS) tests/kubernetes
$(KUBERNETES)/kubernetes: $(wildcard tools/kubernetes/*)
	mkdir -p $(@D)
	cd tools/kubernetes && CGO_ENABLED=0 go build -trimpath -o $(abspath $@) -ldflags \
		"-s -w -X k8s.io/component-base/version.gitVersion=$$(go list -m -f '{{.Version}}' k8s.io/kubernetes)" .
$(addprefix $(KUBERNETES)/,coredns metrics-server): $(KUBERNETES)/%: $(wildcard tools/addons/* tools/addons/coredns/*)
	mkdir -p $(@D)
	cd tools/addons && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(abspath $@) \
		$$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./coredns tool | grep '/$*$$')
$(addprefix $(KUBERNETES)/,rollouts-controller flagger k6-operator k6-operator.yaml) &: tools/controllers tools/install-crds
	tools/controllers $(KUBERNETES)

bench: dev ## compare what a request costs, with other servers (benchmarks/README.md)
	$(BIN)/python -m benchmarks.compare $(OPTIONS)

atlas: dev ## play the scenes of docs/atlas.md behind five balancers, in ten minutes (root); OPTIONS="--scenes 'kill -9'" chooses
	$(BIN)/pip install -q -r tests/requirements-proxies.txt
	$(BIN)/python -m benchmarks.atlas $(OPTIONS)

instructions: dev ## count the instructions of a request, and compare them with the committed figures (valgrind)
	$(BIN)/python -m benchmarks.instructions --check

studies: dev ## make the studies of shutdown, hostile clients, uploads and logs anew; minutes each, with no other load
	for study in drain handover hostile listener_close log_faults rolling silent_clients uploads; do $(BIN)/python -m benchmarks.studies.$$study || exit 1; done

sanitize: dev ## run the black-box tests with AddressSanitizer and UndefinedBehaviorSanitizer (clang)
	PYTHON=$(BIN)/python tests/sanitize $(OPTIONS)

memcheck: dev ## run the black-box tests under valgrind
	PYTHON=$(BIN)/python tests/memcheck $(OPTIONS)

fuzz: dev ## fuzz what reads the bytes of others; FOR=60 seconds in all (clang)
	PYTHON=$(BIN)/python tests/fuzz/run $(or $(FOR),60) $(OPTIONS)

bare: ## try README's commands on a bare Debian; SUITE=trixie, OPTIONS='-u -n 1024' (root)
	tools/bare-system $(OPTIONS) $(or $(SUITE),trixie)

clean: ## remove all that was made
	rm -rf .venv build *.egg-info yinyang/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help dev test lint linters format load static cross image dist release release-test release-tools wheel-test kubernetes bench atlas studies instructions sanitize memcheck fuzz bare clean
