"""Destination `kafka`: writes events and the position of their stream to Apache Kafka in one transaction."""
