#!/usr/bin/env bash
# Starts a real Apache Kafka broker (KRaft) on the loopback, without Docker. Needs Java 17 and, once, Maven.
#
#   start.sh [--foreground] FOLDER PORT [property=value ...] [--option=value ...]
#   start.sh --install         only fetches the jars
#   start.sh --installed       exit code 0 if they are there
#
# The broker is its own controller and the whole cluster, unless properties say otherwise (node.id, controller.quorum.voters; a
# property that is given twice has the later value). Options are those of Kafka's `kafka-storage format`, for the first start:
# --cluster-id=ID for several brokers of one cluster, --add-scram=SCRAM-SHA-256=[name=NAME,password=PASSWORD] for users.
#
# Prints the pid when the broker is ready on 127.0.0.1:PORT (its controller listens on PORT+1); with --foreground becomes the
# broker instead. FOLDER keeps data and logs: started again there, after kill -9 too, it goes on with what it has. The jars are
# kept in ~/.cache/seam/kafka.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mode=''
case ${1:-} in --*) mode=$1; shift ;; esac
case $mode in --install | --installed) set -- . 0 ;; esac
[ $# -ge 2 ] || { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 64; }
folder=$1 port=$2
shift 2
properties=() options=()
for word in "$@"; do
  case $word in --*) options+=("$word") ;; *) properties+=("$word") ;; esac
done
case " ${options[*]:-}" in *" --cluster-id="*) ;; *)
  options+=("--cluster-id=$(head -c16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')") ;;
esac
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

for needed in java flock; do
  command -v "$needed" >/dev/null || { echo "start.sh: $needed is not installed" >&2; exit 69; }
done

# The name holds the POM's hash, so that another version gets another folder; of two first starts, one waits for the other.
cache="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/seam/kafka"
jars="$cache/$(cksum <"$here/pom.xml" | cut -d' ' -f1)"
[ "$mode" != --installed ] || { [ -d "$jars" ]; exit; }
mkdir -p "$cache"
(
  flock 9
  if [ ! -d "$jars" ]; then
    command -v mvn >/dev/null || { echo "start.sh: mvn is not installed" >&2; exit 69; }
    rm -rf "$jars.part"
    mvn --quiet --batch-mode --file "$here/pom.xml" dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$jars.part" >&2
    mv "$jars.part" "$jars"
  fi
) 9>"$cache/lock"
[ "$mode" != --install ] || exit 0

# Short sessions: a broker that was killed is let in again within two seconds. Timeouts and sizes suit tests on one machine.
{
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
log.dirs=$folder/data
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1500
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
  printf '%s\n' "${properties[@]:-}"
} >"$folder/server.properties"
cat >"$folder/log4j2.properties" <<PROPERTIES
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
appender.file.type=File
appender.file.name=file
appender.file.fileName=$folder/kafka.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c %m%n
PROPERTIES

# shellcheck disable=SC2206 # options are words
java=(java ${SEAM_KAFKA_JAVA:--Xms256m -Xmx640m -XX:+UseSerialGC}
  "-Dlog4j2.configurationFile=$folder/log4j2.properties" -cp "$jars/*")
if [ ! -f "$folder/data/meta.properties" ]; then
  "${java[@]}" kafka.tools.StorageTool format "${options[@]}" \
    --config "$folder/server.properties" >"$folder/format.log" 2>&1 || { cat "$folder/format.log" >&2; exit 1; }
fi
rm -f "$folder/kafka.log"
[ "$mode" != --foreground ] || exec "${java[@]}" kafka.Kafka "$folder/server.properties"
setsid nohup "${java[@]}" kafka.Kafka "$folder/server.properties" >"$folder/out.log" 2>&1 </dev/null &
pid=$!
for _ in $(seq 600); do
  grep -qs 'Kafka Server started' "$folder/kafka.log" && { echo "$pid"; exit 0; }
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
kill -9 "$pid" 2>/dev/null || true
tail -n 20 "$folder/out.log" "$folder/kafka.log" >&2
exit 1
