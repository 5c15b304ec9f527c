-- Run by wrk: `wrk -s requests.lua URL -- FILE SUCCESS`. FILE has a request a line: method, path, Authorization and
-- body between tabs, empty where there is none. An answer is good with status 200 and SUCCESS in its body.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  requests, sent, bad, first_bad, success = {}, 0, 0, '', args[2]
  for line in io.lines(args[1]) do
    local method, path, authorization, body = line:match('^(.-)\t(.-)\t(.-)\t(.*)$')
    local headers = {}
    if authorization ~= '' then headers['Authorization'] = authorization end
    if body == '' then body = nil else headers['Content-Type'] = 'application/json' end
    table.insert(requests, wrk.format(method, path, headers, body))
  end
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

function response(status, _, body)
  if status == 200 and body:find(success, 1, true) then return end
  bad = bad + 1
  if first_bad == '' then first_bad = status .. ' ' .. body:sub(1, 200):gsub('%c', ' ') end
end

function done(summary, latency)
  local all_bad, first = 0, ''
  for _, thread in ipairs(threads) do
    all_bad = all_bad + thread:get('bad')
    if first == '' then first = thread:get('first_bad') end
  end
  local function say(name, value) io.write('bench.', name, ' ', value, '\n') end
  say('requests', summary.requests)
  say('duration_us', summary.duration)
  say('p50_us', latency:percentile(50))
  say('p99_us', latency:percentile(99))
  for _, kind in ipairs({ 'connect', 'read', 'write', 'timeout' }) do say(kind, summary.errors[kind]) end
  say('bad', all_bad)
  say('first_bad', first)
end
