# One row's measurements to JSON lines, one for each target of the row.
#   input: "target RIVAL LIMIT TEXT", "sound RIVAL RATIO", "broken NAME WHY", "others PERCENT", "value NAME REPETITION NUMBER", tab-separated
#   -v id, work, unit, host, reps
BEGIN { FS = "\t" }
$1 == "target" { targets++; rival[targets] = $2; limit[targets] = $3; text[targets] = $4 }
$1 == "sound" { sound_rival = $2; sound_ratio = $3 }
$1 == "broken" { broken[$2] = $3 }
$1 == "others" && $2 >= others { others = $2 }
$1 == "value" { value[$2, $3] = $4 }

function quote(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "\"" s "\"" }
function number(x) { return x == "" ? "null" : sprintf("%.4g", x) + 0 }

# Sorts list[1..count] and gives its quantile q.
function quantile(list, count, q,    i, j, x, place) {
    for (i = 2; i <= count; i++) {
        x = list[i]
        for (j = i - 1; j > 0 && list[j] > x; j--)
            list[j + 1] = list[j]
        list[j + 1] = x
    }
    place = 1 + q * (count - 1)
    i = int(place)
    return i >= count ? list[count] : list[i] + (place - i) * (list[i + 1] - list[i])
}
function median(name,    list, count, i) {
    for (i = 1; i <= reps; i++)
        if ((name, i) in value)
            list[++count] = value[name, i]
    return count == 0 ? "" : quantile(list, count, 0.5)
}
# Quantile q of the ratios within each repetition: the machine's moods change from one to the next.
function ratio(a, b, q,    list, count, i) {
    for (i = 1; i <= reps; i++)
        if ((a, i) in value && (b, i) in value && value[b, i] + 0 > 0)
            list[++count] = value[a, i] / value[b, i]
    return count == 0 ? "" : quantile(list, count, q)
}
# Why ours cannot be judged against this rival; empty when it can.
function obstacle(name,    bare) {
    if ("ours" in broken)
        return "ours: " broken["ours"]
    if (name in broken)
        return broken[name]
    if (others > 20)
        return "other processes used " others " % of this machine"
    if (sound_rival == "")
        return ""
    bare = ratio("bare", sound_rival, 0.5)
    if (bare == "")
        return "the bare program cannot be compared with " sound_rival
    if (bare > 1.3 * sound_ratio)
        return sprintf("the bare program takes %.3g of %s, the spike took %.3g", bare, sound_rival, sound_ratio)
    return ""
}
END {
    for (t = 1; t <= targets; t++) {
        r = ratio("ours", rival[t], 0.5)
        why = obstacle(rival[t])
        met = why != "" || r == "" ? "null" : r <= limit[t] ? "true" : "false"
        spread = r == "" || r == 0 ? "" : (ratio("ours", rival[t], 0.75) - ratio("ours", rival[t], 0.25)) / r
        printf "{\"id\": %s, \"work\": %s, \"unit\": %s, \"ours\": %s, \"rival\": %s, \"theirs\": %s, \"ratio\": %s, ", \
            quote(id), quote(work), quote(unit), number(median("ours")), quote(rival[t]), number(median(rival[t])), number(r)
        printf "\"target\": %s, \"limit\": %s, \"met\": %s, \"reps\": %d, \"spread\": %s, \"host\": %s", \
            quote(text[t]), number(limit[t]), met, reps, number(spread), quote(host)
        if (sound_rival != "")
            printf ", \"bare\": %s, \"bare_rival\": %s, \"bare_ratio\": %s, \"bare_limit\": %s", number(median("bare")), \
                quote(sound_rival), number(ratio("bare", sound_rival, 0.5)), number(1.3 * sound_ratio)
        if (others != "")
            printf ", \"others\": %d", others
        printf "%s}\n", why == "" ? "" : ", \"why\": " quote(why)
    }
}
