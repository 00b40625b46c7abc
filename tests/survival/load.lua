-- Counts answers by status, and prints what was seen as one line of JSON.
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init()
    good, bad, first_bad = 0, 0, ""
end

function response(status, _, body)
    if status == 200 then
        good = good + 1
    else
        bad = bad + 1
        if first_bad == "" then
            first_bad = status .. " " .. body
        end
    end
end

function done(summary, latency)
    local good, bad, words = 0, 0, ""
    for _, thread in ipairs(threads) do
        good = good + thread:get("good")
        bad = bad + thread:get("bad")
        if words == "" then
            words = thread:get("first_bad")
        end
    end
    local errors = summary.errors
    local broken = errors.connect + errors.read + errors.write + errors.timeout
    local ms = function(percent) return latency:percentile(percent) / 1000 end
    print(string.format(
        'RESULT {"good": %d, "bad": %d, "broken": %d, "p50": %.3f, "p99": %.3f, "p999": %.3f, "max": %.3f, "words": %q}',
        good, bad, broken, ms(50), ms(99), ms(99.9), latency.max / 1000, words:gsub('"', "'"):gsub("\n", " ")))
end
