"""The line that all workers share, in Lua, which Redis runs one script at a time.

Times are microseconds of Redis' own clock. For each provider there are

- ``queue``: everybody who waits, by arrival;
- ``awake``: processes that have callers in the queue, by when they are taken for dead;
- ``held``: slots, by when their leases run out;
- ``state``: the last arrival and start, and what the provider's headers asked for;
- ``requests`` and ``tokens``: what was begun, by sixtieth of a window.

A caller is called ``process:number``. Every script leaves a time to live on what it
writes.
"""

from __future__ import annotations

NAMES = ("queue", "awake", "held", "state", "requests", "tokens")
"""What the keys are called, in the order of ``KEYS``."""

_BEGIN = """
local queue, awake, held, state, requests, tokens = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local keep = tonumber(ARGV[1])
"""

ADMITTED, WAITING, FORGOTTEN = 1, 0, 2

ASK = (
    _BEGIN
    + """
local ticket, process, epoch = ARGV[2], ARGV[3], tonumber(ARGV[4])
local number = {}
for i = 5, #ARGV do number[i - 4] = tonumber(ARGV[i]) end
local arrival, holding, lease, patience, hold_max = unpack(number, 1, 5)
local most, interval, rpm, tpm, counted, ask, width = unpack(number, 6, 12)
local bucket = math.floor(now / width)

local s = redis.call('HMGET', state, 'epoch', 'arrival', 'start', 'hold', 'spacing',
  'spaced', 'left', 'left_at', 'left_rate', 'left_until')
for i = 1, 10 do s[i] = tonumber(s[i]) or 0 end
local known, last, start, hold, spacing, spaced = unpack(s, 1, 6)
local left, left_at, left_rate, left_until = unpack(s, 7, 10)
if known == 0 then
  known = now
  redis.call('HSET', state, 'epoch', known)
  redis.call('PEXPIRE', state, keep)
end
if holding == 1 and known ~= epoch then return {2, known} end
if redis.call('ZSCORE', held, ticket) then return {1, known, arrival, bucket} end

local function owner(name) return string.match(name, '^[^:]+') end

redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
local gone, dead = {}, redis.call('ZRANGEBYSCORE', awake, '-inf', now)
if #dead > 0 then
  for _, name in ipairs(dead) do gone[name] = true end
  for _, place in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
    if gone[owner(place)] then redis.call('ZREM', queue, place) end
  end
  redis.call('ZREMRANGEBYSCORE', awake, '-inf', now)
end

local known_place = arrival ~= 0
if not known_place then
  arrival = math.max(now, last + 1)
  redis.call('HSET', state, 'arrival', arrival)
end
redis.call('ZADD', queue, arrival, ticket)
if known_place then
  -- Only the first caller of a process looks again. Who of it stands further ahead has
  -- left when Redis could not be told; or comes back by looking, should it be wrong.
  local first = redis.call('ZRANGE', queue, 0, 0)[1]
  while first ~= ticket and owner(first) == process do
    redis.call('ZREM', queue, first)
    first = redis.call('ZRANGE', queue, 0, 0)[1]
  end
end
local ahead = redis.call('ZRANK', queue, ticket)

-- How long until some more fit under a limit of a window.
local function frees(key, limit, more)
  if limit == 0 then return 0 end
  local counts, total, all = {}, 0, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local number, count = tonumber(all[i]), tonumber(all[i + 1])
    if math.abs(bucket - number) > 60 then
      redis.call('HDEL', key, all[i])
    else
      counts[number], total = count, total + count
    end
  end
  local excess = total + more - limit
  if excess <= 0 then return 0 end
  for number = bucket - 60, bucket + 60 do
    excess = excess - (counts[number] or 0)
    if excess <= 0 then return (number + 61) * width - now end
  end
  return 61 * width
end

-- A clock that was set back must not keep anybody waiting.
if start > now then start = now end
if spaced > now then interval = math.max(interval, spacing) end
local certain = math.max(0, math.min(hold - now, hold_max), start + interval - now,
  frees(requests, rpm, 1))
local wait = math.max(certain, frees(tokens, tpm, counted))
if left_until > now then
  local there = left + (now - left_at) * left_rate
  if there < ask then
    wait = math.max(wait, math.min((ask - there) / left_rate, left_until - now))
  end
end
local busy = redis.call('ZCARD', held)
if busy == 0 then certain = wait end

-- With nothing to take turns for, as many as there are slots need not wait for the
-- first one's process to look.
local unpaced = interval == 0 and rpm == 0 and tpm == 0
local turn = ahead == 0 or (unpaced and ahead < most - busy)
if not (turn and wait == 0 and busy < most) then
  redis.call('ZADD', awake, now + patience, process)
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, keep) end
  return {0, known, arrival, math.ceil(certain), math.ceil(wait + ahead * interval),
    ahead}
end

redis.call('ZREM', queue, ticket)
redis.call('ZADD', held, now + lease, ticket)
redis.call('HSET', state, 'start', now)
if rpm > 0 then redis.call('HINCRBY', requests, bucket, 1) end
if tpm > 0 then redis.call('HINCRBY', tokens, bucket, counted) end
if left_until > now then redis.call('HSET', state, 'left', left - ask) end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, keep) end
return {1, known, arrival, bucket}
"""
)
"""Take a place, or look at it again, and start where it is time.

Asking twice is like asking once: a connection may break when Redis has already done it.
A process that holds slots and last knew another epoch is told that Redis forgot them.
"""

LEAVE = (
    _BEGIN
    + """
local ticket, bucket, fewer = ARGV[2], ARGV[3], ARGV[4]
redis.call('ZREM', queue, ticket)
if redis.call('ZREM', held, ticket) == 0 or bucket == '' then return end
local function correct(key, amount)
  if tonumber(amount) ~= 0 and redis.call('HEXISTS', key, bucket) == 1 then
    redis.call('HINCRBY', key, bucket, amount)
  end
end
correct(tokens, fewer)
correct(requests, ARGV[5])
"""
)
"""Give a slot or a place back, and correct what was counted."""

RENEW = (
    _BEGIN
    + """
local lease = tonumber(ARGV[2])
for i = 3, #ARGV do
  redis.call('ZADD', held, now + lease, ARGV[i])
  redis.call('ZREM', queue, ARGV[i])
end
redis.call('HSETNX', state, 'epoch', now)
redis.call('PEXPIRE', held, keep)
redis.call('PEXPIRE', state, keep)
return tonumber(redis.call('HGET', state, 'epoch'))
"""
)
"""Make leases last, those too that Redis forgot or never heard of."""

SLOW = (
    _BEGIN
    + """
local hold, spacing, spaced, left, rate, lasts = unpack(ARGV, 2)
hold, spaced, lasts = tonumber(hold), tonumber(spaced), tonumber(lasts)
if hold > 0 then
  local held_until = tonumber(redis.call('HGET', state, 'hold')) or 0
  redis.call('HSET', state, 'hold', math.max(held_until, now + hold))
end
if spaced > 0 then
  redis.call('HSET', state, 'spacing', spacing, 'spaced', now + spaced)
end
if lasts > 0 then
  redis.call('HSET', state, 'left', left, 'left_at', now, 'left_rate', rate,
    'left_until', now + lasts)
end
redis.call('PEXPIRE', state, keep)
"""
)
"""Heed a provider: a hold may be made longer, the rest is its latest word."""
