import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import uk.london.quiqup.slots.Key;
import uk.london.quiqup.slots.slot;

/**
 * Reads a topic up to its end, as a consumer does that was built for slot_sync, and prints each record as a line of JSON.
 * Records have to be where a producer in Java puts them.
 */
public final class Reader {
  private final String registry;
  private final Map<Integer, Schema> writers = new HashMap<>();

  private Reader(String registry) {
    this.registry = registry;
  }

  public static void main(String[] args) throws Exception {
    String brokers = args[0], topic = args[2];
    Reader reader = new Reader(args[1]);
    Map<String, Object> settings = Map.of("bootstrap.servers", brokers, "enable.auto.commit", false);
    try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
          int java = BuiltInPartitioner.partitionForKey(record.key(), partitions.size());
          if (record.partition() != java) {
            throw new IllegalStateException("a producer in Java would have chosen partition " + java + " in the place of " + record.partition());
          }
          reader.print(record);
        }
      }
    }
  }

  private void print(ConsumerRecord<byte[], byte[]> record) throws Exception {
    StringJoiner headers = new StringJoiner(", ", "{", "}");
    record.headers().forEach(h -> headers.add("\"" + h.key() + "\": \"" + new String(h.value(), StandardCharsets.UTF_8) + "\""));
    // What is generated prints itself as JSON.
    Key key = decode(record.key(), Key.getClassSchema());
    slot value = decode(record.value(), slot.getClassSchema());
    String line = String.format("{\"partition\": %d, \"offset\": %d, \"key\": %s, \"value\": %s, \"headers\": %s}\n",
        record.partition(), record.offset(), key, value, headers);
    System.out.write(line.getBytes(StandardCharsets.UTF_8));
  }

  /** Decodes Confluent's wire format: a zero, the id of the schema it was written with in four bytes, and Avro. */
  private <T> T decode(byte[] framed, Schema wanted) throws Exception {
    ByteBuffer header = ByteBuffer.wrap(framed);
    if (header.get() != 0) {
      throw new IllegalArgumentException("not in Confluent's wire format");
    }
    Schema writer = writer(header.getInt());
    BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(framed, 5, framed.length - 5, null);
    T read = new SpecificDatumReader<T>(writer, wanted).read(null, decoder);
    if (!decoder.isEnd()) {
      throw new IllegalArgumentException("bytes are left over");
    }
    return read;
  }

  private Schema writer(int id) throws Exception {
    if (!writers.containsKey(id)) {
      var request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
      String answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body();
      writers.put(id, new Schema.Parser().parse(new ObjectMapper().readTree(answer).get("schema").asText()));
    }
    return writers.get(id);
  }
}
