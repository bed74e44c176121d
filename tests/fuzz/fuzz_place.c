/* Places in the store, which come in messages: a stale or invented one never gives memory that is not a
 * block's. An input is a sequence of {operation, rank, index, generation}. */
#include "fuzz.h"

#include "store/store.h"

#define PAGE  4096
#define STEPS 32

static void fuzz_seeds(void)
{
    unsigned char step[6][17] = {{0}};
    for (int i = 0; i < 6; i++) {
        step[i][0] = (unsigned char)i;
        step[i][9] = 1;
    }
    fuzz_seed(step, sizeof step);
}

static struct base_segment segment;
static struct store_layout layout;

static void segment_open(void)
{
    const uint64_t cookie[2] = {(uint64_t)getpid(), 1};
    if (segment.write)
        return;
    store_layout_make(&layout, 2, 2 << 20);
    uint64_t control = base_align_up(PAGE + layout.control_bytes, PAGE);
    FUZZ_CHECK(base_segment_create(&segment, control + layout.extents * layout.extent_bytes, control,
                                   cookie) == RAYMPI_OK);
    base_segment_unlink(&segment);
}

static void step_run(struct store *stores[2], uint64_t operation, struct store_place place)
{
    struct store *store = stores[operation >> 3 & 1];
    const void *bytes;
    void *data;
    uint64_t length, sum = 0;
    switch (operation % 6) {
    case 0:
        if (store_create(store, 1 + place.index % 5000, &place, &data) == RAYMPI_OK)
            memset(data, 1, 1 + place.index % 5000 ? 1 : 0);
        break;
    case 1:
        store_seal(store, place);
        break;
    case 2:
        if (store_pin(store, place, &bytes, &length) == RAYMPI_OK)
            for (uint64_t i = 0; i < length; i++)
                sum += ((const unsigned char *)bytes)[i];
        break;
    case 3:
        store_unpin(store, place);
        break;
    case 4:
        store_free(store, place);
        break;
    default:
        store_collect(store);
    }
    FUZZ_CHECK(sum < UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store *stores[2];
    segment_open();
    for (int rank = 0; rank < 2; rank++)
        FUZZ_CHECK(store_open(&stores[rank], &segment, &layout, PAGE, segment.control_size, rank, 0.0) ==
                   RAYMPI_OK);
    for (int step = 0; step < STEPS && size > 0; step++) {
        uint64_t operation = fuzz_take(&data, &size, 1);
        struct store_place place = {.rank = (uint32_t)fuzz_take(&data, &size, 4)};
        place.index = (uint32_t)fuzz_take(&data, &size, 4);
        place.generation = fuzz_take(&data, &size, 8);
        step_run(stores, operation, place);
    }
    store_close(stores[1]);
    store_close(stores[0]);
    return 0;
}
