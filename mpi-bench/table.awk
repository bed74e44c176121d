# JSON lines of mpi-bench/run as a table.
function field(name,    s) {
    if (!match($0, "\"" name "\": (\"([^\"\\\\]|\\\\.)*\"|[^,}]*)"))
        return ""
    s = substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 4)
    gsub(/^"|"$/, "", s)
    gsub(/\\"/, "\"", s)
    return s == "null" ? "-" : s
}
NR == 1 {
    print field("host") ", " field("reps") " repetitions"
    form = "%-7s %-62.62s %10s %-14s %-24.24s %10s %9s %7s  %-34.34s %-5s %s\n"
    printf form, "id", "work", "ours", "unit", "rival", "theirs", "ratio", "spread", "target", "met", "why"
}
{
    met = field("met")
    printf form, field("id"), field("work"), field("ours"), field("unit"), field("rival"), field("theirs"), field("ratio"), \
        field("spread"), field("target"), met == "true" ? "yes" : met == "false" ? "NO" : "-", field("why")
    count[met]++
}
END { printf "%d met, %d not met, %d without a verdict\n", count["true"], count["false"], count["-"] }
