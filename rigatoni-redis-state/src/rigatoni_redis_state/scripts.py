"""Atomic operations on the server, as Lua scripts: fenced saves, and leases.

A stream has several keys in one hash slot (`Keys`). The *fence* is the highest fencing token that was ever granted or
saved. It never expires. A lease expires by the server's clock only (PX). A server may lose the fence's key by eviction,
by a failover, or by restoring a backup. Therefore the lease and the record also contain their fencing token, and a new
token is never below the server's clock. Scripts are sent in full (EVAL), because a server that restarted or took over
has no cached scripts, and a save is hundreds of bytes anyway.
"""

import re

import attrs
from rigatoni_core.api.events import Stream, escaped


@attrs.frozen
class Keys:
    """The keys of one stream. The braces are a hash tag, which keeps the keys on one node of a cluster."""

    checkpoint: str
    fence: str
    lease: str
    wanted: str
    corrupt: str

    @classmethod
    def of(cls, prefix: str, stream: Stream) -> "Keys":
        """Return `<prefix>{<pipeline>/<stream>}:checkpoint` and the other keys. `Stream.key` escapes braces."""
        return cls(
            *(f"{prefix}{{{stream.key}}}:{name}" for name in ("checkpoint", "fence", "lease", "wanted", "corrupt"))
        )


def instances(prefix: str, pipeline: str) -> str:
    """Return the key that holds the running instances of a pipeline."""
    return f"{prefix}{{{escaped(pipeline)}}}:instances"


def checkpoints(prefix: str, pipeline: str | None) -> str:
    """Return the glob pattern of the checkpoints' keys, of one pipeline or of all."""
    literal = f"{prefix}{{" + (f"{escaped(pipeline)}/" if pipeline is not None else "")
    literal = re.sub(r"([*?\[\]\\])", r"\\\1", literal)
    return f"{literal}*}}:checkpoint"


def stream_key(prefix: str, key: str) -> str:
    """Return the `Stream.key` in the key of a checkpoint."""
    return key.removeprefix(f"{prefix}{{").removesuffix("}:checkpoint")


_FENCE = """
-- Returns the highest known fencing token of a stream, or nil.
local function fence(fence_key, checkpoint_key, lease_key)
  local highest = tonumber(redis.call('GET', fence_key) or '')
  local function witness(token)
    if token and token < 9007199254740992 and not (highest and highest >= token) then highest = token end
  end
  local record = redis.call('GET', checkpoint_key)
  if record then
    local readable, fields = pcall(cjson.decode, record)
    if readable and type(fields) == 'table' then witness(tonumber(fields.fencing_token)) end
  end
  local lease = redis.call('GET', lease_key)
  if lease then witness(tonumber(string.match(lease, '^%d+'))) end
  return highest
end
"""

SAVE = (
    _FENCE
    + """
-- KEYS: checkpoint, fence, lease, corrupt. ARGV: token, record, '1' if the stored record is corrupt.
local known = fence(KEYS[2], KEYS[1], KEYS[3])
if known and known ~= tonumber(ARGV[1]) then return known end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RPUSH', KEYS[4], redis.call('GET', KEYS[1]))
end
redis.call('SET', KEYS[1], ARGV[2])
if redis.call('GET', KEYS[2]) ~= ARGV[1] then redis.call('SET', KEYS[2], ARGV[1]) end
return false
"""
)
"""Returns nothing on success, else the fence that rejected the token. Without a fence any token is accepted."""

ACQUIRE = (
    _FENCE
    + """
-- KEYS: lease, fence, wanted, checkpoint. ARGV: owner, milliseconds. A lease is the text '<fencing token> <owner>'.
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+ (.*)$') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local token = math.max(fence(KEYS[2], KEYS[4], KEYS[1]) or 0, now) + 1
local text = string.format('%.0f', token)
redis.call('SET', KEYS[2], text)
redis.call('SET', KEYS[1], text .. ' ' .. ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[3])
return token
"""
)
"""Returns the granted fencing token, or 0 if another owner holds the lease. The current owner gets a new token."""

RENEW = """
-- KEYS: lease, fence. ARGV: the lease's text, milliseconds, its token. Restores a fence that the server has lost.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if (tonumber(redis.call('GET', KEYS[2]) or '') or 0) < tonumber(ARGV[3]) then redis.call('SET', KEYS[2], ARGV[3]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
"""Returns 1 if the lease was held and is extended, else 0."""

RELEASE = """
-- KEYS: lease. ARGV: the lease's text.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
"""Returns 1 if the lease was held and is released, else 0."""

PRESENT = """
-- KEYS: instances. ARGV: owner, milliseconds (0: it leaves). Members are owners, scores are their expiry times.
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
"""Returns the number of running instances."""

PROBE = """
-- KEYS: a key that only this script uses. It runs every command of the other scripts.
redis.call('SET', KEYS[1], '0', 'PX', 1000)
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('EXISTS', KEYS[1])
redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[1], '')
redis.call('DEL', KEYS[1])
redis.call('TIME')
redis.call('SCAN', '0', 'MATCH', KEYS[1], 'COUNT', '1')
redis.call('ZADD', KEYS[1], 1, '')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', 0)
redis.call('ZCARD', KEYS[1])
redis.call('ZREM', KEYS[1], '')
return redis.call('DEL', KEYS[1])
"""
"""Fails if a permission is missing, if the server is a replica, or if its memory is full."""
