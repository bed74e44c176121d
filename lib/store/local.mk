libraympi_sources += \
	%D%/store.c \
	%D%/store.h \
	%D%/store_arena.c \
	%D%/store_arena.h \
	%D%/store_block.c \
	%D%/store_copy.c \
	%D%/store_descriptor.c \
	%D%/store_extent.c \
	%D%/store_internal.h \
	%D%/store_protect.c \
	%D%/store_room.c \
	%D%/store_spill.c \
	%D%/store_spill.h \
	%D%/store_spill_file.c \
	%D%/store_spill_folder.c \
	%D%/store_spill_hole.c \
	%D%/store_spill_io.c \
	%D%/store_spill_restore.c \
	%D%/store_sums.c \
	%D%/store_checksum.h \
	%D%/store_victims.c
if HAVE_XXHASH
libraympi_sources += %D%/store_checksum.c
else
libraympi_sources += %D%/store_checksum_none.c
endif
