-- One question of a node about one key. What is kept is how much is in use and
-- since when: "LEVEL TIME", in requests and microseconds of the server's clock.
--
-- ARGV: requests that drain in a microsecond, burst, admitted already, wanted,
-- given back, in use as the node knows it, and whether that counts although the
-- server knows something too (it may have lost or missed some of it).
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local debt, want, back = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local floor, force = tonumber(ARGV[6]), ARGV[7] == '1'
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local level = floor
local kept = redis.call('GET', KEYS[1])
if kept then
  local l, last = string.match(kept, '^(%S+) (%S+)$')
  -- A clock that went back drains nothing, and starts anew from here.
  level = math.max(0, tonumber(l) - math.max(0, now - tonumber(last)) * rate)
  if force then level = math.max(level, floor) end
end
level = math.max(0, level - back) + debt
local grant = math.max(0, math.min(want, math.floor(burst - level + 1e-6)))
level = level + grant
local life = math.ceil(level / rate / 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.6f %.0f', level, now), 'PX', string.format('%.0f', life))
return {string.format('%.6f', grant), string.format('%.6f', level)}
