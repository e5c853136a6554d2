//! What `--help` shows below the options: commands that work as they stand beside the demo's configuration.

pub const SEAM: &str = "Examples:
  seam demo                                   see it work on real flights
  seam up                                     run every layer of ./seam.yaml
  seam ingest flights.ndjson                  send a file of events
  seam query flights.total --by carrier -w 1h ask for a metric
  seam top                                    watch rates, lag and freshness";

pub const UP: &str = "Examples:
  seam up
  seam --config shop.yaml up --listen 0.0.0.0:8080   beyond this machine: needs server.access (see `seam keys`)";

pub const DEMO: &str = "Examples:
  seam demo
  seam demo --once --rate 20000               replay quickly and end";

pub const VALIDATE: &str = "Examples:
  seam validate
  seam --config shop.yaml validate --json     for editors and CI; exit code 78 if something is wrong";

pub const SCHEMA: &str = "Example:
  seam schema > seam.schema.json              then, in seam.yaml: # yaml-language-server: $schema=./seam.schema.json";

pub const GRAFANA: &str = "Example:
  seam grafana --out ./grafana                then mount its folders into Grafana's /etc/grafana/provisioning and dashboards";

pub const TEST: &str = "Examples:
  seam test                                   the tests of ./seam.yaml, in every layer and with the seam at every place
  seam test --random 200                      and 200 hostile streams of each source against all views
  seam test --random --sample                 with records of the archive among them";

pub const INGEST: &str = "Examples:
  seam ingest flights.ndjson.gz more.csv --source flights
  tail -f app.log | seam ingest - --source clicks
  seam ingest --url https://seam.example.com --key seam_… flights.csv
  seam ingest --listen 127.0.0.1:8081         without files: the collector as a process of its own";

pub const SPEED: &str = "Examples:
  seam speed
  seam speed rebuild --view by_carrier --compare   fold again beside the live state and compare";

pub const ARCHIVE: &str = "Examples:
  seam archive
  seam archive verify --source flights        read everything: no gap, every hash";

pub const BATCH: &str = "Examples:
  seam batch                                  run the schedule
  seam batch run --view by_carrier            recompute now; exit code 75 if another run is going on
  seam batch run --full --json
  seam batch status
  seam batch rollback by_carrier --to 41      answer from generation 41 again";

pub const DIFF: &str = "Examples:
  seam diff                                   the definitions being built against those that answer
  seam diff by_carrier --config new.yaml      a file that does not run yet, computed from the archive
  seam diff --from 2026-01-01 --to 2026-02-01 --step 1h -o csv";

pub const SINK: &str = "Examples:
  seam sink                                   the topics that views name under `sink`
  seam --log-format json sink 2>sink.log | jq .measures   a view with `sink: { stdout: ndjson }`";

pub const SERVE: &str = "Example:
  seam serve --listen 127.0.0.1:8080";

pub const REPLAY: &str = "Examples:
  seam replay --view by_carrier --from-offset 100000
  seam replay --from-time 2026-01-01T00:00:00Z --compare";

pub const QUERY: &str = "Examples:
  seam query flights.total --by carrier --window 1h
  seam query delay --by carrier:UA --from now-1d --step 1h -o csv
  seam query flights.total --where 'carrier in [\"UA\", \"AA\"]' -o json
  seam query flights.total --layer batch      from the newest generation alone";

pub const EXPLAIN: &str = "Example:
  seam explain flights.total --by carrier --window 1d";

pub const DLQ: &str = "Examples:
  seam dlq list --source flights --limit 5
  seam dlq show 17 --source flights > event.json
  seam dlq replay 17 18 --source flights
  seam dlq replay --all";

pub const DOCTOR: &str = "Examples:
  seam doctor
  seam doctor --ready http://127.0.0.1:8080   a health check for images without a shell";

pub const TAP: &str = "Examples:
  seam tap flights
  seam tap flights --from -10 --limit 10 | jq .event
  seam tap flights --from start | head";

pub const TOP: &str = "Examples:
  seam top
  seam top --once -o json                     for scripts
  seam top --url http://speed:8080 --url http://serve:8080";

pub const KEYS: &str = "Examples:
  seam keys create --scope query:by_carrier --scope ingest:flights --expires 90d --file keys.yaml
  seam keys create --scope 'query:*' --filter region=eu --rate 100/s --name dashboard
  seam keys list";

pub const COMPLETIONS: &str = "Examples:
  seam completions bash > ~/.local/share/bash-completion/completions/seam
  seam completions zsh > ~/.zfunc/_seam
  seam completions fish > ~/.config/fish/completions/seam.fish";
