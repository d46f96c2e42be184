"""MongoDB for tests and demos: a real server that is started on demand, and a scripted one for faults."""
