# Instructions that a callgrind profile counts by itself (not inclusive), without functions that wait.
#   -v per=N        divides by N
#   -v left_out=RE  names of functions that are not counted
#   -v top=N        also lists the N functions with most
function name(text,    id, rest) { # "(7) puts" defines 7, "(7)" uses it
    id = text
    sub(/\).*/, ")", id)
    rest = substr(text, length(id) + 2)
    if (rest != "")
        names[id] = rest
    return names[id]
}
/^fn=/ { current = name(substr($0, 4)); next }
/^cfn=/ { name(substr($0, 5)); next }
/^calls=/ { getline; next } # the line behind it is what the callee cost
/^[-+*0-9]/ { cost[current] += $2 }
END {
    for (f in cost)
        if (f ~ left_out)
            waiting += cost[f]
        else
            total += cost[f]
    printf "%.1f\n", total / per
    if (top == 0)
        exit
    printf "%.1f waiting, left out\n", waiting / per
    while (top-- > 0) {
        best = ""
        for (f in cost)
            if (f !~ left_out && (best == "" || cost[f] > cost[best]))
                best = f
        if (best == "")
            break
        printf "%8.1f %5.1f %%  %s\n", cost[best] / per, 100 * cost[best] / total, best
        delete cost[best]
    }
}
