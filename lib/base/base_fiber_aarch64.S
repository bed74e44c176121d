/*
 * Context switch for AArch64, AAPCS64; the interface is in base_fiber_internal.h.
 *
 * A suspended context is the value of its stack pointer. There lie, upwards: x19 to x28, x29, x30 (where to go on),
 * d8 to d15, FPCR, and 8 bytes to keep the stack aligned.
 *
 * hint #34 is "bti c", spelled so that every assembler takes it.
 */
#define FRAME_BYTES 176

    .text

    .globl fiber_context_switch
    .hidden fiber_context_switch
    .type fiber_context_switch, %function
    .p2align 4
fiber_context_switch:                   /* x0: where to save, x1: what to continue */
    .cfi_startproc
    hint #34
    sub sp, sp, #FRAME_BYTES
    .cfi_adjust_cfa_offset FRAME_BYTES
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    .cfi_rel_offset x19, 0
    .cfi_rel_offset x20, 8
    .cfi_rel_offset x21, 16
    .cfi_rel_offset x22, 24
    .cfi_rel_offset x23, 32
    .cfi_rel_offset x24, 40
    .cfi_rel_offset x25, 48
    .cfi_rel_offset x26, 56
    .cfi_rel_offset x27, 64
    .cfi_rel_offset x28, 72
    .cfi_rel_offset x29, 80
    .cfi_rel_offset x30, 88
    .cfi_rel_offset d8, 96
    .cfi_rel_offset d9, 104
    .cfi_rel_offset d10, 112
    .cfi_rel_offset d11, 120
    .cfi_rel_offset d12, 128
    .cfi_rel_offset d13, 136
    .cfi_rel_offset d14, 144
    .cfi_rel_offset d15, 152
    mrs x9, fpcr
    str x9, [sp, #160]
    mov x10, sp
    str x10, [x0]
    mov sp, x1                          /* the other stack is laid out alike: the CFI stays true */
    ldr x11, [sp, #160]
    cmp x9, x11
    b.eq 1f                             /* writing FPCR is slow, and it hardly ever differs */
    msr fpcr, x11
1:
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #FRAME_BYTES
    .cfi_def_cfa_offset 0
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    .cfi_restore d8
    .cfi_restore d9
    .cfi_restore d10
    .cfi_restore d11
    .cfi_restore d12
    .cfi_restore d13
    .cfi_restore d14
    .cfi_restore d15
    ret
    .cfi_endproc
    .size fiber_context_switch, .-fiber_context_switch

    .globl fiber_context_make
    .hidden fiber_context_make
    .type fiber_context_make, %function
    .p2align 4
fiber_context_make:                     /* x0: stack, x1: its bytes, x2: entry, x3: arg */
    .cfi_startproc
    hint #34
    add x0, x0, x1
    and x0, x0, #-16
    sub x0, x0, #FRAME_BYTES
    stp x2, x3, [x0, #0]                /* x19: entry, x20: arg */
    stp xzr, xzr, [x0, #16]
    stp xzr, xzr, [x0, #32]
    stp xzr, xzr, [x0, #48]
    stp xzr, xzr, [x0, #64]
    adr x9, fiber_context_start
    stp xzr, x9, [x0, #80]              /* x29: the end of the frame pointers' chain */
    stp xzr, xzr, [x0, #96]
    stp xzr, xzr, [x0, #112]
    stp xzr, xzr, [x0, #128]
    stp xzr, xzr, [x0, #144]
    mrs x10, fpcr
    stp x10, xzr, [x0, #160]
    ret
    .cfi_endproc
    .size fiber_context_make, .-fiber_context_make

    /* The first switch to a context returns to here, with the stack empty and aligned. */
    .type fiber_context_start, %function
    .p2align 4
fiber_context_start:
    .cfi_startproc
    .cfi_undefined x30                  /* unwinding ends here */
    hint #34
    mov x0, x20
    blr x19
    brk #0
    .cfi_endproc
    .size fiber_context_start, .-fiber_context_start

    .section .note.GNU-stack, "", %progbits
