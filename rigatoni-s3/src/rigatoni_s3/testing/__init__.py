"""For tests of whatever writes to S3: a real server as a process, and a proxy that makes faults."""
