-- Requests of the load test, and their sums as one line of JSON.
--
--   wrk … -s wrk.lua URL -- fixed TOKEN           every request with the same token
--   wrk … -s wrk.lua URL -- cycle PREFIX COUNT    COUNT tokens, one after the other
--   wrk … -s wrk.lua URL -- fresh PREFIX          every request with a token that nobody has seen
--   wrk … -s wrk.lua URL -- page PATH             every request for the same, without a token
--   wrk … -s wrk.lua URL -- pages PREFIX          every request for something new, without a token
--   wrk … -s wrk.lua URL -- introspect            asks a key manager directly, as the gateway does

local head = "GET /orders/1?page=2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load-test\r\n"
  .. "Accept: */*\r\nAuthorization: Bearer "
local untold = "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load-test\r\nAccept: */*\r\n\r\n"
local tail = "\r\n\r\n"

-- One thread makes all requests, so a plain number is enough to tell tokens apart.
local number = 0

local makers = {
  fixed = function(token)
    local text = head .. token .. tail
    return function() return text end
  end,
  cycle = function(prefix, count)
    count = tonumber(count)
    return function()
      number = number % count + 1
      return string.format("%s%s-%024d%s", head, prefix, number, tail)
    end
  end,
  fresh = function(prefix)
    return function()
      number = number + 1
      return string.format("%s%s-%024d%s", head, prefix, number, tail)
    end
  end,
  page = function(path)
    local text = string.format(untold, path)
    return function() return text end
  end,
  pages = function(prefix)
    return function()
      number = number + 1
      return string.format(untold, prefix .. number)
    end
  end,
  introspect = function()
    local text = "POST /oauth2/introspect HTTP/1.1\r\nHost: 127.0.0.1\r\n"
      .. "Content-Type: application/x-www-form-urlencoded\r\n"
      .. "Authorization: Basic Z2F0ZXdheTpkZW1vLXNlY3JldA==\r\n"
      .. "Content-Length: 36\r\n\r\ntoken=direct-00000000000000000000001"
    return function() return text end
  end,
}

function init(args)
  request = makers[args[1]](args[2], args[3])
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
