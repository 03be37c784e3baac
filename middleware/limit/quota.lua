-- One question of a node about a quota in one period. What is kept is how much
-- of it all nodes have used.
--
-- ARGV: used since the last question, used before as the node knows it (the
-- server may have lost some of it), and for how many milliseconds it is kept.
local used = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[2])) + tonumber(ARGV[1])
used = string.format('%.6f', used)
redis.call('SET', KEYS[1], used, 'PX', ARGV[3])
return {'0', used}
