libraympi_sources += \
	%D%/base.h \
	%D%/base_clock.c \
	%D%/base_config.c \
	%D%/base_crash.c \
	%D%/base_defect.c \
	%D%/base_defect.h \
	%D%/base_fence.c \
	%D%/base_fence.h \
	%D%/base_fiber.c \
	%D%/base_fiber.h \
	%D%/base_fiber_internal.h \
	%D%/base_fiber_tools.h \
	%D%/base_internal.h \
	%D%/base_log.c \
	%D%/base_memory.c \
	%D%/base_pool.c \
	%D%/base_pool.h \
	%D%/base_scarce.c \
	%D%/base_segment.c \
	%D%/base_spin.c \
	%D%/base_spin.h \
	%D%/base_status.c \
	%D%/base_version.c

# How a fiber is switched: one of these. All are shipped.
EXTRA_DIST += %D%/base_fiber_x86_64.S %D%/base_fiber_aarch64.S %D%/base_fiber_ucontext.c
if FIBER_X86_64
libraympi_sources += %D%/base_fiber_x86_64.S
endif
if FIBER_AARCH64
libraympi_sources += %D%/base_fiber_aarch64.S
endif
if FIBER_UCONTEXT
libraympi_sources += %D%/base_fiber_ucontext.c
endif
