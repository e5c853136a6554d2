# Every command of this project; CI calls nothing else than what stands here.
set shell := ["bash", "-euo", "pipefail", "-c"]

# list the recipes
default:
    @just --list

# replay real flights through every layer and serve the answers
demo *arguments:
    cargo run --release -- demo {{arguments}}

# all layers in one process, with ./seam.yaml
up *arguments:
    cargo run --release -- up {{arguments}}

# format the code
fmt:
    cargo fmt --all

# format, lints, and the rules that no compiler checks
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# licences, second versions, sources and advisories of the dependencies (needs cargo-deny; `cargo install --locked cargo-deny`)
deny *arguments:
    cargo deny check {{arguments}}

# every test (also the README's second command)
test:
    cargo test --release --workspace

# install, start or stop real Kafka, Redis and S3 on the loopback, without Docker
services *arguments:
    infra/services/services.sh {{arguments}}

# the seeded simulator alone, for as many seeds as one likes
sim seeds="100000" first="0":
    SEAM_SEEDS={{seeds}} SEAM_FIRST_SEED={{first}} cargo test --release -p seam -p seam-tests --test promises simulation -- --nocapture

# the speed layer on a real Redis under faults (kills, lagging failovers, FLUSHALL, lost replies …), for as long as one likes; then
# every role as processes on real Kafka, Redis and S3, killed and stopped at random, with the whole flights
chaos seconds="600" seed="1":
    SEAM_CHAOS_SECONDS={{seconds}} SEAM_CHAOS_SEED={{seed}} cargo test --release -p seam -p seam-services --test redis_chaos -- --nocapture
    cargo test --release -p seam --test binary cluster -- --nocapture

# the figures of the README, each a ratio inside one run
bench *name:
    cargo bench --workspace {{name}}

# the figures of queries over thirty days of history, the last of them of 20 million rows
query-figures events="50000000" day="1000000" question="":
    SEAM_BENCH_EVENTS={{events}} SEAM_BENCH_DAY={{day}} cargo bench -p seam -p seam-serving --bench figures -- {{question}}

# what an event and an answer cost in instructions, beside plain code (needs valgrind); UPDATE_GOLDEN=1 states what is measured
costs:
    cargo test --release -p seam -p seam-services --test costs -- --nocapture

# write infra/grafana anew, from the demo's seam.yaml
grafana:
    cargo run --release -- grafana --out infra/grafana --url http://serve:8080 --prometheus http://prometheus:9090 --sql serve:5433

# the API documentation of the crates
doc:
    cargo doc --workspace --no-deps
