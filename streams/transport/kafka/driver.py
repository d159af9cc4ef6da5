"""What Faust is given: Kafka's transport, with our consumer and producer."""

from faust.transport.drivers import aiokafka as stock

from streams.transport.kafka.consumer import Consumer as KafkaConsumer
from streams.transport.kafka.producer import Producer as KafkaProducer

__all__ = ["Transport"]


class Transport(stock.Transport):
    """Carries messages through Kafka."""

    Consumer = KafkaConsumer
    Producer = KafkaProducer
