"""MongoDB for tests and demonstrations: a real server that is started on demand, and a scripted one for faults."""
