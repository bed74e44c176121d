libraympi_sources += \
	%D%/net.c \
	%D%/net.h \
	%D%/net_futex.c \
	%D%/net_futex.h \
	%D%/net_idle.c \
	%D%/net_internal.h \
	%D%/net_joint.c \
	%D%/net_joint.h \
	%D%/net_joint_death.c \
	%D%/net_joint_heart.c \
	%D%/net_joint_rest.c \
	%D%/net_life.c \
	%D%/net_life.h \
	%D%/net_link.c \
	%D%/net_link.h \
	%D%/net_link_in.c \
	%D%/net_link_internal.h \
	%D%/net_link_out.c \
	%D%/net_mpi.c \
	%D%/net_read.c \
	%D%/net_read.h \
	%D%/net_read_known.c \
	%D%/net_read_open.c \
	%D%/net_read_rma.c \
	%D%/net_read_try.c \
	%D%/net_ring.c \
	%D%/net_inline.h \
	%D%/net_ring.h \
	%D%/net_shm.c \
	%D%/net_shm.h \
	%D%/net_shm_death.c \
	%D%/net_shm_poll.c \
	%D%/net_shm_send.c \
	%D%/net_sim.c \
	%D%/net_sim.h \
	%D%/net_sim_faults.c \
	%D%/net_sim_internal.h \
	%D%/net_sim_parts.c \
	%D%/net_sim_run.c \
	%D%/net_watch.c \
	%D%/net_watch.h \
	%D%/net_wire.h
if HAVE_LIBFABRIC
libraympi_sources += \
	%D%/net_ofi.c \
	%D%/net_ofi.h \
	%D%/net_ofi_buffers.c \
	%D%/net_ofi_networks.c \
	%D%/net_ofi_open.c \
	%D%/net_ofi_regions.c \
	%D%/net_read_ofi.c \
	%D%/net_seal.c \
	%D%/net_seal.h
else
libraympi_sources += %D%/net_ofi_none.c
endif
