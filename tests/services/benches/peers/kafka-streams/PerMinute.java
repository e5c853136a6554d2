// What Seam's view of the bench is in Kafka Streams: events by minute, type, region and product, with count, sum, min and max of a
// value, exactly_once_v2. Arguments: bootstrap servers, topic, events. Prints one line when that many events were aggregated.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

public class PerMinute {
    record Event(String key, long time, double value) {}

    record Stats(long count, double sum, double min, double max) {
        Stats add(double value) {
            return new Stats(count + 1, sum + value, Math.min(min, value), Math.max(max, value));
        }
    }

    static final ObjectMapper JSON = new ObjectMapper();

    static Event parse(byte[] bytes) {
        try {
            JsonNode event = JSON.readTree(bytes);
            String key = event.get("event_type").asText() + "\0" + event.get("region").asText() + "\0" + event.get("product").asText();
            return new Event(key, event.get("ts").asLong(), event.get("value").asDouble());
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    static Serde<Event> events() {
        Serializer<Event> write = (topic, event) -> {
            byte[] key = event.key().getBytes(java.nio.charset.StandardCharsets.UTF_8);
            return ByteBuffer.allocate(16 + key.length).putLong(event.time()).putDouble(event.value()).put(key).array();
        };
        Deserializer<Event> read = (topic, bytes) -> {
            // The topic holds JSON, what was put in order by key holds the compact form.
            if (bytes[0] == '{') return parse(bytes);
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            long time = buffer.getLong();
            double value = buffer.getDouble();
            return new Event(new String(bytes, 16, bytes.length - 16, java.nio.charset.StandardCharsets.UTF_8), time, value);
        };
        return Serdes.serdeFrom(write, read);
    }

    static Serde<Stats> stats() {
        Serializer<Stats> write = (topic, s) -> s == null ? null
            : ByteBuffer.allocate(32).putLong(s.count()).putDouble(s.sum()).putDouble(s.min()).putDouble(s.max()).array();
        Deserializer<Stats> read = (topic, bytes) -> {
            if (bytes == null) return null;
            ByteBuffer b = ByteBuffer.wrap(bytes);
            return new Stats(b.getLong(), b.getDouble(), b.getDouble(), b.getDouble());
        };
        return Serdes.serdeFrom(write, read);
    }

    public static void main(String[] arguments) throws Exception {
        long wanted = Long.parseLong(arguments[2]);
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "per-minute-" + System.nanoTime());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("per-minute").toString());
        settings.put("auto.offset.reset", "earliest");

        AtomicLong aggregated = new AtomicLong();
        CountDownLatch done = new CountDownLatch(1);
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(arguments[1], Consumed.with(Serdes.ByteArray(), events())
                .withTimestampExtractor((record, before) -> ((Event) record.value()).time()))
            .groupBy((key, event) -> event.key(), Grouped.with(Serdes.String(), events()))
            // Events of the bench are late by up to an hour, and all shall count.
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofDays(2)))
            .aggregate(
                () -> new Stats(0, 0, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY),
                (key, event, before) -> {
                    if (aggregated.incrementAndGet() == wanted) done.countDown();
                    return before.add(event.value());
                },
                Materialized.<String, Stats, WindowStore<org.apache.kafka.common.utils.Bytes, byte[]>>as("per-minute")
                    .withKeySerde(Serdes.String()).withValueSerde(stats()).withRetention(Duration.ofDays(3)));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        long begun = System.nanoTime();
        streams.start();
        done.await();
        double wall = (System.nanoTime() - begun) / 1e9;
        var system = (com.sun.management.OperatingSystemMXBean) java.lang.management.ManagementFactory.getOperatingSystemMXBean();
        double cpu = system.getProcessCpuTime() / 1e9;
        System.out.printf(java.util.Locale.ROOT, "%d %.2f %.2f%n", aggregated.get(), wall, cpu);
        streams.close(Duration.ofSeconds(10));
    }
}
