#!/usr/bin/env bash
# The real services that Seam talks to, on this machine's loopback and without Docker: Kafka, Redis, S3, Azure's and Google's stores.
#
#   services.sh install [WHAT ...]        installs what is missing (apt needs root; the rest lies in ~/.cache/seam)
#   services.sh check   [WHAT ...]        says what is missing; exit code 69 if something is
#   services.sh start   [FOLDER]          starts all three, for people; data and logs in FOLDER (default ./services)
#   services.sh stop    [FOLDER]          stops them
#   services.sh run redis ARGUMENT ...    becomes redis-server (for the tests, which choose ports and folders)
#   services.sh run s3 PORT FOLDER        becomes an S3 server on 127.0.0.1:PORT: MinIO, which keeps its objects in FOLDER, if it is
#                                         installed, else moto, which keeps them in memory; user seam, password seamseam
#   services.sh run azure PORT            becomes Azurite on 127.0.0.1:PORT; objects in the working directory
#   services.sh run gcs PORT BUCKET ...   becomes fake-gcs-server with these buckets, in memory
#   services.sh run schemathesis ARGUMENT ...    becomes schemathesis
#   services.sh run jdbc FILE.java ARGUMENT ...  runs a class with PostgreSQL's driver for Java
#   services.sh run sqlalchemy FILE.py ARGUMENT ...  runs a script with SQLAlchemy and psycopg
#   services.sh run grafana URL           becomes Grafana's own code for a Prometheus data source: questions in, data frames out
#   services.sh run kafka FOLDER PORT [property=value ...]     becomes a broker on 127.0.0.1:PORT, its controller on PORT+1
#
# WHAT is one of: build (what the rdkafka crate compiles with), redis, kafka, s3, azure (Azurite; needs Node), gcs
# (fake-gcs-server; needs Go), prometheus (promtool), alerting (vmalert, alertmanager), schemathesis (which asks an API whatever its
# document allows, and what it forbids), browser (Chromium, for the page), sql (psql, PostgreSQL's driver for Java, SQLAlchemy),
# grafana (the module of Grafana that asks a Prometheus data source; needs Go), valgrind (which counts instructions). All of these if
# none is named; and minio, which needs Go and a quarter of an hour: faster than moto, and it checks signatures.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/seam"
moto_version=5.2.5
moto="$cache/services/moto-$moto_version"
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
minio="$cache/services/minio-$minio_version"
schemathesis_version=4.32.5
schemathesis="$cache/services/schemathesis-$schemathesis_version"
azurite_version=3.35.0
azurite="$cache/services/azurite-$azurite_version"
jdbc_version=42.7.7
jdbc="$cache/services/postgresql-$jdbc_version"
sqlalchemy_version=2.0.44
sqlalchemy="$cache/services/sqlalchemy-$sqlalchemy_version"
go_version=go1.26.0
# By their source: a change makes another one.
gcs="$cache/services/gcs-$(cat "$here"/gcs/go.* "$here"/gcs/*.go | sha256sum | cut -c1-12)"
grafana="$cache/services/grafana-$(cat "$here"/grafana/go.* "$here"/grafana/*.go | sha256sum | cut -c1-12)"
everything=(build redis kafka s3 azure gcs prometheus alerting schemathesis browser sql grafana valgrind)

usage() { sed -n '2,23s/^# \{0,1\}//p' "$0" >&2; exit 64; }
has() { command -v "$1" >/dev/null 2>&1; }

# What of a service is not installed, one word a line: a Debian package, or what is fetched into the cache.
missing() {
  case $1 in
    build) has pkg-config || echo pkg-config
           pkg-config --exists libssl 2>/dev/null || echo libssl-dev
           pkg-config --exists zlib 2>/dev/null || echo zlib1g-dev ;;
    redis) has redis-server || echo redis-server; has redis-cli || echo redis-tools ;;
    kafka) has java || echo openjdk-17-jre-headless; has flock || echo util-linux; has kcat || echo kcat; has openssl || echo openssl
           "$here/kafka/start.sh" --installed || { has mvn || echo maven; echo jars; } ;;
    minio) [ -x "$minio/minio" ] || { has go || echo golang-go; echo minio; } ;;
    s3) [ -x "$minio/minio" ] || [ -f "$moto/installed" ] || { python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv; echo moto; } ;;
    azure) [ -f "$azurite/installed" ] || { has npm || echo npm; echo azurite; } ;;
    gcs) [ -x "$gcs" ] || { has go || echo golang-go; echo fake-gcs-server; } ;;
    schemathesis) [ -f "$schemathesis/installed" ] || { python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv; echo schemathesis; } ;;
    prometheus) has promtool || echo prometheus ;;
    alerting) has vmalert || echo victoria-metrics; has prometheus-alertmanager || echo prometheus-alertmanager ;;
    sql) has psql || echo postgresql-client; has javac || echo openjdk-17-jdk-headless
         [ -f "$jdbc/installed" ] || { has mvn || echo maven; echo driver; }
         [ -f "$sqlalchemy/installed" ] || { python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv; echo sqlalchemy; } ;;
    grafana) [ -x "$grafana" ] || { has go || echo golang-go; echo datasource; } ;;
    valgrind) has valgrind || echo valgrind ;;
    browser) has chromium || has chromium-browser || has google-chrome || echo chromium; has chromedriver || echo chromium-driver ;;
    *) echo "services.sh: no service is called $1" >&2; exit 64 ;;
  esac
}

