-- What wrk sends: tools/call, one session after the other (SESSIONS, comma separated), every id once. ARGUMENT_BYTES is the argument's size.
local sessions = {}
for session in string.gmatch(os.getenv("SESSIONS") or "", "[^,]+") do sessions[#sessions + 1] = session end
local text = string.rep("y", tonumber(os.getenv("ARGUMENT_BYTES") or "60"))
local first = tonumber(os.getenv("FIRST_ID") or "1")
local count = 0

function request()
  count = count + 1
  local headers = {
    ["Content-Type"] = "application/json",
    ["Accept"] = "application/json, text/event-stream",
    ["MCP-Protocol-Version"] = "2025-06-18",
    ["Mcp-Session-Id"] = sessions[count % math.max(#sessions, 1) + 1],
  }
  local body = '{"jsonrpc":"2.0","id":' .. (first + count) .. ',"method":"tools/call","params":{"name":"echo","arguments":{"text":"' .. text .. '"}}}'
  return wrk.format("POST", nil, headers, body)
end
