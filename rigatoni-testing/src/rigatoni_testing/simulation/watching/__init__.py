"""A pipeline whose `watch` changes from run to run, and whose runs die anywhere: what becomes of its events.

The engine and the destination's protocol are those that ship; deployment, state store and object store are models. The
names of collections are single letters, and a stream is named by those that it covers. Several events share a cluster
time, as those of a transaction do. Tokens are opaque, the checkpoint may lag behind the chain, and a put of a process
that died may arrive later, but not after its chain has reached quiescence.
"""