apt_install() {
  local root=()
  if [ "$(id -u)" != 0 ]; then
    if has sudo && sudo -n true 2>/dev/null; then root=(sudo -n); else
      echo "services.sh: as root, run: apt-get install $*" >&2
      return 69
    fi
  fi
  # RUNLEVEL keeps the packages from starting their services.
  local get=("${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get)
  "${get[@]}" install --yes --quiet --no-install-recommends "$@" >/dev/null 2>&1 && return
  "${get[@]}" update --quiet >/dev/null
  "${get[@]}" install --yes --quiet --no-install-recommends "$@" >/dev/null
}

# Makes a folder of its own by a command that gets it as its first argument: once, and anew if that was interrupted.
install_once() {
  local folder=$1
  (
    flock 9
    [ ! -f "$folder/installed" ] || exit 0
    rm -rf "$folder"
    "$2" "$folder" "$3"
    touch "$folder/installed"
  ) 9>"$folder.lock"
}

# Python packages.
python_package() {
  local folder=$1 packages
  read -ra packages <<<"$2"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
}

# A jar of Maven's registry.
java_package() {
  mvn --quiet --batch-mode dependency:copy -Dartifact="$2" -DoutputDirectory="$1" >&2
}

# A package of npm, without what only builds native parts.
node_package() {
  npm install --prefix "$1" --silent --no-audit --no-fund --ignore-scripts "$2" >&2
}

# A Go program of this folder.
install_go() {
  (cd "$here/$1" && nice "$go" build -o "$2.new" . && mv "$2.new" "$2")
}

# A Go that builds all of these. From 1.21 on it fetches what it needs by itself; for an older one, as Debian 12 has it, the newer one
# is a module like any other, whose programs are not executable yet.
go_tool() {
  local folder
  if [ -n "$(go env GOTOOLCHAIN)" ]; then echo go; return; fi
  folder=$(cd / && go mod download -json "golang.org/toolchain@v0.0.1-$go_version.$(go env GOOS)-$(go env GOARCH)" |
    sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
  chmod +x "$folder"/bin/* "$folder"/pkg/tool/*/*
  echo "$folder/bin/go"
}

# One after the other: they are compiled with all cores.
install_go_programs() {
  local go
  export GOTOOLCHAIN=auto
  go=$(unset GOTOOLCHAIN && go_tool)
  [ -z "$grafana_too" ] || install_go grafana "$grafana"
  [ -z "$gcs_too" ] || install_go gcs "$gcs"
  [ -z "$minio_too" ] || GOBIN="$minio" nice "$go" install "github.com/minio/minio@$minio_version"
}

install() {
  local what word packages=() jars='' moto_too='' minio_too='' schemathesis_too='' grafana_too='' azurite_too='' gcs_too='' driver_too='' sqlalchemy_too=''
  for what in "$@"; do
    for word in $(missing "$what"); do
      case $word in
        jars) jars=yes ;;
        moto) moto_too=yes ;;
        schemathesis) schemathesis_too=yes ;;
        minio) minio_too=yes ;;
        datasource) grafana_too=yes ;;
        azurite) azurite_too=yes ;;
        fake-gcs-server) gcs_too=yes ;;
        driver) driver_too=yes ;;
        sqlalchemy) sqlalchemy_too=yes ;;
        *) packages+=("$word") ;;
      esac
    done
  done
  [ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"
  mkdir -p "$cache/services"
  # Side by side: each of them waits for the network most of the time.
  local jobs=() job failed=0
  [ -z "$jars" ] || { "$here/kafka/start.sh" --install & jobs+=($!); }
  [ -z "$moto_too" ] || { install_once "$moto" python_package "moto[server,s3]==$moto_version" & jobs+=($!); }
  [ -z "$schemathesis_too" ] ||
    { install_once "$schemathesis" python_package "schemathesis==$schemathesis_version" & jobs+=($!); }
  [ -z "$driver_too" ] || { install_once "$jdbc" java_package "org.postgresql:postgresql:$jdbc_version" & jobs+=($!); }
  [ -z "$sqlalchemy_too" ] ||
    { install_once "$sqlalchemy" python_package "sqlalchemy==$sqlalchemy_version psycopg[binary]" & jobs+=($!); }
  [ -z "$azurite_too" ] || { install_once "$azurite" node_package "azurite@$azurite_version" & jobs+=($!); }
  if [ -n "$minio_too$grafana_too$gcs_too" ]; then install_go_programs & jobs+=($!); fi
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
  [ $failed = 0 ] || { echo "services.sh: not everything could be installed; see above" >&2; return 1; }
  check "$@"
}

