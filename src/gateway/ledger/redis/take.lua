-- Takes some of an account, as plan::ledger::take says. One script is one step: nothing else happens in between.
--
-- KEYS  what has been taken of the account; this gateway's latest take of it ("NUMBER ADDED")
-- ARGV  limit, owed, returned, at least, wish; number, unanswered from; seconds to keep the one and the other
--
-- Returns what is granted and what is taken now; nothing where a later take of this gateway was there before.
--
-- Amounts go up to 2^64 - 1, and Lua's numbers are exact up to 2^53 only: so an amount is two halves of ten decimal digits.
local HALF = 10000000000
local NONE = {0, 0}
local MOST = {1844674407, 3709551615}

local function read(text)
  local digits = string.rep('0', 20 - #text) .. text
  return {tonumber(string.sub(digits, 1, 10)), tonumber(string.sub(digits, 11))}
end

local function written(a)
  if a[1] == 0 then return string.format('%.0f', a[2]) end
  return string.format('%.0f%010.0f', a[1], a[2])
end

local function less(a, b)
  return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
end

local function plus(a, b)
  local high, low = a[1] + b[1], a[2] + b[2]
  if low >= HALF then high, low = high + 1, low - HALF end
  local sum = {high, low}
  if less(MOST, sum) then return MOST end
  return sum
end

local function minus(a, b)
  if less(a, b) then return NONE end
  local high, low = a[1] - b[1], a[2] - b[2]
  if low < 0 then high, low = high - 1, low + HALF end
  return {high, low}
end

local function sixteenth(a)
  local rest = a[1] % 16
  return {(a[1] - rest) / 16, math.floor((rest * HALF + a[2]) / 16)}
end

local limit, owed, returned = read(ARGV[1]), read(ARGV[2]), read(ARGV[3])
local at_least, wish = read(ARGV[4]), read(ARGV[5])
local number, unanswered_from = tonumber(ARGV[6]), tonumber(ARGV[7])

local known = redis.call('GET', KEYS[1]) or '0'
if #known > 20 or not string.match(known, '^%d+$') then
  return redis.error_reply('ERR ' .. KEYS[1] .. ' is damaged: remove it to begin this budget anew')
end
local taken = read(known)

local latest = redis.call('GET', KEYS[2])
if latest then
  local before, added = string.match(latest, '^(%d+) (%d+)$')
  if before then
    if tonumber(before) >= number then return false end
    if tonumber(before) >= unanswered_from then taken = minus(taken, read(added)) end
  end
end

local now = minus(plus(taken, owed), returned)
local left = minus(limit, now)
local amount = NONE
if not less(left, at_least) then
  amount = sixteenth(left)
  if less(wish, amount) then amount = wish end
  if less(amount, at_least) then amount = at_least end
end
now = plus(now, amount)
local added = minus(now, minus(taken, returned))

redis.call('MSET', KEYS[1], written(now), KEYS[2], ARGV[6] .. ' ' .. written(added))
redis.call('EXPIRE', KEYS[1], ARGV[8])
redis.call('EXPIRE', KEYS[2], ARGV[9])
return {written(amount), written(now)}
