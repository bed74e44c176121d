/* Slots on disk whose blocks were freed. They go back to the disk when the writing thread has nothing else to
 * do, or the disk is full; before that, another block of their length may have one: to write over what is
 * there takes the system less than half as long as to give it back and take it anew (ext4, Linux 6.18).
 * The writing thread's. */
#include "store/store_spill.h"

#include <fcntl.h>
#include <stdlib.h>
#include <utlist.h>

#define HOLE_LOOKS 64 /* at the last of them, for one of the right length */

void spill_hole_add(struct spill_files *files, struct spill_copy *copy)
{
    DL_PREPEND(files->holes, copy);
    copy->file->holes++;
}

static void hole_remove(struct spill_files *files, struct spill_copy *hole)
{
    DL_DELETE(files->holes, hole);
    hole->file->holes--;
    free(hole);
}

static bool hole_fits(const struct spill_copy *hole, const struct spill_copy *copy)
{
    /* Not more bytes: others may begin in its last page. Relaxed: what is written to a broken file is lost,
     * as it may be in any. */
    return copy->length <= hole->length && spill_pages(copy->length) == spill_pages(hole->length) &&
           !atomic_load_explicit(&hole->file->broken, memory_order_relaxed);
}

bool spill_hole_take(struct spill_files *files, struct spill_copy *copy)
{
    struct spill_copy *hole;
    int looks = 0;
    if (copy->length < SPILL_SLOT_SMALL)
        return false;
    DL_FOREACH (files->holes, hole) {
        if (hole_fits(hole, copy)) {
            copy->file = hole->file;
            copy->offset = hole->offset;
            copy->file->slots++;
            hole_remove(files, hole);
            return true;
        }
        if (++looks == HOLE_LOOKS)
            return false;
    }
    return false;
}

/* Where the file system knows no holes, the space comes back with the file. */
static void hole_punch(const struct spill_copy *hole)
{
    fallocate(hole->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)hole->offset,
              (off_t)(hole->length / SPILL_PAGE * SPILL_PAGE));
}

static void holes_forget(struct spill_files *files, const struct spill_file *file)
{
    struct spill_copy *hole, *next;
    DL_FOREACH_SAFE (files->holes, hole, next)
        if (hole->file == file)
            hole_remove(files, hole);
}

bool spill_hole_return(struct spill_files *files)
{
    if (!files->holes)
        return false;
    struct spill_copy *oldest = files->holes->prev;
    struct spill_file *file = oldest->file;
    if (file->slots == 0) {
        holes_forget(files, file);
        spill_file_emptied(files, file);
    } else {
        hole_punch(oldest);
        hole_remove(files, oldest);
    }
    return true;
}
