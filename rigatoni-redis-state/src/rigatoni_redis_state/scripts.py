"""What must happen at once on the server, as Lua: saves that are fenced off, and leases.

A stream has a few keys in one hash slot (`Keys`). The *fence* is the highest fencing token that was ever granted or
saved; it never expires, and nothing but time on the server (PX) ends a lease. Scripts are sent whole (EVAL): a server
that restarted or took over knows no scripts, and a save is hundreds of bytes anyway.
"""

import attrs
from rigatoni_core.api.events import Stream, escaped


@attrs.frozen
class Keys:
    """The keys of one stream. The braces are the hash tag that keeps them on one node of a cluster."""

    checkpoint: str
    fence: str
    lease: str
    wanted: str
    corrupt: str

    @classmethod
    def of(cls, prefix: str, stream: Stream) -> "Keys":
        """`<prefix>{<pipeline>/<stream>}:checkpoint` and its sisters; `Stream.key` escapes braces."""
        return cls(
            *(f"{prefix}{{{stream.key}}}:{name}" for name in ("checkpoint", "fence", "lease", "wanted", "corrupt"))
        )


def instances(prefix: str, pipeline: str) -> str:
    """The key that says which instances of a pipeline are there."""
    return f"{prefix}{{{escaped(pipeline)}}}:instances"


SAVE = """
-- checkpoint, fence, corrupt; token, record ('' clears), '1' where the record that is there can not be read
local fence = tonumber(redis.call('GET', KEYS[2]) or 0)
local token = tonumber(ARGV[1])
if token < fence then return fence end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RPUSH', KEYS[3], redis.call('GET', KEYS[1]))
end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
if token > fence then redis.call('SET', KEYS[2], ARGV[1]) end
return 0
"""
"""0 where it was done, else the fence that refused it."""

ACQUIRE = """
-- lease, fence, wanted; owner, milliseconds. A lease is the text '<fencing token> <owner>'.
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+ (.*)$') ~= ARGV[1] then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], string.format('%d', token) .. ' ' .. ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[3])
return token
"""
"""The fencing token of the grant, 0 where another owner holds the lease. An owner that asks again gets a new token."""

RENEW = """
-- lease; its text, milliseconds
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
"""1 where the lease was held and is extended."""

RELEASE = """
-- lease; its text
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
"""1 where the lease was held and is given up."""

PRESENT = """
-- instances of the pipeline; owner, milliseconds (0: it leaves). Members are owners, scores are when they are gone.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('ZCARD', KEYS[1])
"""
"""How many instances are there."""

PROBE = """
-- a key of its own: everything that the other scripts do
redis.call('SET', KEYS[1], '0', 'PX', 1000)
redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('EXISTS', KEYS[1])
redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[1], '')
redis.call('DEL', KEYS[1])
redis.call('TIME')
redis.call('ZADD', KEYS[1], 1, '')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', 0)
redis.call('ZCARD', KEYS[1])
redis.call('ZREM', KEYS[1], '')
return redis.call('DEL', KEYS[1])
"""
"""Fails where a right is missing, the server is a replica, or its memory is full."""
