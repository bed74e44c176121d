# JSON lines of mpi-bench/run as a gnuplot script: how far each line is from its target, on a logarithmic axis.
function field(name,    s) {
    if (!match($0, "\"" name "\": (\"([^\"\\\\]|\\\\.)*\"|[^,}]*)"))
        return ""
    s = substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 4)
    gsub(/^"|"$/, "", s)
    gsub(/\\"/, "\"", s)
    return s == "null" ? "" : s
}
field("ratio") + 0 > 0 && field("limit") + 0 > 0 {
    count++
    label[count] = field("id") ", against " field("rival")
    distance[count] = field("ratio") / field("limit")
    host = field("host")
}
END {
    if (count == 0)
        exit 1
    printf "set terminal pngcairo size 1000,%d noenhanced font 'sans,11'\n", 120 + 26 * count
    print "set output 'ratios.png'"
    printf "set title \"Distance from the target: left of 1 is met\\n%s\"\n", host
    print "$lines << EOD"
    for (i = 1; i <= count; i++)
        printf "%d %.6g \"%s\"\n", -i, distance[i], label[i]
    print "EOD"
    print "set logscale x; set grid x; unset key; set xlabel 'ours / rival, as a part of what is allowed'"
    printf "set yrange [%d.5:-0.5]; set style fill solid 0.7; set arrow from 1, graph 0 to 1, graph 1 nohead lw 2 front\n", -count
    print "plot $lines using 2:1:(1):2:($1 - 0.3):($1 + 0.3):($2 <= 1 ? 0x2e8b57 : 0xb22222):ytic(3) with boxxyerror linecolor rgb variable"
}
