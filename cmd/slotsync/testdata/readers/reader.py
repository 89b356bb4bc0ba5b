"""Reads a topic up to its end with Confluent's own deserialiser, and prints each record as a line of JSON."""

import json
import sys

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, registry, topic = sys.argv[1:]
decode = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "none", "enable.auto.commit": False})

left = {}  # partition to the offset at which its end was
for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
    first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
    if end > first:
        left[partition] = end
consumer.assign([TopicPartition(topic, partition, 0) for partition in left])

while left:
    message = consumer.poll(10)
    if message is None:
        sys.exit("no record for 10 s, and these ends are not reached: %s" % left)
    if message.error():
        sys.exit(str(message.error()))
    if message.offset() + 1 == left.get(message.partition()):
        del left[message.partition()]
    print(json.dumps({
        "partition": message.partition(),
        "offset": message.offset(),
        "key": decode(message.key(), SerializationContext(topic, MessageField.KEY)),
        "value": decode(message.value(), SerializationContext(topic, MessageField.VALUE)),
        "headers": {name: value.decode() for name, value in message.headers() or []},
    }))
consumer.close()
