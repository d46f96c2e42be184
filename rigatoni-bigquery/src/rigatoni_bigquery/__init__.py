"""Destination `bigquery`: objects in Google Cloud Storage, loaded into tables of BigQuery, each exactly once."""
