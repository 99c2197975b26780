-- Has wrk send the requests of a file, all of one length, in turn, so that it sends the same bytes as our load generator:
--
--     wrk --script wrk_requests.lua URL -- FILE COUNT

local requests, turn = {}, 0

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    local bytes = file:read("*a")
    file:close()
    local length = #bytes / tonumber(arguments[2])
    for first = 1, #bytes, length do
        requests[#requests + 1] = bytes:sub(first, first + length - 1)
    end
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end