check() {
  local what words bad=0
  for what in "$@"; do
    words=$(missing "$what" | tr '\n' ' ')
    [ -z "$words" ] || { echo "services.sh: $what is not installed: missing ${words% }" >&2; bad=69; }
  done
  return $bad
}

run() {
  local what=${1:-}
  shift || usage
  case $what in jdbc | sqlalchemy) check sql ;; *) check "$what" ;; esac
  case $what in
    jdbc) exec java -cp "$jdbc/postgresql-$jdbc_version.jar" "$@" ;;
    sqlalchemy) exec "$sqlalchemy/bin/python" "$@" ;;
    redis) exec redis-server "$@" ;;
    s3) [ $# = 2 ] || usage; run_s3 "$@" ;;
    kafka) exec "$here/kafka/start.sh" --foreground "$@" ;;
    azure) [ $# = 1 ] || usage; exec node "$azurite/node_modules/azurite/dist/src/blob/main.js" --silent --disableTelemetry --blobPort "$1" ;;
    gcs) [ $# -ge 2 ] || usage; exec "$gcs" "$@" ;;
    grafana) [ $# = 1 ] || usage; exec "$grafana" "$1" ;;
    schemathesis) exec "$schemathesis/bin/schemathesis" "$@" ;;
    *) usage ;;
  esac
}

run_s3() {
  [ -x "$minio/minio" ] || exec "$moto/bin/python" "$here/s3/server.py" "$1"
  export MINIO_ROOT_USER=seam MINIO_ROOT_PASSWORD=seamseam MINIO_BROWSER=off MINIO_UPDATE=off
  mkdir -p "$2"
  exec "$minio/minio" server --quiet --address "127.0.0.1:$1" "$2"
}

wait_for_port() {
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.1
  done
  echo "services.sh: nothing listens on 127.0.0.1:$1; see the logs in $folder" >&2
  return 1
}

start() {
  mkdir -p "$folder/kafka" "$folder/redis"
  check redis kafka s3
  local running
  for running in "$folder"/*.pid; do
    [ -e "$running" ] && kill -0 "$(cat "$running")" 2>/dev/null || continue
    echo "services.sh: $(basename "$running" .pid) runs already; stop first" >&2
    return 1
  done
  "$here/kafka/start.sh" "$folder/kafka" 9092 >"$folder/kafka.pid"
  setsid "$0" run redis --bind 127.0.0.1 --port 6379 --dir "$folder/redis" --save '' --appendonly no \
    --maxmemory-policy noeviction >"$folder/redis.log" 2>&1 </dev/null &
  echo $! >"$folder/redis.pid"
  mkdir -p "$folder/s3/seam" # MinIO's buckets are folders; moto is asked for one below
  setsid "$0" run s3 9000 "$folder/s3" >"$folder/s3.log" 2>&1 </dev/null &
  echo $! >"$folder/s3.pid"
  wait_for_port 6379
  wait_for_port 9000
  printf 'PUT /seam HTTP/1.0\r\nContent-Length: 0\r\n\r\n' >/dev/tcp/127.0.0.1/9000
  cat <<TEXT
Kafka 127.0.0.1:9092 · Redis redis://127.0.0.1:6379 · S3 http://127.0.0.1:9000 with the bucket seam. For Seam:
export SEAM_KAFKA=127.0.0.1:9092 SEAM_REDIS=redis://127.0.0.1:6379 SEAM_ARCHIVE=s3://seam/lake
export AWS_ENDPOINT=http://127.0.0.1:9000 AWS_ALLOW_HTTP=true AWS_ACCESS_KEY_ID=seam AWS_SECRET_ACCESS_KEY=seamseam AWS_REGION=us-east-1
TEXT
}

stop() {
  local file pid
  for file in "$folder"/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$file"
  done
}

command=${1:-}
shift || usage
case $command in
  install | check) if [ $# = 0 ]; then "$command" "${everything[@]}"; else "$command" "$@"; fi ;;
  run) run "$@" ;;
  start | stop) folder=${1:-services}; mkdir -p "$folder"; folder=$(cd "$folder" && pwd); "$command" ;;
  *) usage ;;
esac
