"""Rigatoni serializers: gzip and zstd around another serializer."""
