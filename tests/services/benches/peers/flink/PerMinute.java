// What Seam's view of the bench is in Flink: events by minute, type, region and product, with count, sum, min and max of a value, exactly
// once in its state by a checkpoint each second. A cluster in this one process, RocksDB as the state, one task slot. Arguments:
// bootstrap servers, topic, events. Prints one line when that many events were aggregated and a checkpoint holds them.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class PerMinute {
    public static class Event {
        public String key;
        public long time;
        public double value;
    }

    public static class Stats {
        public long count;
        public double sum;
        public double min = Double.POSITIVE_INFINITY;
        public double max = Double.NEGATIVE_INFINITY;
    }

    /** Everything runs in this process, so that what was aggregated can be counted here. */
    static final AtomicLong AGGREGATED = new AtomicLong();
    static final CountDownLatch DONE = new CountDownLatch(1);
    static volatile long wanted;

    public static class Parse implements MapFunction<byte[], Event> {
        static final ObjectMapper JSON = new ObjectMapper();
        @Override
        public Event map(byte[] bytes) throws Exception {
            JsonNode json = JSON.readTree(bytes);
            Event event = new Event();
            event.key = json.get("event_type").asText() + "\0" + json.get("region").asText() + "\0" + json.get("product").asText();
            event.time = json.get("ts").asLong();
            event.value = json.get("value").asDouble();
            return event;
        }
    }

    public static class Fold implements AggregateFunction<Event, Stats, Stats> {
        @Override
        public Stats createAccumulator() {
            return new Stats();
        }
        @Override
        public Stats add(Event event, Stats stats) {
            stats.count++;
            stats.sum += event.value;
            stats.min = Math.min(stats.min, event.value);
            stats.max = Math.max(stats.max, event.value);
            AGGREGATED.incrementAndGet();
            return stats;
        }
        @Override
        public Stats getResult(Stats stats) {
            return stats;
        }
        @Override
        public Stats merge(Stats a, Stats b) {
            throw new UnsupportedOperationException("tumbling windows are not merged");
        }
    }

    /** Notices the first checkpoint that was begun after all events were aggregated. */
    public static class Watch implements MapFunction<byte[], byte[]>, CheckpointListener,
            org.apache.flink.streaming.api.checkpoint.CheckpointedFunction {
        private transient long complete;
        @Override
        public byte[] map(byte[] bytes) {
            return bytes;
        }
        @Override
        public void snapshotState(org.apache.flink.runtime.state.FunctionSnapshotContext context) {
            if (complete == 0 && AGGREGATED.get() >= wanted) complete = context.getCheckpointId();
        }
        @Override
        public void initializeState(org.apache.flink.runtime.state.FunctionInitializationContext context) {}
        @Override
        public void notifyCheckpointComplete(long checkpoint) {
            if (complete != 0 && checkpoint >= complete) DONE.countDown();
        }
    }

    public static void main(String[] arguments) throws Exception {
        wanted = Long.parseLong(arguments[2]);
        String folder = Files.createTempDirectory("per-minute").toUri().toString();
        Configuration settings = new Configuration();
        settings.setString("state.backend.type", "rocksdb");
        settings.setString("execution.checkpointing.incremental", "true");
        settings.setString("execution.checkpointing.dir", folder);
        settings.setString("taskmanager.memory.managed.size", "512m");
        settings.setString("taskmanager.numberOfTaskSlots", "1");
        // Without it, every record is copied between operators of one thread.
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("rest.port", "0");
        settings.setString("rest.bind-port", "0");
        StreamExecutionEnvironment flink = StreamExecutionEnvironment.createLocalEnvironment(1, settings);
        flink.enableCheckpointing(1_000, CheckpointingMode.EXACTLY_ONCE);
        KafkaSource<byte[]> source = KafkaSource.<byte[]>builder()
            .setBootstrapServers(arguments[0])
            .setTopics(arguments[1])
            .setGroupId("flink-" + System.nanoTime())
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setDeserializer(KafkaRecordDeserializationSchema.valueOnly(ByteArrayDeserializer.class))
            .build();
        flink.fromSource(source, WatermarkStrategy.noWatermarks(), "events")
            .map(new Watch())
            .map(new Parse())
            // Events of the bench are late by up to an hour, and all shall count.
            .assignTimestampsAndWatermarks(WatermarkStrategy.<Event>forBoundedOutOfOrderness(Duration.ofDays(2))
                .withTimestampAssigner((event, before) -> event.time))
            .keyBy((KeySelector<Event, String>) event -> event.key)
            .window(TumblingEventTimeWindows.of(Duration.ofMinutes(1)))
            .aggregate(new Fold())
            .sinkTo(new DiscardingSink<>());
        long begun = System.nanoTime();
        var job = flink.executeAsync("per minute");
        DONE.await();
        double wall = (System.nanoTime() - begun) / 1e9;
        var system = (com.sun.management.OperatingSystemMXBean) java.lang.management.ManagementFactory.getOperatingSystemMXBean();
        double cpu = system.getProcessCpuTime() / 1e9;
        System.out.printf(java.util.Locale.ROOT, "%d %.2f %.2f%n", AGGREGATED.get(), wall, cpu);
        System.out.flush();
        job.cancel();
        Runtime.getRuntime().halt(0);
    }
}
