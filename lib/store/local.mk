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
	%D%/store_room.c
