/* The table that RAYMPI_STATS=1 prints. */
#include "trace/trace.h"

#include <string.h>

#define TABLE_RANK_WIDTH 5 /* "total" */

static int table_digits(uint64_t value)
{
    int digits = 1;
    while (value >= 10) {
        value /= 10;
        digits++;
    }
    return digits;
}

static uint64_t table_total(const uint64_t *sums, int count, unsigned counter)
{
    uint64_t total = 0;
    for (int rank = 0; rank < count; rank++)
        total += sums[(size_t)rank * TRACE_COUNTERS + counter];
    return total;
}

static void table_row(FILE *file, const char *label, const uint64_t *row, const int *widths)
{
    fprintf(file, "raympi: %*s", TABLE_RANK_WIDTH, label);
    for (unsigned counter = 0; counter < TRACE_COUNTERS; counter++)
        fprintf(file, "  %*llu", widths[counter], (unsigned long long)row[counter]);
    fputc('\n', file);
}

void trace_table(FILE *file, const uint64_t *sums, int count)
{
    int widths[TRACE_COUNTERS];
    uint64_t totals[TRACE_COUNTERS];
    fprintf(file, "raympi: %*s", TABLE_RANK_WIDTH, "rank");
    for (unsigned counter = 0; counter < TRACE_COUNTERS; counter++) {
        const char *title = trace_counter_text(counter);
        totals[counter] = table_total(sums, count, counter);
        int digits = table_digits(totals[counter]);
        widths[counter] = digits > (int)strlen(title) ? digits : (int)strlen(title);
        fprintf(file, "  %*s", widths[counter], title);
    }
    fputc('\n', file);
    for (int rank = 0; rank < count; rank++) {
        char label[16];
        snprintf(label, sizeof label, "%d", rank);
        table_row(file, label, sums + (size_t)rank * TRACE_COUNTERS, widths);
    }
    table_row(file, "total", totals, widths);
}
