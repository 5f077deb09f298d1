# One door for users and developers. CI calls these targets and nothing else.
.PHONY: up down test check deny fuzz bench soak help
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

up: ## install what is missing, build, start hob, deploy and call the examples
	@scripts/up.sh

down: ## stop what `make up` started; functions and secrets stay on disk
	@scripts/down.sh

test: ## install what the tests need and run every test
	@scripts/need.sh $(TEST_TOOLS)
	@scripts/need.sh $(CAGE_TOOLS) || echo "make test: going on without them; their tests say so"
	@scripts/need.sh $(BROWSER) || echo "make test: going on without a browser; its test says so"
	@scripts/openfaas.sh $(OPENFAAS) || echo "make test: going on without OpenFaaS's programs; their tests say so"
	@scripts/pip_tool.sh $(SCHEMATHESIS) schemathesis 4.32.5 schemathesis.cli || echo "make test: going on without schemathesis; its test says so"
	@scripts/pip_tool.sh $(SSLYZE) sslyze 6.3.1 sslyze || echo "make test: going on without sslyze; its test says so"
	@scripts/pip_tool.sh $(ULTRA_PISTON) ultra-piston 1.0.1 ultra_piston || echo "make test: going on without a client of Piston; its test says so"
	@scripts/hydra.sh $(HYDRA) || echo "make test: going on without ORY Hydra; its tests say so"
	PATH="$(CURDIR)/$(OPENFAAS):$(CURDIR)/$(SCHEMATHESIS):$(CURDIR)/$(SSLYZE):$(CURDIR)/$(ULTRA_PISTON):$(CURDIR)/$(HYDRA):$$PATH" scripts/test.sh

check: ## format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings

deny: ## licences, advisories, banned crates
	@scripts/deny.sh

fuzz: ## run every fuzz target for a minute; needs a nightly toolchain
	@scripts/fuzz.sh 60

bench: ## measure hob beside nginx and a direct call; keep the table in bench/results
	@bench/run.sh

soak: ## kill hob and its replicas under load, for minutes, and count the calls and facts that are lost
	@scripts/soak.sh

# program:package, for Debian and Ubuntu
TEST_TOOLS = cc:build-essential curl:curl python3:python3 pip3:python3-pip node:nodejs npm:npm go:golang-go \
	javac:default-jdk-headless mvn:maven age:age runc:runc setpriv:util-linux pass:pass openssl:openssl \
	busybox:busybox-static ip:iproute2 nft:nftables unshare:util-linux skopeo:skopeo buildah:buildah \
	docker-registry:docker-registry htpasswd:apache2-utils qemu-aarch64-static:qemu-user-static \
	prometheus:prometheus systemd-analyze:systemd faketime:faketime fail2ban-regex:fail2ban \
	pebble:pebble pebble-challtestsrv:pebble
# OpenFaaS's of-watchdog and faas-cli, which are in no release of the system
OPENFAAS = target/tools/openfaas
# asks the API by its OpenAPI document
SCHEMATHESIS = target/tools/schemathesis
# an issuer of tokens
HYDRA = target/tools/hydra
# a client of Piston's API
ULTRA_PISTON = target/tools/ultra-piston
# looks for weak TLS
SSLYZE = target/tools/sslyze
# other cages, which not every release has
CAGE_TOOLS = runsc:runsc crun:crun
# the browser whose pages ask hob and its functions; in Ubuntu it is no package
BROWSER = chromium:chromium
